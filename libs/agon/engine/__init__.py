"""Continuous batching for transformers models: submit, step, tokens as they come.

    from agon.engine import Engine, SamplingParams

    engine = Engine.from_pretrained("path/to/model")
    for answer in engine.generate(["Once upon a time"], SamplingParams(temperature=0, max_tokens=32)):
        print(answer.text)

Knows nothing of Kafka, Redis or HTTP, and of agon only its errors. torch is imported with `Engine`, not before: the
events and parameters alone are free.
"""

from typing import TYPE_CHECKING, Any

from agon.engine.events import Admitted, Alternative, Event, Failed, Finished, Scored, Times, TokenLogprob, Tokens
from agon.engine.params import Conversation, Limits, Request
from agon.engine.sampling import Guide, SamplingParams

if TYPE_CHECKING:
    from agon.engine.answers import Answer, Choice
    from agon.engine.engine import Engine
    from agon.engine.live import AsyncEngine

__all__ = [
    "Admitted",
    "Alternative",
    "Answer",
    "AsyncEngine",
    "Choice",
    "Conversation",
    "Engine",
    "Event",
    "Failed",
    "Finished",
    "Guide",
    "Limits",
    "Request",
    "SamplingParams",
    "Scored",
    "Times",
    "TokenLogprob",
    "Tokens",
]


def __getattr__(name: str) -> Any:
    if name in ("Answer", "Choice"):
        from agon.engine import answers

        return getattr(answers, name)
    if name == "AsyncEngine":
        from agon.engine.live import AsyncEngine

        return AsyncEngine
    if name == "Engine":
        from agon.engine.engine import Engine

        return Engine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
