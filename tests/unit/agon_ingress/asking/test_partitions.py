"""Which partition a request goes to."""

import random
from collections import Counter

from agon_ingress.asking.partitions import Holder, choose

DRAW = random.Random(7)


def test_a_conversation_stays_where_it_is() -> None:
    holders = [Holder((0, 1), 0.0), Holder((2, 3), 9.0)]
    assert len({choose(range(4), holders, "talk", DRAW) for _ in range(50)}) == 1


def test_conversations_spread() -> None:
    assert {choose(range(4), [], f"talk {i}", DRAW) for i in range(100)} == {0, 1, 2, 3}


def test_the_less_loaded_of_two_workers_gets_it() -> None:
    holders = [Holder((0, 1), 0.5), Holder((2, 3), 0.1)]
    assert {choose(range(4), holders, None, DRAW) for _ in range(100)} == {2, 3}


def test_of_many_workers_the_busiest_gets_nothing_and_no_one_gets_all() -> None:
    holders = [Holder((i,), float(i)) for i in range(4)]
    got = Counter(choose(range(4), holders, None, DRAW) for _ in range(600))
    assert got[3] == 0
    assert all(got[i] > 30 for i in range(3))


def test_a_worker_without_partitions_gets_nothing() -> None:
    assert {choose(range(2), [Holder((), 0.0), Holder((1,), 5.0)], None, DRAW) for _ in range(20)} == {1}


def test_before_any_worker_has_told_its_partitions_any_will_do() -> None:
    assert {choose(range(3), [], None, DRAW) for _ in range(100)} == {0, 1, 2}


def test_partitions_that_are_gone_are_not_chosen() -> None:
    assert {choose([0], [Holder((5,), 0.0)], None, DRAW) for _ in range(20)} == {0}
