"""How much the ingress takes on at once."""

from typing import Any

import pytest

from agon.errors import RateLimited, Unavailable
from agon_ingress.admission import Admission


class Memory:
    """Redis, as far as its memory goes."""

    def __init__(self, used: int, limit: int) -> None:
        self.told = {"used_memory": used, "maxmemory": limit}

    async def info(self, section: str) -> dict[str, int]:
        assert section == "memory"
        return self.told


async def measured(used: int, limit: int) -> Admission:
    admission = Admission(2, 0.8)
    redis: Any = Memory(used, limit)
    await admission.measure(redis)
    return admission


async def test_one_more_than_the_most_is_refused_until_one_has_left() -> None:
    admission = await measured(1, 100)
    admission.enter()
    admission.enter()
    with pytest.raises(RateLimited) as caught:
        admission.enter()
    assert caught.value.retry_after is not None
    admission.leave()
    admission.enter()


@pytest.mark.parametrize(("used", "limit", "full"), [(80, 100, False), (81, 100, True), (10**12, 0, False)])
async def test_nothing_is_taken_on_while_redis_is_nearly_full(used: int, limit: int, full: bool) -> None:
    admission = await measured(used, limit)
    if full:
        with pytest.raises(Unavailable) as caught:
            admission.enter()
        assert caught.value.retry_after is not None
        assert admission.open == 0
    else:
        admission.enter()
