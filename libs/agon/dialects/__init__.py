"""How models write what is more than text: calls of tools, and reasoning. Pure: text in, pieces out.

| module      | noun                                                                             |
|-------------|----------------------------------------------------------------------------------|
| `pieces`    | what an answer is made of: text, reasoning, calls and their arguments            |
| `reader`    | an answer's text, as it comes, becomes pieces: reasoning first, then the rest    |
| `calls`     | the formats of calls: Hermes (Qwen), Llama 3, Mistral                            |
| `pythonic`  | the one that is no JSON                                                          |
| `envelope`  | one call as a JSON object, read character by character                           |
| `recognise` | which of these a model speaks, by its chat template                              |

The same reader makes a stream's deltas, a whole answer and the record on Kafka, so that all of them say the same.
"""

from agon.dialects.pieces import Arguments, Call, Piece, Reasoning, Spoken, Text, call_id, fold
from agon.dialects.reader import Reader, may_turn
from agon.dialects.recognise import ReasoningStyle, ToolFormat, reasoning_style, tool_format

__all__ = [
    "Arguments",
    "Call",
    "Piece",
    "Reader",
    "Reasoning",
    "ReasoningStyle",
    "Spoken",
    "Text",
    "ToolFormat",
    "call_id",
    "fold",
    "may_turn",
    "reasoning_style",
    "tool_format",
]
