"""What a worker needs to know besides what every service needs."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from agon.settings import MIB, Settings

Positive = Annotated[timedelta, Field(gt=timedelta(0))]


class InferenceSettings(Settings):
    """`AGON_*` variables of `agon_inference`, on top of the shared ones."""

    models: tuple[str, ...] = ()
    """What to serve: a JSON list of `MODEL=SOURCE`, as `agon.backends.spec` reads it. Empty: the bundled models."""

    tensor_parallel: Annotated[int, Field(ge=1)] = 1
    """Processes that share each layer of the models that our engine runs, on as many GPUs where it runs on those."""

    window: Annotated[int, Field(ge=1)] = 256
    """Deliveries that a partition may have between its oldest unfinished one and its newest."""
    max_held_bytes: Annotated[int, Field(ge=MIB)] = 256 * MIB
    """Records held at once, running or waiting; above it nothing new is read."""

    batch_patience: Positive = timedelta(milliseconds=5)
    """While interactive requests come, so many of batches run beside them that a step grows by less than this, and the
    event loop is later by less than a tenth of it."""
    parked_interval: Positive = timedelta(seconds=0.5)
    """How often a request that another worker owns is asked for again."""
    watch_interval: Positive = timedelta(seconds=1)
    """How often deadlines, clients that are gone, and the load are looked at."""
    ingress_misses: Annotated[int, Field(ge=1)] = 3
    """Looks in a row at which an ingress must be missing before its requests are cancelled: a Redis that came back
    empty knows it again at its next heartbeat."""
    retry_interval: Positive = timedelta(seconds=0.2)
    """Between two tries of something that Redis or Kafka did not take."""
    call_timeout: Positive = timedelta(seconds=5)
    """Every single call of Redis or Kafka ends within this."""
    drain_timeout: Annotated[timedelta, Field(ge=timedelta(0))] = timedelta(seconds=10)
    """On SIGTERM running requests may go on for so long; then other workers resume them."""
    startup_timeout: Positive = timedelta(seconds=60)
    """How long Kafka and Redis may take to be there when the worker starts."""
