"""OpenAI's batches, as this server takes and gives them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from agon.store.batches import BatchRow, Status
from agon_ingress.bodies.openai_types import Metadata, Told, absent
from agon_ingress.bodies.pages import Page
from agon_ingress.bodies.policy import Asked
from agon_ingress.files.types import ExpiresAfter
from agon_ingress.responses.types import InputTokensDetails, OutputTokensDetails, ResponseUsage


class BatchRequest(Asked):
    """`POST /v1/batches`."""

    input_file_id: Annotated[str, Field(min_length=1, max_length=64)]
    """A file of purpose `batch`, with a request in each line: `{"custom_id", "method": "POST", "url", "body"}`."""
    endpoint: Literal["/v1/chat/completions", "/v1/responses", "/v1/completions", "/v1/embeddings"]
    """The `url` of every line."""
    completion_window: Literal["24h"]
    """What is not done by then has expired."""
    metadata: Metadata | None = None
    output_expires_after: ExpiresAfter | None = None
    """When the output files go; 30 days after they were made, unless told."""


class BatchError(Told):
    """What is wrong with the input file."""

    code: str
    line: int | None
    message: str
    param: str | None


class BatchErrors(Told):
    object: Literal["list"] = "list"
    data: tuple[BatchError, ...]


class RequestCounts(Told):
    """Lines of the input file: all, those answered well, and those that ended in an error."""

    total: int
    completed: int
    failed: int


class Batch(Told):
    """A batch. Times are epoch seconds; what has not happened is null."""

    id: str
    object: Literal["batch"] = "batch"
    endpoint: str
    errors: BatchErrors | None
    input_file_id: str
    completion_window: str
    status: Status
    output_file_id: str | None
    """The answers, a line each, once the batch has ended; null if there are none."""
    error_file_id: str | None
    """The lines that ended in an error; null if there are none."""
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    usage: ResponseUsage | None = Field(default=None, exclude_if=absent)
    """Of all lines together, once the batch has ended."""
    metadata: dict[str, str] | None

    @classmethod
    def of(cls, row: BatchRow) -> "Batch":
        times = {name: _seconds(getattr(row, name)) for name in cls.model_fields if name.endswith("_at")}
        return cls(
            id=row.batch_id,
            endpoint=row.endpoint,
            errors=None if row.errors is None else BatchErrors(data=tuple(BatchError(**one) for one in row.errors)),
            input_file_id=row.input_file_id,
            completion_window=row.completion_window,
            status=row.status,
            output_file_id=row.output_file_id,
            error_file_id=row.error_file_id,
            request_counts=RequestCounts(total=row.total, completed=row.completed, failed=row.failed),
            usage=None if row.usage is None else _usage(row.usage),
            metadata=row.metadata,
            **times,
        )


class BatchList(Page[Batch]):
    """`GET /v1/batches`."""


def _seconds(moment: datetime | None) -> Any:
    return None if moment is None else int(moment.timestamp())


def _usage(counts: dict[str, int]) -> ResponseUsage:
    return ResponseUsage(
        input_tokens=counts["input"],
        input_tokens_details=InputTokensDetails(cached_tokens=counts["cached"]),
        output_tokens=counts["output"],
        output_tokens_details=OutputTokensDetails(reasoning_tokens=counts["reasoning"]),
        total_tokens=counts["input"] + counts["output"],
    )
