"""What a scripted model says: a pure function of the script's options and the request.

| option       | meaning                                                                                        |
|--------------|------------------------------------------------------------------------------------------------|
| `text`       | what it says (`\\n` is a line break)                                                             |
| `mode`       | `reply` (default: made from the last message), `echo` (that message), `random` (drawn by seed), |
|              | `call` (a call of the first tool that may be called, also where none is required)                |
| `reasoning`  | what it thinks first, between `<think>` and `</think>`                                           |
| `tokens`     | exactly so many tokens; without `text` or `mode`, all the same: the cheapest, for benchmarks   |
| `per_step`   | tokens per step of each choice (1)                                                             |
| `delay`      | seconds between two steps, which all choices take together (0)                                 |
| `first_delay`| seconds before the first token (0)                                                             |
| `fail_at`    | fail once a choice has so many tokens; 0: before the first                                      |
| `capacity`   | requests that run at once (256); the others wait                                               |
| `context`    | the context length in tokens (32768)                                                           |
| `steered`    | a request may bring options of its own, in its metadata under `agon-script` (false)            |

Whatever the script says, a required call is made (as Hermes models write calls), and an answer that must be JSON or one
of some choices is: arguments and answers are the least that their JSON schema allows.
"""

import itertools
import json
import random
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agon.backends.examples import example
from agon.errors import InvalidRequest
from agon.messages import GenerationRequest
from agon.messages.formats import ChoiceFormat, JsonObjectFormat, JsonSchemaFormat
from agon.messages.tool_choice import calling

STEERING = "agon-script"
"""Where a request's metadata has options for a steered script, spelled as in settings."""

_PIECE = re.compile(r"\S+\s*|\s+")
_WORDS = (
    "amber", "basil", "cedar", "delta", "ember", "fable", "gable", "harbour", "island", "jasper", "kettle", "lantern",
    "meadow", "north", "ochre", "pebble", "quiet", "river", "saddle", "timber", "umber", "velvet", "willow", "zephyr",
    "café", "東京", "🌱",
)  # fmt: skip
_RANDOM_TOKENS = 48
SAME = "word "
"""The token of a script that has `tokens` and nothing to say."""


class Options(BaseModel):
    """The options above, checked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str | None = None
    mode: Literal["reply", "echo", "random", "call"] | None = None
    reasoning: str | None = None
    tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    per_step: Annotated[int, Field(ge=1)] = 1
    delay: Annotated[float, Field(ge=0, le=3600)] = 0.0
    first_delay: Annotated[float, Field(ge=0, le=3600)] = 0.0
    fail_at: Annotated[int, Field(ge=0)] | None = None
    capacity: Annotated[int, Field(ge=1)] = 256
    context: Annotated[int, Field(ge=1)] = 32768
    steered: bool = False

    @classmethod
    def read(cls, options: Mapping[str, str]) -> Self:
        """As they are spelled in settings. Raises pydantic's `ValidationError`."""
        return cls.model_validate({name: value.replace("\\n", "\n") for name, value in options.items()})

    def steer(self, request: GenerationRequest) -> "Options":
        """These, with those that the request brings. Raises `InvalidRequest`."""
        given = request.metadata.get(STEERING) if self.steered else None
        if not given:
            return self
        try:
            brought = {
                name: value.replace("\\,", ",")
                for part in re.split(r"(?<!\\),", given)
                for name, _, value in (part.partition("="),)
            }
            return self.model_copy(update=Options.read(brought).model_dump(exclude_unset=True))
        except ValidationError as error:
            where = ".".join(map(str, error.errors()[0]["loc"]))
            told = f"{STEERING}: `{where}` is wrong: {error.errors()[0]['msg']}"
            raise InvalidRequest(told, param="metadata") from None

    @property
    def uniform(self) -> bool:
        """All tokens are the same: nothing is to be said."""
        return bool(self.tokens) and self.text is None and self.mode is None and self.reasoning is None


def pieces(text: str) -> list[str]:
    """The text's tokens: words with the white space behind them; joined they are the text."""
    return _PIECE.findall(text)


def token_id(piece: str) -> int:
    return zlib.crc32(piece.encode()) & 0x7FFFFFFF


def inputs(request: GenerationRequest) -> list[str]:
    """What was asked, oldest first."""
    if request.messages:
        return [message.text() for message in request.messages]
    prompt = request.prompt or ""
    return [prompt if isinstance(prompt, str) else " ".join(map(str, prompt))]


def words(options: Options, request: GenerationRequest, index: int, limit: int) -> tuple[list[str], str]:
    """The tokens of the choice with this number, at most `limit`, and how it ends."""
    said = _formed(options, request)
    if said is None:
        said = _said(options, request, index)
    thought = pieces(f"<think>\n{options.reasoning}\n</think>\n\n") if options.reasoning else []
    told = [*thought, *said] or ["…"]
    count = options.tokens or len(told)
    if request.ignore_eos and request.limit is not None:
        count = limit
    return list(itertools.islice(itertools.cycle(told), min(count, limit))), "stop" if count <= limit else "length"


def _said(options: Options, request: GenerationRequest, index: int) -> list[str]:
    if options.text is not None:
        return pieces(options.text)
    if options.mode == "random":
        draw = random.Random(f"{request.seed}/{index}")
        return [f"{draw.choice(_WORDS)} " for _ in range(options.tokens or _RANDOM_TOKENS)]
    if options.tokens and options.mode is None:
        return [SAME]
    asked = inputs(request)[-1]
    return pieces(asked if options.mode == "echo" else f"You said: {asked} That is {len(asked)} characters.")


def _formed(options: Options, request: GenerationRequest) -> list[str] | None:
    """What must have a form: a call, or an answer in a format. None for anything else."""
    offer = calling(request.tools, request.tool_choice, request.parallel_tool_calls)
    answered = request.messages is not None and request.messages[-1].role == "tool"
    if offer.names and (offer.required or (options.mode == "call" and not answered)):
        schemas = {tool.function.name: tool.function.parameters for tool in request.tools or ()}
        call = {"name": offer.names[0], "arguments": example(schemas[offer.names[0]] or {"type": "object"})}
        return pieces(f"<tool_call>\n{json.dumps(call)}\n</tool_call>")
    match request.response_format:
        case JsonObjectFormat():
            return pieces(json.dumps({"said": inputs(request)[-1]}))
        case JsonSchemaFormat(json_schema=named):
            return pieces(json.dumps(example(named.schema_)))
        case ChoiceFormat(choices=choices):
            return pieces(choices[0])
    return None


def until_stop(told: Sequence[str], stops: Sequence[str]) -> list[str]:
    """What each token may show so that no stop string is shown: the token that completes one is the last."""
    text = "".join(told)
    found = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    if not found:
        return list(told)
    end, start = min(found)
    shown: list[str] = []
    begin = 0
    for word in told:
        shown.append(text[begin : max(begin, min(begin + len(word), start))])
        begin += len(word)
        if begin >= end:
            break
    return shown
