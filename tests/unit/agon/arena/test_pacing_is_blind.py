"""Two engines, one ten times as fast as the other, at random sides: what a voter's client could measure does not tell
which side is which. Simulated by a fake clock, so that hundreds of battles take no time."""

import random
from dataclasses import dataclass

import numpy as np
import pytest

from agon.arena.events import delta_event
from agon.arena.pacing import Arrived, Meter, Pacer, Rates, Rules, choose_pace, start_time

RULES = Rules()
BATTLES = 600


@dataclass
class Engine:
    """Tokens per second, and how unsteady it is (the deviation of a step's duration, as a share of it)."""

    name: str
    rate: float
    first_token: float
    jitter: float = 0.3

    def run(self, draw: random.Random) -> tuple[list[tuple[float, str]], float]:
        """Pieces of text with their times, and the time of the end. Lengths have one distribution for all engines."""
        tokens = max(1, int(draw.lognormvariate(4.0, 0.8)))
        at = self.first_token * draw.uniform(0.5, 1.5)
        pieces = []
        for _ in range(tokens):
            pieces.append((at, "abcdefgh"[: draw.choice((1, 2, 3, 4, 5, 6, 8))]))
            at += max(0.0, draw.gauss(1, self.jitter)) / self.rate
        return pieces, at


class Playback:
    """One side as the pacer's caller sees it at a given time."""

    def __init__(self, engine: Engine, draw: random.Random) -> None:
        self.engine = engine
        self.pieces, self.ends_at = engine.run(draw)
        self.text = ""
        self.meter = Meter()
        self._next = 0

    def until(self, now: float) -> Arrived:
        while self._next < len(self.pieces) and self.pieces[self._next][0] <= now:
            at, text = self.pieces[self._next]
            self.meter.text(at, len(text))
            self.text += text
            self._next += 1
        ended = now >= self.ends_at
        if ended:
            self.meter.end(self.ends_at)
        return Arrived(len(self.text), ended, self.meter.began)


def play(a: Playback, b: Playback, rates: Rates) -> list[tuple[float, str, int]]:
    """A battle as a client records it: time, event name and size in bytes of everything that arrives."""
    seen: list[tuple[float, str, int]] = []
    now, pacer, start = 0.0, None, None
    shown_a = shown_b = 0
    while True:
        arrived = a.until(now), b.until(now)
        if pacer is None:
            start = start if start is not None else start_time(*arrived, RULES)
            if start is not None and now >= start:
                expected = [rates.expect(side.engine.name, side.meter.rate) for side in (a, b)]
                pacer = Pacer(choose_pace(expected, RULES))
        if pacer is not None:
            shown = pacer.step(*arrived)
            if shown.a > shown_a:
                seen.append((now, "a", len(delta_event("a", a.text[shown_a : shown.a], shown.a, shown_b))))
            if shown.b > shown_b:
                seen.append((now, "b", len(delta_event("b", b.text[shown_b : shown.b], shown.a, shown.b))))
            shown_a, shown_b = shown.a, shown.b
            if shown.complete:
                seen.append((now, "done", 0))
                for side in (a, b):
                    rates.learn(side.engine.name, side.meter.rate)
                return seen
        now += RULES.tick


def features(seen: list[tuple[float, str, int]], a: Playback, b: Playback) -> list[float]:
    """What a curious client would compute: starts, gaps and sizes of each side, stalls, the tail, and how all of it
    goes together with the lengths of the answers."""
    row: list[float] = []
    ends = {}
    for side in ("a", "b"):
        times = [at for at, name, _ in seen if name == side] or [0.0]
        gaps = np.diff(times) if len(times) > 1 else np.array([0.0])
        sizes = [size for _, name, size in seen if name == side] or [0]
        ends[side] = times[-1]
        row += [times[0], times[-1], gaps.max(), gaps.mean(), gaps.std(), float((gaps > 0.075).sum()), np.mean(sizes)]
        row += [float(np.std(sizes)), float(len(sizes))]
    done = seen[-1][0]
    longer_is_a = 1.0 if len(a.text) > len(b.text) else -1.0
    start = min(at for at, _, _ in seen)
    tail = [at for at, name, _ in seen if name in "ab" and at > min(ends.values())]
    tail_gaps = np.diff(tail) if len(tail) > 1 else np.array([0.0])
    symmetric = [start, done, done - max(ends.values()), tail_gaps.max(), float((tail_gaps > 0.075).sum()), row[3]]
    difference = (len(a.text) - len(b.text)) / (len(a.text) + len(b.text) + 1)
    return row + symmetric + [longer_is_a * value for value in symmetric] + [difference * value for value in symmetric]


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """The probability that a random positive scores above a random negative."""
    order = scores.argsort().argsort()
    positives = labels == 1
    return float((order[positives].mean() - (positives.sum() - 1) / 2) / (~positives).sum())


def classify(rows: np.ndarray, labels: np.ndarray) -> float:
    """Train a ridge classifier on one half, AUC on the other, both ways round."""
    rows = (rows - rows.mean(0)) / (rows.std(0) + 1e-9)
    rows = np.hstack([rows, np.ones((len(rows), 1))])
    half = len(rows) // 2
    found = []
    for train, test in ((slice(0, half), slice(half, None)), (slice(half, None), slice(0, half))):
        x, y = rows[train], labels[train] * 2.0 - 1
        weights = np.linalg.solve(x.T @ x + 10 * np.eye(x.shape[1]), x.T @ y)
        found.append(auc(rows[test] @ weights, labels[test]))
    return float(np.mean(found))


def battles(seed: int, fast: Engine, slow: Engine, count: int = BATTLES) -> tuple[np.ndarray, np.ndarray]:
    draw = random.Random(seed)
    rates = Rates()
    rows, labels = [], []
    for _ in range(count):
        a_is_fast = draw.random() < 0.5
        a, b = (Playback(engine, draw) for engine in ((fast, slow) if a_is_fast else (slow, fast)))
        rows.append(features(play(a, b, rates), a, b))
        labels.append(int(a_is_fast))
    return np.array(rows), np.array(labels)


@pytest.mark.parametrize(("seed", "jitter"), [(1, 0.0), (2, 0.3), (3, 1.0)])
def test_a_classifier_on_times_and_sizes_stays_at_chance(seed: int, jitter: float) -> None:
    fast, slow = Engine("fast", 200, 0.02, jitter), Engine("slow", 20, 0.4, jitter)
    rows, labels = battles(seed, fast, slow)
    # The deviation of an AUC at chance is about sqrt((p + n + 1) / (12 p n)): 0.024 for 300 against 300.
    assert classify(rows, labels) <= 0.55 + 2 * 0.024


def test_the_same_classifier_sees_through_a_stream_without_a_pacer() -> None:
    """The test above can fail: shown as they come, the two engines are told apart at once."""
    draw = random.Random(3)
    fast, slow = Engine("fast", 200, 0.02), Engine("slow", 20, 0.4)
    rows, labels = [], []
    for _ in range(200):
        a_is_fast = draw.random() < 0.5
        a, b = (Playback(engine, draw) for engine in ((fast, slow) if a_is_fast else (slow, fast)))
        seen = sorted([(at, "a", len(text)) for at, text in a.pieces] + [(at, "b", len(text)) for at, text in b.pieces])
        seen.append((max(a.ends_at, b.ends_at), "done", 0))
        a.until(1e9)
        b.until(1e9)
        rows.append(features(seen, a, b))
        labels.append(int(a_is_fast))
    assert classify(np.array(rows), np.array(labels)) > 0.95
