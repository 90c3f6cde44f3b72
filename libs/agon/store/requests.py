"""`agon.requests`: every ended request once. `agon.completion_texts`: what was said, where the record carries it."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from agon.messages import (
    AssistantMessage,
    CompletionChoice,
    CompletionError,
    GenerationCompleted,
    Timings,
    Usage,
)
from agon.store.pool import Connection, Pool

_COLUMNS = (
    "tenant", "request_id", "model", "kind", "status", "error_code", "finish_reasons", "prompt_tokens",
    "completion_tokens", "cached_tokens", "reasoning_tokens", "accepted_at", "admitted_at", "first_token_at",
    "finished_at", "worker", "attempt",
)  # fmt: skip
_TEXT_COLUMNS = ("choice", "content", "reasoning", "tool_calls", "logprobs", "error")


async def record(
    connection: Connection,
    completions: Sequence[GenerationCompleted],
    without_text: Collection[tuple[str, str]] = (),
) -> int:
    """Store the ends of requests, inside the caller's transaction; returns how many are new.

    The first end of a request wins: one that is there already changes nothing, and its text is not taken either. Nor is
    that of the requests `without_text`, named as (tenant, request id).
    """
    first: dict[tuple[str, str], GenerationCompleted] = {}
    for each in completions:
        first.setdefault((each.tenant, each.request_id), each)
    if not first:
        return 0
    names, values = ", ".join(_COLUMNS), ", ".join(f"${n}" for n in range(1, len(_COLUMNS) + 1))
    new = await connection.fetchmany(
        f"INSERT INTO agon.requests ({names}) VALUES ({values}) ON CONFLICT DO NOTHING RETURNING tenant, request_id",
        [_row(each) for each in first.values()],
    )
    keys = [(row["tenant"], row["request_id"]) for row in new]
    texts = [text for key in keys if key not in without_text for text in _texts(first[key])]
    if texts:
        await connection.copy_records_to_table(
            "completion_texts",
            schema_name="agon",
            columns=("tenant", "request_id", *_TEXT_COLUMNS),
            records=texts,
        )
    return len(new)


def _row(end: GenerationCompleted) -> tuple[object, ...]:
    reasons = [choice.finish_reason for choice in end.choices if choice.finish_reason is not None]
    when = end.timings
    return (
        end.tenant, end.request_id, end.model, end.kind, end.status, end.error.code if end.error else None, reasons,
        end.usage.prompt_tokens, end.usage.completion_tokens, end.usage.cached_tokens, end.usage.reasoning_tokens,
        when.accepted_at, when.admitted_at, when.first_token_at, when.finished_at, end.worker, end.attempt,
    )  # fmt: skip


def _texts(end: GenerationCompleted) -> list[tuple[object, ...]]:
    """What each choice says; the first row has the error, too."""
    error = end.error.model_dump_json() if end.error is not None and end.status == "failed" else None
    choices = {choice.index: choice for choice in end.choices if choice.message != AssistantMessage()}
    if error is not None:
        choices.setdefault(0, CompletionChoice(index=0, message=AssistantMessage()))
    return [
        (
            end.tenant,
            end.request_id,
            choice.index,
            _text(choice.message.content),
            _text(choice.message.reasoning),
            _json([call.model_dump(mode="json") for call in choice.message.tool_calls or ()]),
            None if choice.logprobs is None else choice.logprobs.model_dump_json(),
            error if choice.index == 0 else None,
        )
        for choice in choices.values()
    ]


def _text(said: str | None) -> str | None:
    """A model may generate NUL; Postgres' text has none, and losing the whole record over it would be worse."""
    return None if said is None else said.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _json(value: list[Any]) -> str | None:
    return json.dumps(value) if value else None


async def ended(pool: Pool, tenant: str, request_ids: Sequence[str]) -> dict[str, GenerationCompleted]:
    """How these requests of a tenant ended, with what they said, by id; those that have not are missing.

    Of a text that was omitted nothing is kept but `text_omitted`.
    """
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        rows = await connection.fetch(
            f"SELECT {', '.join(_COLUMNS)} FROM agon.requests WHERE tenant = $1 AND request_id = ANY($2)",
            tenant,
            request_ids,
        )
        texts: dict[str, list[Any]] = {}
        for text in await connection.fetch(
            f"""
            SELECT request_id, {", ".join(_TEXT_COLUMNS)} FROM agon.completion_texts
            WHERE tenant = $1 AND request_id = ANY($2) ORDER BY request_id, choice
            """,
            tenant,
            request_ids,
        ):
            texts.setdefault(text["request_id"], []).append(text)
    return {row["request_id"]: _completed(row, texts.get(row["request_id"], [])) for row in rows}


def _completed(row: Mapping[str, Any], texts: Sequence[Mapping[str, Any]]) -> GenerationCompleted:
    prompt, completion = row["prompt_tokens"], row["completion_tokens"]
    finished = row["status"] == "finished"
    told = next((text["error"] for text in texts if text["error"] is not None), None)
    error = CompletionError(
        message=f"the request ended as {row['status']}", type="server_error", code=row["error_code"]
    )
    said = [text for text in texts if any(text[name] is not None for name in ("content", "reasoning", "tool_calls"))]
    return GenerationCompleted(
        request_id=row["request_id"],
        tenant=row["tenant"],
        model=row["model"],
        kind=row["kind"],
        status=row["status"],
        choices=tuple(_choice(text, row["finish_reasons"][text["choice"]] if finished else None) for text in said),
        text_omitted=finished and not texts,
        usage=Usage(
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=prompt + completion,
            cached_tokens=row["cached_tokens"],
            reasoning_tokens=row["reasoning_tokens"],
        ),
        error=None if finished else error if told is None else CompletionError.model_validate_json(told),
        timings=Timings(**{name: row[name] for name in Timings.model_fields}),
        worker=row["worker"],
        attempt=row["attempt"],
    )


def _choice(text: Mapping[str, Any], reason: Any) -> CompletionChoice:
    return CompletionChoice.model_validate(
        {
            "index": text["choice"],
            "message": {
                "content": text["content"],
                "reasoning": text["reasoning"],
                "tool_calls": json.loads(text["tool_calls"] or "null"),
            },
            "logprobs": json.loads(text["logprobs"] or "null"),
            "finish_reason": reason,
        }
    )
