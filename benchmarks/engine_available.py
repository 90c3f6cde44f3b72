"""Which of the engine's peers are here. Asked where torch need not be imported."""

import sys
from pathlib import Path

PEERS = Path(__file__).parents[1] / ".tools" / "peers"
"""Where `make bench-peers` puts libraries that only this benchmark needs. Ours come first on the path."""


def available(name: str) -> bool:
    """Whether a peer's library is here."""
    module = {"ctranslate2": "ctranslate2", "llama_cpp": "llama_cpp"}.get(name)
    return module is None or any(PEERS.glob(f"{module}/__init__.py"))


def use_peers() -> None:
    """Let the peers' libraries be imported, behind everything of our own environment."""
    sys.path.append(str(PEERS))
