"""What is not here says so: 501 in the envelope, and no client tries again; a body that is wrong is a 400 before."""

from typing import Any

import pytest

from unit.agon_ingress.offline import offline, post

UPLOAD = {"bytes": 10, "filename": "a.jsonl", "mime_type": "text/jsonl", "purpose": "batch"}
JOB = {
    "model": "m",
    "training_file": "file-1",
    "method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.1, "n_epochs": "auto"}}},
}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/uploads", UPLOAD),
        ("/v1/uploads/upload_1/complete", {"part_ids": ["part_1"]}),
        ("/v1/uploads/upload_1/cancel", {}),
        ("/v1/fine_tuning/jobs", JOB),
        ("/v1/fine_tuning/jobs/ftjob-1/cancel", {}),
    ],
)
async def test_what_is_not_here_is_told_in_the_envelope(path: str, body: dict[str, Any]) -> None:
    told = await post(offline(), path, body)
    assert (told.status, told.error["code"]) == (501, "not_implemented")
    assert told.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/uploads", {**UPLOAD, "bytes": 0}, "bytes"),
        ("/v1/uploads", {**UPLOAD, "purpose": "dinner"}, "purpose"),
        ("/v1/uploads/upload_1/complete", {"part_ids": []}, "part_ids"),
        ("/v1/fine_tuning/jobs", {"model": "m"}, "training_file"),
        ("/v1/fine_tuning/jobs", {**JOB, "method": {"type": "prayer"}}, "method.type"),
    ],
)
async def test_a_body_that_is_wrong_is_told_first(path: str, body: dict[str, Any], param: str) -> None:
    told = await post(offline(), path, body)
    assert (told.status, told.error["param"]) == (400, param)
