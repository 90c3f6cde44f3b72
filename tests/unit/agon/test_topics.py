"""Names of topics and keys."""

import re

from hypothesis import given
from hypothesis import strategies as st

from agon.topics import Keys, Topics, slug


def test_a_plain_model_name_is_its_own_slug() -> None:
    assert slug("nano-6m") == "nano-6m"


def test_names_that_differ_only_in_what_a_topic_cannot_carry_get_different_slugs() -> None:
    names = ["org/model", "org-model", "Org/model", "org_model", "org.model"]
    assert len({slug(name) for name in names}) == len(names)


@given(st.text(min_size=1, max_size=200))
def test_any_name_gives_a_legal_topic(name: str) -> None:
    topic = Topics("t1.").dead_letters(Topics("t1.").batch_requests(name))
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,249}", topic)


def test_prefixes_keep_stacks_apart() -> None:
    assert Topics("a.").completions != Topics("b.").completions
    assert Topics("a.").group("recorder") != Topics("b.").group("recorder")
    assert Keys("a:").done("t", "r") != Keys("b:").done("t", "r")


def test_all_keys_of_a_request_share_one_cluster_slot_and_name_its_tenant() -> None:
    keys = Keys()
    made = [make("acme", "r1") for make in (keys.frames, keys.owner, keys.done, keys.cancel)]
    assert {re.search(r"\{(.*)\}", key).group(1) for key in made} == {"acme/r1"}  # type: ignore[union-attr]
    assert len(set(made)) == 4
