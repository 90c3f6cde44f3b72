"""Who is gone is decided by looking more than once."""

from agon_inference.watching import Missing


def test_an_ingress_is_gone_after_so_many_looks_in_a_row() -> None:
    missing = Missing(misses=3)
    assert [missing.look({"a"}, set()) for _ in range(3)] == [set(), set(), {"a"}]


def test_one_that_is_seen_again_starts_over() -> None:
    missing = Missing(misses=2)
    looks = [missing.look({"a"}, alive) for alive in (set(), {"a"}, set(), set())]
    assert looks == [set(), set(), set(), {"a"}]


def test_one_that_nobody_waits_for_any_more_is_forgotten() -> None:
    missing = Missing(misses=2)
    looks = [missing.look(asked, set()) for asked in ({"a"}, {"b"}, {"a"})]
    assert looks == [set(), set(), set()]
