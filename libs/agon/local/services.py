"""Which services a stack has, and what each is told."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from agon.local.ports import LOOPBACK

Stage = Literal["front", "workers", "consumers"]
"""When it stops: first who takes requests, then who answers them, then who writes down what happened."""


@dataclass(frozen=True, slots=True)
class Service:
    """One process: `python -m MODULE` with `environment` on top of what all get."""

    name: str
    module: str
    stage: Stage
    environment: Mapping[str, str]

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", self.module]


def services(host: str, port: int, workers: int, models: Sequence[str], insecure: bool = False) -> tuple[Service, ...]:
    """The ingress on `host:port`, so many workers, and the consumers. No models: the workers' default. `insecure`:
    while there is no API key the ingress is open wherever it listens."""
    # Two workers that both use every core are slower than two that share them.
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    worker = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads)}
    if models:
        worker["AGON_MODELS"] = json.dumps(list(models))
    front = {"AGON_HTTP_HOST": host, "AGON_HTTP_PORT": str(port), **({"AGON_INSECURE": "true"} if insecure else {})}
    return (
        *(Service(f"inference-{n}", "agon_inference", "workers", worker) for n in range(1, workers + 1)),
        Service("ingress", "agon_ingress", "front", front),
        Service("recorder", "agon_recorder", "consumers", {}),
        Service("vote_ingest", "agon_vote_ingest", "consumers", {}),
        Service("rating_compute", "agon_rating_compute", "consumers", {}),
    )


def shared_environment(urls: Mapping[str, str], session_secret: str, key_secret: str) -> dict[str, str]:
    """What every service gets: this process' environment, the backends' URLs, secrets, and how to behave as a child."""
    return {
        **os.environ,
        **{f"AGON_{name.upper()}_URL": url for name, url in urls.items()},
        "AGON_SESSION_SECRET": os.environ.get("AGON_SESSION_SECRET") or session_secret,
        "AGON_KEY_SECRET": os.environ.get("AGON_KEY_SECRET") or key_secret,
        "AGON_METRICS_HOST": LOOPBACK,
        "PYTHONUNBUFFERED": "1",
    }
