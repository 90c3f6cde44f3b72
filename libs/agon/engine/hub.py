"""Where a model's files are: a folder, or a snapshot of a hub repository in the user's cache."""

import hashlib
from pathlib import Path

from agon.errors import SetupError

# What decides an answer, and nothing else: no pickles, no copies of the weights in other formats.
FILES = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.txt", "tokenizer.model")
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_IGNORED = ("consolidated*", "original/*", "*/*")


def resolve(source: str | Path, marker: str = "config.json") -> Path:
    """The folder of a path or hub id, which holds a file `marker`; what the hub has is downloaded unless it is cached.

    Raises `SetupError` when it is neither, or the hub cannot be reached and the cache has nothing.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        if not (folder / marker).is_file():
            raise SetupError(f"the folder {folder} holds no model: {marker} is missing")
        return folder
    if Path(source).is_absolute() or str(source).startswith((".", "~")):
        raise SetupError(f"there is no folder {folder}")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(str(source), allow_patterns=list(FILES), ignore_patterns=list(_IGNORED)))
    except HFValidationError as error:
        raise SetupError(f"{source} is neither a folder nor a hub id such as org/model") from error
    except RepositoryNotFoundError as error:
        raise SetupError(f"the hub has no model {source}, or it needs a login (HF_TOKEN)") from error
    except LocalEntryNotFoundError as error:
        raise SetupError(
            f"{source} is no folder, the hub cannot be reached, and the cache does not have it: "
            "give a folder, or download it where there is a network"
        ) from error
    except Exception as error:  # the hub's client raises whatever its transport does
        first = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise SetupError(f"the model {source} cannot be fetched from the hub: {first}") from error


def adapter_digest(folder: Path) -> str:
    """SHA-256, hex, of an adapter's configuration and weights. Raises `OSError` without them."""
    whole = hashlib.sha256()
    for file in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        whole.update(f"\0{file}\0".encode())
        with (folder / file).open("rb") as stream:
            whole.update(hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest()
