"""Penalties, bias and ends that may not come yet: the same as doing it token by token."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agon.engine.shaping import Penalties, Shape, shaped

WIDTH = 40
NONE = Penalties()
tokens = st.lists(st.integers(0, WIDTH - 1), max_size=60)
penalties = st.builds(
    Penalties, st.sampled_from([1.0, 0.7, 1.3]), st.sampled_from([0.0, 1.5, -2.0]), st.sampled_from([0.0, 0.4, -1.0])
)
biases = st.dictionaries(st.integers(0, WIDTH - 1), st.floats(-100, 100), max_size=5)


def shape(
    prompt: Sequence[int] = (),
    answer: Sequence[int] = (),
    penalties: Penalties = NONE,
    bias: dict[int, float] | None = None,
    min_tokens: int = 0,
    end_ids: frozenset[int] = frozenset(),
) -> Shape:
    made = Shape(prompt, penalties, bias or {}, min_tokens, end_ids, None)
    for token in answer:
        made.push(token)
    return made


def reference(logits: list[float], prompt: list[int], answer: list[int], by: Penalties, bias: dict[int, float]) -> Any:
    told = list(logits)
    for token in {*prompt, *answer}:
        told[token] = told[token] / by.repetition if told[token] > 0 else told[token] * by.repetition
    for token in set(answer):
        told[token] -= by.frequency * answer.count(token) + by.presence
    for token, value in bias.items():
        told[token] += value
    return told


@given(st.lists(st.tuples(tokens, tokens, penalties, biases), min_size=1, max_size=5), st.integers(0, 2**32))
def test_rows_are_shaped_as_if_each_token_were_looked_at(rows: list[Any], seed: int) -> None:
    logits = torch.randn((len(rows), WIDTH), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    before = logits.clone()
    told = shaped(logits, [shape(prompt, answer, by, bias) for prompt, answer, by, bias in rows])
    for index, (prompt, answer, by, bias) in enumerate(rows):
        expected = reference(before[index].tolist(), prompt, answer, by, bias)
        assert told[index].tolist() == pytest.approx(expected, abs=1e-9)
    assert torch.equal(logits, before), "others read them"


def test_a_batch_without_shapes_is_given_back_as_it_is() -> None:
    logits = torch.zeros((3, 5))
    assert shaped(logits, [None, None, None]) is logits


def test_rows_without_a_shape_stay_as_they_are_beside_others() -> None:
    logits = torch.zeros((3, 5))
    told = shaped(logits, [None, shape(bias={2: 5.0}), None])
    assert told.tolist() == [[0.0] * 5, [0.0, 0.0, 5.0, 0.0, 0.0], [0.0] * 5]


def test_no_end_comes_before_its_time() -> None:
    made = shape(min_tokens=2, end_ids=frozenset({1, 3}))
    seen = []
    for _ in range(3):
        seen.append([math.isinf(value) for value in shaped(torch.zeros((1, 5)), [made])[0].tolist()])
        assert made.may_end("any", "thing") == (len(seen) > 2)
        made.push(0)
    early = [False, True, False, True, False]
    assert seen == [early, early, [False] * 5]


def test_counts_grow_with_an_answer_of_many_different_tokens() -> None:
    by = Penalties(1.1, 0.3, 0.2)
    answer = [*range(200), *range(0, 200, 3)]
    made = shape([5], answer, by)
    logits = torch.randn((1, 300), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert shaped(logits, [made])[0].tolist() == pytest.approx(reference(logits[0].tolist(), [5], answer, by, {}))
