"""Draws: each row by its own parameters, the right distribution, the same again for the same seed."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from agon.engine.sampler import Row, gumbel, sample

MASK = 2**64 - 1


def row(
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    choice: int = 0,
    position: int = 0,
    min_p: float = 0.0,
    typical_p: float = 1.0,
) -> Row:
    return Row(temperature, top_k, top_p, seed, choice, position, min_p, typical_p)


def reference_noise(seed: int, choice: int, position: int, token: int) -> float:
    """The counter hash in plain Python integers."""

    def mix(x: int) -> int:
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
        return x ^ (x >> 31)

    golden = 0x9E3779B97F4A7C15
    state = seed & MASK
    for part in (choice, position):
        state = mix((state + golden) & MASK) ^ part
    state = mix((state + golden) & MASK)
    bits = mix((state + (token + 1) * golden) & MASK) >> 12
    return -math.log(-math.log((bits + 0.5) * 2.0**-52))


def kept(
    scores: list[float], temperature: float, top_k: int, top_p: float, min_p: float = 0.0, typical_p: float = 1.0
) -> set[int]:
    """Which tokens may be drawn, the slow way."""
    order = sorted(range(len(scores)), key=lambda token: (-scores[token], token))
    order = order[: top_k if top_k > 0 else len(order)]
    weights = [math.exp((scores[token] - scores[order[0]]) / temperature) for token in order]
    allowed, total = [], 0.0
    for token, weight in zip(order, weights, strict=True):
        if total / sum(weights) < top_p and weight >= min_p:
            allowed.append((token, weight))
        total += weight
    if typical_p == 1:
        return {token for token, _ in allowed}
    whole = sum(weight for _, weight in allowed)
    entropy = -sum(weight / whole * math.log(weight / whole) for _, weight in allowed)
    typical, mass = set(), 0.0
    for token, weight in sorted(allowed, key=lambda one: abs(-math.log(one[1] / whole) - entropy)):
        if mass < typical_p:
            typical.add(token)
        mass += weight / whole
    return typical


def test_noise_is_the_hash_of_seed_choice_position_and_token() -> None:
    rows = [
        row(seed=seed, choice=c, position=p) for seed in (0, 1, -1, 2**63 - 1, -(2**63)) for c, p in ((0, 0), (3, 700))
    ]
    noise = gumbel(rows, torch.arange(50))
    for index, each in enumerate(rows):
        for token in range(50):
            expected = reference_noise(each.seed, each.choice, each.position, token)
            assert noise[index, token].item() == pytest.approx(expected, rel=1e-12)


def test_noise_is_standard_gumbel_and_uncorrelated() -> None:
    noise = gumbel(
        [row(seed=seed, position=position) for seed in range(40) for position in range(25)], torch.arange(200)
    ).numpy()
    assert noise.mean() == pytest.approx(0.5772156649, abs=0.01)
    assert noise.std() == pytest.approx(math.pi / math.sqrt(6), abs=0.01)
    neighbours = np.corrcoef(np.stack([noise[:-1].ravel(), noise[1:].ravel(), np.roll(noise, 1, axis=1)[:-1].ravel()]))
    assert abs(neighbours - np.eye(3)).max() < 0.01


def test_temperature_zero_takes_the_best_and_the_lowest_of_equals() -> None:
    logits = torch.tensor([[0.0, 2.0, 2.0, 1.0], [5.0, 1.0, 1.0, 1.0]])
    assert sample(logits, [row(0), row(0)]).tolist() == [1, 0]


@pytest.mark.parametrize(
    "limits",
    [
        (1.0, 0, 1.0), (0.5, 0, 1.0), (2.0, 5, 1.0), (1.0, 0, 0.7), (1.3, 6, 0.8), (1.0, 0, 1.0, 0.2),
        (0.8, 7, 0.9, 0.1), (1.0, 0, 1.0, 0.0, 0.6), (1.2, 8, 0.95, 0.05, 0.7),
    ],
)  # fmt: skip
def test_draws_follow_the_softmax_of_what_is_allowed(limits: tuple[float, ...]) -> None:
    """Chi-square with a bound that a right sampler passes with probability 1 - 1e-6; the seeds are fixed anyway."""
    scores = [1.5, 0.2, -0.3, 0.9, 2.1, -1.0, 0.0, 1.1, 0.4, -2.0]
    draws = 20_000
    logits = torch.tensor([scores]).repeat(draws, 1)
    temperature, top_k, top_p, min_p, typical_p = (*limits, *(0.0, 1.0)[len(limits) - 3 :])
    shape = {"min_p": min_p, "typical_p": typical_p}
    rows = [row(temperature, int(top_k), top_p, seed=9, position=i, **shape) for i in range(draws)]
    drawn = sample(logits, rows)
    counts = torch.bincount(drawn, minlength=len(scores)).tolist()
    allowed = kept(scores, temperature, int(top_k), top_p, min_p, typical_p)
    assert {token for token, count in enumerate(counts) if count} == allowed
    weights = {token: math.exp(scores[token] / temperature) for token in allowed}
    chi_square = sum(
        (counts[token] - draws * weight / sum(weights.values())) ** 2 / (draws * weight / sum(weights.values()))
        for token, weight in weights.items()
    )
    freedom = len(allowed) - 1
    # Wilson and Hilferty (1931): chi-square to a normal deviate
    deviate = ((chi_square / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / math.sqrt(2 / (9 * freedom))
    assert deviate < 4.76


def test_a_row_draws_the_same_in_any_company() -> None:
    draw = torch.Generator().manual_seed(4)
    logits = torch.randn((12, 300), generator=draw)
    rows = [
        row(
            0.0 if i % 4 == 0 else 0.7 + i / 10, [0, 7][i % 2], [1.0, 0.8][i % 3 == 1], i, i % 3, i * 5,
            [0.0, 0.1][i % 5 == 2], [1.0, 0.7][i % 6 == 5],
        )
        for i in range(12)
    ]  # fmt: skip
    together = sample(logits, rows).tolist()
    assert together == [sample(logits[i : i + 1], [rows[i]]).item() for i in range(12)]
    assert together[::-1] == sample(logits.flip(0), rows[::-1]).tolist()


def test_what_is_allowed_may_be_more_than_the_first_candidates() -> None:
    """Flat scores need many tokens to reach top-p, and a large top-k is one too: both fall back to the whole order."""
    draw = torch.Generator().manual_seed(8)
    logits = torch.randn((6, 700), generator=draw) / 10
    rows = [
        row(top_p=0.9), row(top_k=400), row(top_k=400, top_p=0.5), row(top_k=50), row(top_p=0.1), row(),
        row(min_p=0.8), row(top_k=300, min_p=0.7), row(typical_p=0.5), row(top_p=0.9, typical_p=0.2),
    ]  # fmt: skip
    logits = logits.repeat(2, 1)[: len(rows)]
    rows = [replace(each, seed=seed) for seed in range(400) for each in rows]
    drawn = sample(logits.repeat(400, 1), rows).view(400, len(logits))
    for index, each in enumerate(rows[: len(logits)]):
        allowed = kept(logits[index].tolist(), 1.0, each.top_k, each.top_p, each.min_p, each.typical_p)
        seen = set(drawn[:, index].tolist())
        assert seen <= allowed
        assert len(seen) > min(len(allowed), 400) / 2


def test_logits_that_move_in_their_last_bits_draw_the_same() -> None:
    draw = torch.Generator().manual_seed(5)
    logits = torch.randn((4000, 200), generator=draw) * 3
    moved = logits + 1e-6 * torch.randn((4000, 200), generator=draw)
    rows = [row(1.0, top_p=0.95, seed=i) for i in range(4000)]
    assert (sample(logits, rows) != sample(moved, rows)).sum() <= 1


def test_seeds_choices_and_positions_draw_differently() -> None:
    logits = torch.zeros((64, 1000))
    for rows in (
        [row(seed=i) for i in range(64)],
        [row(choice=i) for i in range(64)],
        [row(position=i) for i in range(64)],
    ):
        assert len(set(sample(logits, rows).tolist())) > 55


def test_a_row_that_is_no_number_is_marked_and_the_others_are_drawn() -> None:
    logits = torch.tensor(
        [[0.0, 1.0], [float("nan"), 1.0], [float("inf"), 0.0], [float("-inf")] * 2, [3.0, float("-inf")]]
    )
    for temperature in (0.0, 1.0):
        assert sample(logits, [row(temperature)] * 5).tolist()[1:] == [-1, -1, -1, 0]


def test_a_tiny_temperature_is_greedy_and_stays_a_number() -> None:
    assert sample(torch.tensor([[1e4, -1e4, 1e4 - 1]]), [row(1e-30)]).tolist() == [0]


def test_top_k_of_one_and_a_tiny_top_p_leave_the_best() -> None:
    logits = torch.randn((50, 40), generator=torch.Generator().manual_seed(6))
    best = logits.argmax(-1).tolist()
    assert sample(logits, [row(5.0, top_k=1, seed=i) for i in range(50)]).tolist() == best
    assert sample(logits, [row(5.0, top_p=1e-9, seed=i) for i in range(50)]).tolist() == best
