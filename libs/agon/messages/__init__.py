"""The public vocabulary on Kafka: frozen records, and nothing else. Commands say "do this", events "this happened".

| module        | messages                                                    |
|---------------|-------------------------------------------------------------|
| `requests`    | GenerationRequest (command)                                 |
| `completions` | GenerationCompleted                                         |
| `models`      | ModelCard                                                   |
| `battles`     | BattleCommitted, BattleTurnFinished                         |
| `votes`       | VoteCast (command), VoteCounted, VoteExcluded, VoteRetracted |
| `ratings`     | RatingPublished                                             |
"""

from agon.messages.base import ID_PATTERN, Message, now, rfc3339
from agon.messages.battles import BattleCommitted, BattleTurnFinished
from agon.messages.completions import (
    AssistantMessage,
    CompletionChoice,
    CompletionError,
    FinishReason,
    GenerationCompleted,
    Status,
    Timings,
    Usage,
)
from agon.messages.models import ModelCard
from agon.messages.ratings import RatingPublished
from agon.messages.requests import ChatMessage, GenerationRequest
from agon.messages.votes import OUTCOMES, JudgedVote, Outcome, VoteCast, VoteCounted, VoteExcluded, VoteRetracted

__all__ = [
    "ID_PATTERN",
    "OUTCOMES",
    "AssistantMessage",
    "BattleCommitted",
    "BattleTurnFinished",
    "ChatMessage",
    "CompletionChoice",
    "CompletionError",
    "FinishReason",
    "GenerationCompleted",
    "GenerationRequest",
    "JudgedVote",
    "Message",
    "ModelCard",
    "Outcome",
    "RatingPublished",
    "Status",
    "Timings",
    "Usage",
    "VoteCast",
    "VoteCounted",
    "VoteExcluded",
    "VoteRetracted",
    "now",
    "rfc3339",
]
