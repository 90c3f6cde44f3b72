"""Ends of requests, as workers tell them on Kafka and the recorder stores them."""

from typing import Any

from agon.messages import AssistantMessage, CompletionChoice, GenerationCompleted, Timings, Usage, now


def completed(
    request_id: str, tenant: str = "default", text: str | None = "Hello", **changed: Any
) -> GenerationCompleted:
    """One that finished with this text, unless told otherwise."""
    fields: dict[str, Any] = {
        "request_id": request_id,
        "tenant": tenant,
        "model": "nano",
        "status": "finished",
        "choices": (CompletionChoice(index=0, message=AssistantMessage(content=text), finish_reason="stop"),),
        "usage": Usage(prompt_tokens=7, completion_tokens=5, total_tokens=12, cached_tokens=3),
        "timings": Timings(accepted_at=now(), finished_at=now()),
        "worker": "inference-1:a",
        "attempt": 0,
    }
    return GenerationCompleted(**{**fields, **changed})
