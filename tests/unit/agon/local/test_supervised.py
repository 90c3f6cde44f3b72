from itertools import pairwise

from agon.local.supervised import delay_before


def test_restarts_come_ever_slower_up_to_a_limit() -> None:
    delays = [delay_before(restart) for restart in range(1, 12)]
    assert delays[0] == 0.2
    assert all(after == min(15.0, 2 * before) for before, after in pairwise(delays))
    assert delays[-1] == 15.0
