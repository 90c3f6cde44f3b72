"""A request in OpenAI's words, with vLLM's for what OpenAI has none, and what comes back in ours."""

from collections.abc import Mapping
from typing import Any

from agon.backends.base import refuse
from agon.engine.events import Alternative, TokenLogprob
from agon.messages import GenerationRequest
from agon.messages.formats import ChoiceFormat, GrammarFormat, RegexFormat, TextFormat

_PASSED_ON = (
    "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "seed", "min_p", "typical_p",
    "repetition_penalty", "logit_bias", "chat_template_kwargs",
)  # fmt: skip
_PASSED_ON_UNLESS_EMPTY = (
    "stop",
    "stop_token_ids",
    "min_tokens",
    "ignore_eos",
    "presence_penalty",
    "frequency_penalty",
)
# What would come back in another way than as the text of a stream.
_REFUSED = ("tools", "best_of", "echo", "prompt_logprobs", "truncate")


def as_openai(request: GenerationRequest, name: str) -> tuple[str, dict[str, Any]]:
    """The path under the base URL and the body. What was not given is left out. Raises `UnsupportedParameter`."""
    refuse(request, _REFUSED)
    body: dict[str, Any] = {"model": name, "stream": True, "stream_options": {"include_usage": True}}
    match request.kind:
        case "chat":
            path = "chat/completions"
            body["messages"] = [
                {"role": message.role, "content": message.text(), **({"name": message.name} if message.name else {})}
                for message in request.messages or ()
            ]
        case "completion":
            path = "completions"
            body["prompt"] = request.prompt if isinstance(request.prompt, str) else list(request.prompt or ())
        case "embedding":
            inputs = request.inputs if request.inputs is not None else (request.prompt,)
            asked = {"input": inputs, "encoding_format": "base64", "dimensions": request.dimensions}
            given = {field: value for field, value in asked.items() if value is not None}
            return "embeddings", {"model": name, **given}
    asked = request.model_dump(mode="json", include={*_PASSED_ON, *_PASSED_ON_UNLESS_EMPTY, "response_format"})
    body |= {field: asked[field] for field in _PASSED_ON if asked[field] is not None}
    body |= {field: asked[field] for field in _PASSED_ON_UNLESS_EMPTY if asked[field]}
    if request.n > 1:
        body["n"] = request.n
    match request.response_format:
        case None | TextFormat():
            pass
        case RegexFormat(pattern=pattern):
            body["structured_outputs"] = {"regex": pattern}
        case ChoiceFormat(choices=choices):
            body["structured_outputs"] = {"choice": list(choices)}
        case GrammarFormat(grammar=grammar):
            body["structured_outputs"] = {"grammar": grammar}
        case _:
            body["response_format"] = asked["response_format"]
    if request.logprobs and request.kind == "completion":
        body["logprobs"] = request.top_logprobs or 0
    elif request.logprobs:
        body |= {"logprobs": True, "top_logprobs": request.top_logprobs or 0}
    return path, body


def logprobs_of(told: Any) -> tuple[TokenLogprob, ...] | None:
    """A chunk's log-probabilities, as a chat or as a completion writes them; None where there are none."""
    if not told:
        return None
    if "tokens" in told:
        tops = told.get("top_logprobs") or [{}] * len(told["tokens"])
        both = zip(told["tokens"], told["token_logprobs"], tops, strict=True)
        return tuple(TokenLogprob(token, value, token.encode(), _of_mapping(top or {})) for token, value, top in both)
    items = told.get("content") or ()
    return tuple(TokenLogprob(*_of_item(item), tuple(map(_of_item, item.get("top_logprobs") or ()))) for item in items)


def _of_mapping(top: Mapping[str, float]) -> tuple[Alternative, ...]:
    return tuple(Alternative(token, float(value), token.encode()) for token, value in top.items())


def _of_item(item: Mapping[str, Any]) -> Alternative:
    data = None if item.get("bytes") is None else bytes(item["bytes"])
    return Alternative(item["token"], float(item["logprob"]), data)
