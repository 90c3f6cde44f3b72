"""What an arena may ask of both answers."""

from typing import Any

import pytest

from agon.arena.sampling import declared_sampling
from agon.errors import SetupError


@pytest.mark.parametrize("sampling", [{}, {"temperature": 0.7, "max_tokens": 512, "stop": ["\n\n"]}])
def test_sampling_is_taken_as_it_is(sampling: dict[str, Any]) -> None:
    assert declared_sampling({"sampling": sampling}) == sampling


@pytest.mark.parametrize(
    ("sampling", "said"),
    [
        (["temperature"], "must be an object"),
        ({"temperature": -1}, "sampling.temperature"),
        ({"max_tokens": "many"}, "sampling.max_tokens"),
        ({"temprature": 1}, "can't set 'temprature'"),
        ({"seed": 4}, "can't set 'seed'"),
        ({"n": 2}, "can't set 'n'"),
        ({"min_tokens": 9, "max_tokens": 3}, "min_tokens must be at most max_tokens"),
    ],
)
def test_what_is_wrong_is_named(sampling: Any, said: str) -> None:
    with pytest.raises(SetupError, match=said):
        declared_sampling({"sampling": sampling})
