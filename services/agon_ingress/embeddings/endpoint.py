"""`POST /v1/embeddings`."""

from agon.messages import GenerationRequest
from agon_ingress.asking.endpoint import Ask, Endpoint
from agon_ingress.asking.mapping import able, command
from agon_ingress.embeddings.telling import WholeEmbeddings
from agon_ingress.embeddings.types import EmbeddingList, EmbeddingRequest


def _generations(asked: EmbeddingRequest, ask: Ask) -> tuple[GenerationRequest, ...]:
    able(ask.card, "embedding")
    size = ask.settings.embedding_batch
    parts = [asked.inputs[start : start + size] for start in range(0, len(asked.inputs), size)]
    return tuple(
        command(
            request_id=ask.name(index, len(parts)),
            tenant=ask.tenant,
            model=asked.model,
            kind="embedding",
            inputs=part,
            dimensions=asked.dimensions,
            deadline=ask.deadline,
            store=False,
        )
        for index, part in enumerate(parts)
    )


def _whole(asked: EmbeddingRequest, ask: Ask) -> WholeEmbeddings:
    return WholeEmbeddings(ask.head, len(asked.inputs), asked.encoding_format)


EMBEDDINGS = Endpoint(
    path="/v1/embeddings",
    prefix="embd-",
    asks=EmbeddingRequest,
    gives=EmbeddingList,
    event=None,
    about="A vector for each text.",
    generations=_generations,
    whole=_whole,
    streamed=None,
    renamed={"prompt": "input", "inputs": "input"},
)
