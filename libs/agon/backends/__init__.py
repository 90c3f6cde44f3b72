"""What a worker can run: our engine, a script, or another OpenAI server. Importing this never imports torch."""

from agon.backends.base import (
    AdaptableBackend,
    Admitted,
    Backend,
    Emit,
    Event,
    Failed,
    Finished,
    Job,
    Load,
    PushingBackend,
    Scored,
    SteppedBackend,
    Times,
    Tokens,
)
from agon.backends.compute import ComputeThread
from agon.backends.spec import BackendSpec, load

__all__ = [
    "AdaptableBackend",
    "Admitted",
    "Backend",
    "BackendSpec",
    "ComputeThread",
    "Emit",
    "Event",
    "Failed",
    "Finished",
    "Job",
    "Load",
    "PushingBackend",
    "Scored",
    "SteppedBackend",
    "Times",
    "Tokens",
    "load",
]
