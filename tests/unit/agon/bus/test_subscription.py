"""What Kafka's consumer is told of a subscription."""

import pytest

from agon.bus.broker import make_broker
from agon.bus.subscription import Subscription
from agon.settings import MIB, Settings


@pytest.mark.parametrize(("asked", "fetched"), [({}, MIB), ({"fetch_bytes": 65_536}, 65_536)])
async def test_so_much_of_a_partition_is_fetched_at_once(asked: dict[str, int], fetched: int) -> None:
    settings = Settings()
    made = Subscription(
        make_broker(settings), settings, "t", group="g", on_record=lambda delivery, record: None, window=1, **asked
    )
    assert made._subscriber._connection_args["max_partition_fetch_bytes"] == fetched
