"""The exception tree is what its drawing says."""

import re

import pytest

from agon import errors
from agon.errors import AgonError

CLASSES = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AgonError)]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_gives_the_whole_envelope(kind: type[AgonError]) -> None:
    body = kind("it broke", param="n").body()
    assert set(body) == {"message", "type", "param", "code"}
    assert body["message"] == str(kind("it broke")) == "it broke"
    assert body["param"] == "n"


def test_the_drawing_names_every_error_once_under_its_parent_with_its_status() -> None:
    drawn: dict[str, tuple[str | None, int | None]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"([│├└─ ]*)([A-Z]\w+)\s{2,}(\d{3})?|([│├└─ ]*)([A-Z]\w+) (\d{3}) ", line):
            branch, name, status = found.group(1, 2, 3) if found.group(2) else found.group(4, 5, 6)
            depth = len(branch) // 4
            path[depth:] = [name]
            drawn[name] = (path[depth - 1] if depth else None, int(status) if status else None)
    assert set(drawn) == {kind.__name__ for kind in CLASSES}
    for kind in CLASSES:
        parent, status = drawn[kind.__name__]
        assert parent is None or (kind.__base__ is not None and kind.__base__.__name__ == parent)
        assert status is None or kind.status == status
