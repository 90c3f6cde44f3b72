"""How much the ingress takes on at once."""

import pytest

from agon.errors import RateLimited, Unavailable
from agon_ingress.asking.admission import Admission


def test_one_more_than_the_most_is_refused_until_one_has_left() -> None:
    admission = Admission(2, 0.8)
    admission.enter()
    admission.enter()
    with pytest.raises(RateLimited) as caught:
        admission.enter()
    assert caught.value.retry_after is not None
    admission.leave()
    admission.enter()


def test_nothing_is_taken_on_while_redis_is_nearly_full() -> None:
    admission = Admission(2, 0.8)
    admission.memory = 0.81
    with pytest.raises(Unavailable) as caught:
        admission.enter()
    assert caught.value.retry_after is not None
    assert admission.open == 0
    admission.memory = 0.8
    admission.enter()
