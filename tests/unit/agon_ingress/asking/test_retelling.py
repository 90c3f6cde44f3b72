"""What a completion's record tells is the answer that the frames told, for every endpoint."""

from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from agon.dialects import call_id
from agon.engine.events import Alternative, TokenLogprob
from agon.messages import (
    AssistantMessage,
    CompletionChoice,
    CompletionError,
    GenerationCompleted,
    Timings,
    Usage,
    now,
)
from agon.messages.tools import FunctionCall, ToolCall
from agon.store.batch_lines import Ended, Line
from agon.stream.frames import Delta, End
from agon.stream.logprobs import choice_logprobs, prompt_logprobs
from agon_ingress.asking.retelling import retell
from agon_ingress.batches.lines import Lines
from agon_ingress.routes import ENDPOINTS
from agon_ingress.settings import IngressSettings
from unit.agon_ingress.offline import TOOL, card

CARDS = {"m": card("m", tool_format="hermes", reasoning="think"), "e": card("e", kinds=("embedding",))}
AT = now()
BATCH = "batch_0123456789abcdef01234567"


def lines(path: str) -> Lines[Any]:
    (endpoint,) = (one for one in ENDPOINTS if one.path == path)
    house: Any = SimpleNamespace(registry=SimpleNamespace(cards=CARDS), settings=IngressSettings())
    return Lines(house, endpoint, BATCH, "default", now())


def token(text: str) -> TokenLogprob:
    return TokenLogprob(text, -0.5, text.encode(), (Alternative("other", -1.5, None),))


CALL = '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>'
CASES: list[tuple[str, dict[str, Any], str, AssistantMessage]] = [
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "?"}]}, "Plain text.",
     AssistantMessage(content="Plain text.")),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "?"}], "logprobs": True},
     "<think>So that is it.</think>And this.",
     AssistantMessage(content="And this.", reasoning="So that is it.")),
    ("/v1/responses", {"input": "?"}, "<think>So that is it.</think>And this.",
     AssistantMessage(content="And this.", reasoning="So that is it.")),
    ("/v1/responses", {"input": "?", "top_logprobs": 1}, "Plain text.", AssistantMessage(content="Plain text.")),
    ("/v1/responses", {"input": "?", "tools": [{"type": "function", "name": "f", "parameters": {}}]}, f"Well.{CALL}",
     AssistantMessage(content="Well.", tool_calls=(
         ToolCall(id=call_id(f"resp_{BATCH}-1", 0, 0), function=FunctionCall(name="f", arguments='{"a": 1}')),))),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "?"}], "tools": [TOOL]}, CALL,
     AssistantMessage(content=None, tool_calls=(
         ToolCall(id=call_id(f"chatcmpl-{BATCH}-1", 0, 0), function=FunctionCall(name="f", arguments='{"a": 1}')),))),
    ("/v1/completions", {"prompt": "?", "echo": True, "logprobs": 1}, "?Go on.", AssistantMessage(content="?Go on.")),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "text", "message"), CASES)
async def test_the_record_tells_what_the_frames_told(
    path: str, body: dict[str, Any], text: str, message: AssistantMessage
) -> None:
    of_batch = lines(path)
    line = Line(1, "a", orjson.dumps({"model": "m", **body}).decode())
    work = await of_batch.work(line)
    (request,) = work.requests
    assert (request.priority, request.detached, request.store) == ("batch", True, True)
    # The frames, as a model with a token for each three characters would write them.
    before, closed, behind = text.rpartition("</think>")
    pieces = [*_threes(before), *([closed] if closed else []), *_threes(behind)]
    logprobs = tuple(map(token, pieces)) if request.logprobs else None
    prompt = tuple(map(token, "?")) if request.prompt_logprobs is not None else None
    live = of_batch.endpoint.whole(work.asked, work.ask)
    if prompt:
        live.delta(0, Delta((), "", prompt_logprobs=prompt))
    for number, piece in enumerate(pieces):
        reason = "stop" if number == len(pieces) - 1 else None
        live.delta(0, Delta((1,), piece, reason, logprobs and logprobs[number : number + 1]))
    end = End("finished", 3, len(pieces), 1, AT.timestamp())
    expected = live.body([end]).model_dump(mode="json")
    completion = GenerationCompleted(
        request_id=request.request_id,
        tenant="default",
        model="m",
        status="finished",
        choices=(
            CompletionChoice(
                index=0,
                message=message,
                raw=None if text == message.content else text,
                logprobs=logprobs and choice_logprobs(logprobs),
                finish_reason="stop",
            ),
        ),
        prompt_logprobs=prompt and prompt_logprobs(prompt),
        usage=Usage(
            prompt_tokens=3,
            completion_tokens=len(pieces),
            total_tokens=3 + len(pieces),
            cached_tokens=1,
            reasoning_tokens=_thought(expected),
        ),
        timings=Timings(accepted_at=AT, finished_at=AT),
        worker="w",
        attempt=0,
    )
    told = retell(of_batch.endpoint.whole(work.asked, work.ask), [completion], 1).model_dump(mode="json")
    assert told == expected


def _threes(text: str) -> list[str]:
    return [text[at : at + 3] for at in range(0, len(text), 3)]


def _thought(told: dict[str, Any]) -> int | None:
    usage = told["usage"]
    details = usage.get("completion_tokens_details") or usage.get("output_tokens_details")
    return details["reasoning_tokens"] if details else None


def completion(**changes: Any) -> GenerationCompleted:
    return GenerationCompleted(
        **{
            "request_id": "r",
            "tenant": "default",
            "model": "m",
            "status": "finished",
            "choices": (CompletionChoice(index=0, message=AssistantMessage(content="Hi"), finish_reason="stop"),),
            "timings": Timings(accepted_at=now(), finished_at=now()),
            "worker": "w",
            "attempt": 0,
            **changes,
        }
    )


LINE = Line(7, "seven", orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "?"}]}).decode())
LOST = CompletionError(message="gone", type="server_error", code="worker_lost")


@pytest.mark.parametrize(
    ("ended", "undone", "status", "code"),
    [
        (Ended(LINE, None, (completion(),)), None, 200, None),
        (Ended(LINE, None, (completion(),)), "cancelled", 200, None),
        (Ended(LINE, None, (completion(status="failed", error=LOST),)), None, 500, "worker_lost"),
        (Ended(LINE, None, (completion(text_omitted=True),)), None, 500, "answer_too_large"),
        (Ended(LINE, {"status": 400, "body": {"error": {"code": "invalid_value"}}}, ()), None, 400, "invalid_value"),
        (Ended(LINE, None, ()), "expired", None, "batch_expired"),
        (Ended(LINE, None, (completion(), None)), "cancelled", None, "batch_cancelled"),
        (Ended(LINE, None, (completion(status="cancelled", error=LOST),)), "expired", None, "batch_expired"),
    ],
)
def test_every_line_ends_in_one_of_the_two_files(
    ended: Ended, undone: str | None, status: int | None, code: str | None
) -> None:
    output = lines("/v1/chat/completions").output(ended, undone)
    assert output.data.endswith(b"}\n")
    told = orjson.loads(output.data)
    assert (told["id"], told["custom_id"]) == (f"batch_req_{BATCH.removeprefix('batch_')}-7", "seven")
    assert output.well == (status == 200)
    if status is None:
        assert (told["response"], told["error"]["code"]) == (None, code)
    else:
        assert (told["error"], told["response"]["status_code"]) == (None, status)
        assert told["response"]["body"].get("error", {}).get("code") == code
