"""One entry, one byte string."""

from typing import Any

import pytest

from agon.errors import InvalidRequest
from agon.ledger import canonical, vote_entry


def test_keys_are_sorted_and_there_is_no_white_space() -> None:
    assert canonical({"b": [1, True, None], "a": {"d": "x", "c": -2}}) == b'{"a":{"c":-2,"d":"x"},"b":[1,true,null]}'


def test_keys_are_sorted_by_utf_16_as_in_the_rfc() -> None:
    """The example of RFC 8785, section 3.2.3."""
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    assert canonical(dict.fromkeys(keys, 0)).decode() == (
        '{"\\r":0,"1":0,"\u0080":0,"\u00f6":0,"\u20ac":0,"\U0001f600":0,"\ufb33":0}'
    )


def test_strings_are_escaped_as_little_as_possible() -> None:
    """The example of RFC 8785, section 3.2.2, without its numbers."""
    text = "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/"
    assert canonical(text).decode() == '"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'


@pytest.mark.parametrize("value", [1.5, 2**53, b"x", {1: 2}, {"a": object()}, "\ud800"])
def test_what_has_no_single_form_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest):
        canonical(value)


@pytest.mark.parametrize("reason", [None, "bad_ticket"])
def test_a_votes_entry_is_canonical(reason: str | None) -> None:
    fields: dict[str, Any] = {
        "tenant": "default", "arena": "main", "seq": 12, "vote_id": "v-1", "battle_id": None, "turn": 2,
        "voter": 'a "quoted" \u20ac\n name', "outcome": "tie", "verdict": "excluded" if reason else "counted",
        "reason": reason, "model_a": "x/y", "model_b": "z", "slices": ["overall", "language-en"],
        "voted_at": "2026-11-27T12:00:00.000000Z", "judged_at": "2026-11-27T12:00:01.000000Z",
    }  # fmt: skip
    assert vote_entry(**fields) == canonical({"type": "vote", **fields})
    with pytest.raises(InvalidRequest, match="Unicode"):
        vote_entry(**{**fields, "voter": "\ud800"})
