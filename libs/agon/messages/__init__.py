"""The public vocabulary on Kafka: frozen records, and nothing else. Commands say "do this", events "this happened".

| module        | messages                                                    |
|---------------|-------------------------------------------------------------|
| `requests`    | GenerationRequest (command); in it `formats` and `tools`     |
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
    ChoiceLogprobs,
    CompletionChoice,
    CompletionError,
    FinishReason,
    GenerationCompleted,
    PromptLogprob,
    Status,
    Timings,
    TokenLogprob,
    TopLogprob,
    Usage,
)
from agon.messages.formats import ResponseFormat
from agon.messages.models import ModelCard
from agon.messages.ratings import RatingPublished
from agon.messages.requests import ChatMessage, GenerationRequest
from agon.messages.tools import Tool, ToolCall
from agon.messages.votes import OUTCOMES, JudgedVote, Outcome, VoteCast, VoteCounted, VoteExcluded, VoteRetracted

__all__ = [
    "ID_PATTERN",
    "OUTCOMES",
    "AssistantMessage",
    "BattleCommitted",
    "BattleTurnFinished",
    "ChatMessage",
    "ChoiceLogprobs",
    "CompletionChoice",
    "CompletionError",
    "FinishReason",
    "GenerationCompleted",
    "GenerationRequest",
    "JudgedVote",
    "Message",
    "ModelCard",
    "Outcome",
    "PromptLogprob",
    "RatingPublished",
    "ResponseFormat",
    "Status",
    "Timings",
    "TokenLogprob",
    "Tool",
    "ToolCall",
    "TopLogprob",
    "Usage",
    "VoteCast",
    "VoteCounted",
    "VoteExcluded",
    "VoteRetracted",
    "now",
    "rfc3339",
]
