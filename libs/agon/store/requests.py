"""`agon.requests`: every ended request once. `agon.completion_texts`: what was said, where the record carries it."""

from collections.abc import Sequence

from agon.messages import GenerationCompleted
from agon.store.pool import Connection

_COLUMNS = (
    "tenant", "request_id", "model", "kind", "status", "error_code", "finish_reasons", "prompt_tokens",
    "completion_tokens", "cached_tokens", "accepted_at", "admitted_at", "first_token_at", "finished_at", "worker",
    "attempt",
)  # fmt: skip


async def record(connection: Connection, completions: Sequence[GenerationCompleted]) -> int:
    """Store the ends of requests, inside the caller's transaction; returns how many are new.

    The first end of a request wins: one that is there already changes nothing, and its text is not taken either.
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
    texts = [text for row in new for text in _texts(first[row["tenant"], row["request_id"]])]
    if texts:
        await connection.copy_records_to_table(
            "completion_texts",
            schema_name="agon",
            columns=("tenant", "request_id", "choice", "content"),
            records=texts,
        )
    return len(new)


def _row(end: GenerationCompleted) -> tuple[object, ...]:
    reasons = [choice.finish_reason for choice in end.choices if choice.finish_reason is not None]
    when = end.timings
    return (
        end.tenant, end.request_id, end.model, end.kind, end.status, end.error.code if end.error else None, reasons,
        end.usage.prompt_tokens, end.usage.completion_tokens, end.usage.cached_tokens, when.accepted_at,
        when.admitted_at, when.first_token_at, when.finished_at, end.worker, end.attempt,
    )  # fmt: skip


def _texts(end: GenerationCompleted) -> list[tuple[str, str, int, str]]:
    return [
        # A model may generate NUL; Postgres' text has none, and losing the whole record over it would be worse.
        (end.tenant, end.request_id, choice.index, choice.message.content.replace("\0", "\N{REPLACEMENT CHARACTER}"))
        for choice in {choice.index: choice for choice in end.choices}.values()
        if choice.message.content is not None
    ]
