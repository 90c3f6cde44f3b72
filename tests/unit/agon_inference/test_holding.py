"""What is held is counted as it comes and goes."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agon_inference.held import Held
from agon_inference.holding import Holding

REQUESTS = st.tuples(st.sampled_from("abc"), st.sampled_from(["m", "n"]), st.integers(0, 9), st.booleans())


def held(model: str, size: int) -> Held:
    return cast(Held, SimpleNamespace(model=model, taken=cast(Any, SimpleNamespace(size=size))))


@given(st.lists(REQUESTS))
def test_the_counts_are_those_of_what_is_there(changes: list[tuple[str, str, int, bool]]) -> None:
    holding = Holding()
    for key, model, size, stays in changes:
        if stays:
            holding[key] = held(model, size)
        elif key in holding:
            del holding[key]
        assert holding.bytes == sum(one.taken.size for one in holding.values())
        models = [one.model for one in holding.values()]
        assert holding.models == {name: models.count(name) for name in set(models)}


def test_what_is_not_there_cannot_go() -> None:
    with pytest.raises(KeyError):
        del Holding()["a"]
