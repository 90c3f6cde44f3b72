"""A name means one model for ever."""

import pytest

from agon.bus.registry import decide
from agon.errors import SetupError
from agon.messages import ModelCard, now

CARD = ModelCard(model="m", digest="sha256:one", backend="scripted", context_length=10, created_at=now())


def test_a_model_that_nobody_knows_is_registered() -> None:
    assert decide(CARD, None)


def test_a_card_that_says_the_same_is_not_published_again() -> None:
    assert not decide(CARD.model_copy(update={"created_at": now()}), CARD)


def test_a_withdrawn_model_comes_back() -> None:
    assert decide(CARD, CARD.model_copy(update={"state": "withdrawn"}))


def test_another_digest_under_the_same_name_is_refused_with_what_to_do() -> None:
    with pytest.raises(SetupError, match="serve this one under a new name"):
        decide(CARD.model_copy(update={"digest": "sha256:two"}), CARD)
