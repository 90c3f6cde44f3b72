"""OpenAI's files, as this server takes and gives them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from agon.store.files import FileRow
from agon_ingress.bodies.openai_types import Told
from agon_ingress.bodies.pages import Page

Purpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]


class ExpiresAfter(BaseModel):
    """When a file goes: so long after it was made."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=3600, le=2_592_000)]
    """An hour to 30 days."""


class NewFile(BaseModel):
    """`POST /v1/files`, as `multipart/form-data`. The parts of `expires_after` are fields of their own:
    `expires_after[anchor]` and `expires_after[seconds]`."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    file: Annotated[bytes, Field(json_schema_extra={"format": "binary"})]
    purpose: Purpose
    """What it is for. A batch's input is gone after 30 days, all else stays until it is deleted."""
    expires_after: ExpiresAfter | None = None

    @classmethod
    def openapi(cls) -> dict[str, Any]:
        """The body for the route's operation."""
        schema = cls.model_json_schema()
        schema["properties"]["expires_after"] = schema.pop("$defs")["ExpiresAfter"]
        encoding = {"expires_after": {"style": "deepObject", "explode": True}}
        return {"required": True, "content": {"multipart/form-data": {"schema": schema, "encoding": encoding}}}


class File(Told):
    """A file without its bytes."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    """Epoch seconds."""
    expires_at: int | None
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"
    status_details: None = None

    @classmethod
    def of(cls, row: FileRow) -> "File":
        return cls(
            id=row.file_id,
            bytes=row.bytes,
            created_at=int(row.created_at.timestamp()),
            expires_at=None if row.expires_at is None else int(row.expires_at.timestamp()),
            filename=row.filename,
            purpose=row.purpose,
        )


class FileList(Page[File]):
    """`GET /v1/files`."""


class FileDeleted(Told):
    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True
