"""One typed settings class for what all processes share. A service adds its own in its `settings.py`.

Every field is an environment variable: `kafka_url` is `AGON_KAFKA_URL`.
"""

import ipaddress
import socket
import uuid
from datetime import timedelta
from typing import Annotated, Any, Self

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from agon.errors import SetupError
from agon.topics import Keys, Topics

MIB = 1024 * 1024


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there. Raises `OSError` for a host that has no address."""
    addresses = {info[4][0] for info in socket.getaddrinfo(host or "0.0.0.0", None, type=socket.SOCK_STREAM)}
    return all(ipaddress.ip_address(address).is_loopback for address in addresses)


def _unique_name() -> str:
    return f"{socket.gethostname().split('.')[0][:24]}-{uuid.uuid4().hex[:8]}"


class Settings(BaseSettings):
    """What every service needs to know. Units are in the types; a value out of bounds stops the process at once."""

    model_config = SettingsConfigDict(env_prefix="AGON_", frozen=True, extra="ignore")

    kafka_url: str = "127.0.0.1:9092"
    """Bootstrap servers, comma separated, without a scheme."""
    redis_url: Annotated[str, Field(pattern="^(rediss?|unix)://")] = "redis://127.0.0.1:6379/0"
    postgres_url: Annotated[str, Field(pattern="^postgres(ql)?://")] = "postgresql://agon@127.0.0.1:5432/agon"

    topic_prefix: Annotated[str, Field(pattern="^[A-Za-z0-9._-]{0,64}$")] = ""
    key_prefix: str = ""

    name: str = Field(default_factory=_unique_name)
    """This process, as heartbeats, logs and consumer groups call it (`inference-1`)."""
    log_format: Annotated[str, Field(pattern="^(text|json)$")] = "text"
    log_level: str = "INFO"
    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Where `/metrics` and `/healthz` of this process answer, on loopback or the internal network; None for nowhere."""
    metrics_host: str = "127.0.0.1"

    default_deadline: timedelta = timedelta(minutes=10)
    longest_deadline: timedelta = timedelta(hours=24)
    max_request_bytes: Annotated[int, Field(ge=1024)] = 8 * MIB
    max_completion_bytes: Annotated[int, Field(ge=1024)] = 16 * MIB

    worker_ttl: timedelta = timedelta(seconds=5)
    """A worker that has not renewed its heartbeat for so long is dead."""
    heartbeat_interval: timedelta = timedelta(seconds=1)
    ingress_ttl: timedelta = timedelta(seconds=10)
    """A stream whose ingress has been gone for so long is cancelled."""
    session_timeout: timedelta = timedelta(seconds=6)
    """Kafka's: how long until a killed consumer's partitions move. 6 s is the least that brokers allow by default."""

    session_secret: SecretStr = SecretStr("")
    """Signs voting tickets and session cookies; `agon up` makes one and keeps it in the data folder."""

    key_secret: SecretStr = SecretStr("")
    """What API keys are hashed under; `agon up` makes one and keeps it in the data folder. Another voids all keys."""

    @field_validator("*", mode="before")
    @classmethod
    def _plain_seconds(cls, value: Any, info: ValidationInfo) -> Any:
        """A duration in the environment may be a plain number of seconds (`1.5`), besides ISO 8601 (`PT1.5S`)."""
        if isinstance(value, str) and info.field_name and cls.model_fields[info.field_name].annotation is timedelta:
            try:
                return float(value)
            except ValueError:
                return value
        return value

    @property
    def topics(self) -> Topics:
        return Topics(self.topic_prefix)

    @property
    def keys(self) -> Keys:
        return Keys(self.key_prefix)

    @classmethod
    def load(cls) -> Self:
        """Read the environment. Raises `SetupError` with one line that names each wrong variable."""
        try:
            return cls()
        except ValidationError as error:
            wrong = "; ".join(f"AGON_{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
            raise SetupError(f"these settings are wrong: {wrong}") from error
