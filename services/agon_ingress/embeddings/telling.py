"""Embeddings: a worker tells each vector as base64 of little-endian float32, as the text of a choice."""

import base64
import struct
from typing import Literal

from agon.stream.frames import Delta
from agon_ingress.asking.telling import Ends, Head
from agon_ingress.embeddings.types import Embedding, EmbeddingList, EmbeddingUsage


class WholeEmbeddings:
    """Collects `count` vectors."""

    def __init__(self, head: Head, count: int, encoding: Literal["float", "base64"]) -> None:
        self._head = head
        self._encoding = encoding
        self._vectors = [""] * count

    def delta(self, choice: int, delta: Delta) -> None:
        self._vectors[choice] += delta.text

    def body(self, ends: Ends) -> EmbeddingList:
        tokens = sum(end.prompt_tokens for end in ends)
        return EmbeddingList(
            data=tuple(
                Embedding(index=index, embedding=vector if self._encoding == "base64" else floats(vector))
                for index, vector in enumerate(self._vectors)
            ),
            model=self._head.model,
            usage=EmbeddingUsage(prompt_tokens=tokens, total_tokens=tokens),
        )


def floats(vector: str) -> tuple[float, ...]:
    """The numbers in a worker's base64."""
    data = base64.b64decode(vector)
    return struct.unpack(f"<{len(data) // 4}f", data)
