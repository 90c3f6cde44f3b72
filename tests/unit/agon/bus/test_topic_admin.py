"""Topics are planned from the declaration, and only ever added to."""

import pytest

from agon.bus import topic_admin
from agon.bus.topic_admin import TopicPlan, decide, model_plan, static_plan
from agon.errors import SetupError
from agon.settings import MIB
from agon.topics import Topics


def test_every_topic_that_has_a_name_is_declared() -> None:
    topics = Topics("p.")
    named = {getattr(topics, name) for name in dir(Topics) if isinstance(getattr(Topics, name), property)}
    assert named <= {plan.name for plan in static_plan(topics)}


def test_a_model_gets_requests_batch_requests_and_their_dead_letters() -> None:
    topics = Topics("p.")
    names = [topics.requests("Org/Model"), topics.batch_requests("Org/Model")]
    assert {plan.name for plan in model_plan(topics, "Org/Model")} == {*names, *map(Topics.dead_letters, names)}


def test_dead_letters_take_a_mebibyte_more_than_their_source() -> None:
    sizes = {plan.name: int(dict(plan.config)["max.message.bytes"]) for plan in model_plan(Topics(), "m")}
    assert sizes[Topics().requests("m")] == 8 * MIB
    assert sizes[Topics.dead_letters(Topics().requests("m"))] == 9 * MIB


def test_missing_topics_are_created_short_ones_grown_and_long_ones_left_alone() -> None:
    plans = (TopicPlan("new", 2, ()), TopicPlan("short", 4, ()), TopicPlan("long", 2, ()), TopicPlan("right", 2, ()))
    missing, short = decide(plans, {"short": 3, "long": 9, "right": 2, "somebody-elses": 1})
    assert [plan.name for plan in missing] == ["new"]
    assert short == {"short": 4}


@pytest.mark.parametrize("size", ["8", "8MB", "-1MiB"])
def test_a_size_without_a_known_unit_is_refused(size: str) -> None:
    with pytest.raises(SetupError, match="is no size"):
        topic_admin._bytes(size)


def test_the_declaration_is_found() -> None:
    assert topic_admin.declaration_file().is_file()
