"""What an ingress needs to know besides what every service needs."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from agon.settings import MIB, Settings

Positive = Annotated[timedelta, Field(gt=timedelta(0))]


class IngressSettings(Settings):
    """`AGON_*` variables of `agon_ingress`, on top of the shared ones."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    http_host: str = "127.0.0.1"
    """Loopback by default: whoever opens it to a network decides so."""
    http_port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Where the API listens."""
    insecure: bool = False
    """Whether everybody may ask while there is no API key, wherever this listens. By default only where it listens on
    loopback; elsewhere it is closed until there is a key."""
    public_arena: bool = False
    """Whether voters need no key at `/arena` where there are keys: they see the arenas of the tenant `default`."""
    key_patience: Positive = timedelta(seconds=5)
    """With Postgres away, API keys are good for so long; then none is taken, because one may have been revoked."""
    idempotency_life: Positive = timedelta(hours=1)
    """An answer to a request with an `Idempotency-Key` can be had again for so long."""
    idempotency_bytes: Annotated[int, Field(ge=0)] = 256 * 1024
    """Frames in Redis of one such answer; of a larger one nothing is kept beyond two minutes."""
    idempotency_answers: Annotated[int, Field(ge=0)] = 2048
    """Such answers that are kept at once, of all ingresses; the oldest go."""
    reserved_tokens: Annotated[int, Field(ge=1)] = 1024
    """Of a key with limits, so many tokens are reserved for an answer whose request names no most."""
    limit_lease: Annotated[timedelta, Field(ge=timedelta(milliseconds=100))] = timedelta(seconds=20)
    """What an ingress that was killed had reserved of its keys' limits comes back after so long."""

    max_body_bytes: Annotated[int, Field(ge=1024)] = 8 * MIB
    """The largest HTTP body that is read; a larger one is answered 413 before it is taken in."""
    max_head_bytes: Annotated[int, Field(ge=1024, le=MIB)] = 64 * 1024
    """The largest head (request line and headers) of a request; a larger one is answered 431."""
    max_messages: Annotated[int, Field(ge=1, le=4096)] = 4096
    """Messages of one chat."""
    max_tools: Annotated[int, Field(ge=1, le=128)] = 128
    """Tools offered in one request."""
    max_stop: Annotated[int, Field(ge=1, le=4)] = 4
    """Stop strings of one request."""
    max_n: Annotated[int, Field(ge=1, le=16)] = 16
    """Answers to one prompt."""
    max_inputs: Annotated[int, Field(ge=1)] = 2048
    """Prompts of one completion, inputs of one embedding request."""
    max_items: Annotated[int, Field(ge=1)] = 16_384
    """Items of any list in a request, and of the lists within it together, such as parts of messages, but for token
    ids; what has more is refused unread."""
    max_entries: Annotated[int, Field(ge=1)] = 1024
    """Entries of any object in a request, such as `logit_bias`."""
    max_schema_depth: Annotated[int, Field(ge=1, le=256)] = 64
    """Objects and arrays in one another, in the JSON schema of a tool or of an answer."""
    embedding_batch: Annotated[int, Field(ge=1, le=256)] = 32
    """Inputs of one record on Kafka: more are spread over several, and over workers."""
    max_file_bytes: Annotated[int, Field(ge=1)] = 512 * MIB
    """The largest file that is taken; one more byte is answered 413."""
    max_tenant_file_bytes: Annotated[int, Field(ge=1)] = 10240 * MIB
    """All files of a tenant together; one that does not fit is answered 413."""
    max_uploads: Annotated[int, Field(ge=1)] = 4
    """Files that one process takes in at once, each through a temporary file; one more is answered 429."""
    kept_life: Positive = timedelta(days=30)
    """Stored chats, kept responses and their texts are forgotten so long after they were asked for, and batches so long
    after their end. A response stays as long as one that goes on from it, or as its conversation."""
    conversation_life: Positive = timedelta(days=365)
    """A conversation to which nothing was added for so long is forgotten."""
    upload_timeout: Positive = timedelta(minutes=10)
    """A client that has not sent its whole file by then is answered 408."""
    max_batches: Annotated[int, Field(ge=1)] = 100
    """Batches of a tenant that have not ended; one more is answered 429."""
    max_batch_requests: Annotated[int, Field(ge=1)] = 50_000
    """Lines of a batch's input file; a batch with more fails."""
    max_batch_in_flight: Annotated[int, Field(ge=1)] = 1000
    """Lines of a batch that the workers have been asked with and have not answered; the others wait in Postgres."""
    batch_window: Positive = timedelta(hours=24)
    """How long the completion window of `24h` is."""
    batch_cancel_timeout: Annotated[timedelta, Field(ge=timedelta(0))] = timedelta(seconds=30)
    """What the workers have is waited for so long when a batch is cancelled or its window ends."""
    body_timeout: Positive = timedelta(seconds=60)
    """A client that has not sent its whole body by then is answered 408."""
    max_concurrent_requests: Annotated[int, Field(ge=1)] = 1024
    """Accepted and unfinished requests; one more is answered 429."""

    head_timeout: Positive = timedelta(seconds=10)
    """A stream's HTTP head waits so long for the engine's admission, so that an error still has its status code."""
    heartbeat_every: Positive = timedelta(seconds=10)
    """A comment goes out after so much silence: proxies cut idle connections, some after 15 s."""
    deadline_grace: Positive = timedelta(seconds=5)
    """How long after a request's deadline its worker may still tell its end, before the ingress ends the stream."""
    produce_timeout: Positive = timedelta(seconds=3)
    """A request whose record Kafka has not taken by then is answered 503."""
    drain_timeout: Annotated[timedelta, Field(ge=timedelta(0))] = timedelta(seconds=10)
    """On SIGTERM open answers may go on for so long; then they end with an error."""

    test_mode: bool = False
    """Whether the header `x-agon-script` tells a scripted model that is `steered` what to say. Not for production."""

    probe_every: Positive = timedelta(seconds=1)
    """How often Redis, Kafka and Postgres are asked whether they are there."""
    probe_timeout: Positive = timedelta(seconds=3)
    """A dependency that does not answer a probe within this counts as away."""
    redis_memory_share: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Share of Redis' `maxmemory` above which nothing new is admitted: running answers need the rest."""

    battle_start_timeout: Positive = timedelta(seconds=60)
    """A side of a battle that has not begun so long after it was asked has failed."""
