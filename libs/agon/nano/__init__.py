"""The bundled nano models: chat models small enough to live in the repository, and how they were made.

    >>> from agon import nano
    >>> sorted(nano.models())[0]
    'nano-0.3m'

`agon.nano.skills` has what they were taught, `python -m agon.nano.train` teaches it again. Nothing here or in `skills`
imports torch.
"""

from pathlib import Path

__all__ = ["models"]

_MODELS = Path(__file__).parent / "models"


def models() -> dict[str, Path]:
    """Name and transformers folder of each bundled model, the smallest first."""
    folders = (path.parent for path in _MODELS.glob("*/model.safetensors"))
    return {folder.name: folder for folder in sorted(folders, key=lambda f: (f / "model.safetensors").stat().st_size)}
