"""The card of an adapter: what it adapts, and a digest over both."""

import hashlib
from pathlib import Path

from agon.engine.hub import adapter_digest
from agon.errors import SetupError
from agon.messages import ModelCard, now


def adapter_card(name: str, base: ModelCard, folder: Path, source: str | None = None) -> ModelCard:
    """The card under which the adapter in a folder of peft's is served, on its base. With a `source`, the folder or hub
    id where workers find it, every worker of the base loads it once the card is registered.

    Raises `SetupError` when the folder has not the files of an adapter.
    """
    if base.base is not None:
        raise SetupError(f"`{base.model}` is an adapter itself; name the model that both adapt, `{base.base}`")
    try:
        digest = hashlib.sha256(f"{base.digest}\0{adapter_digest(folder)}".encode()).hexdigest()
    except OSError as error:
        raise SetupError(f"the folder {folder} holds no adapter: {error}") from error
    changes = {"model": name, "base": base.model, "digest": f"sha256:{digest}", "source": source, "state": "active"}
    return base.model_copy(update={**changes, "created_at": now()})
