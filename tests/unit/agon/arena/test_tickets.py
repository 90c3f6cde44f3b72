"""Who may vote on what, until when."""

from datetime import UTC, datetime, timedelta

import pytest

from agon.arena.tickets import LIFETIME, issue, read, verify, voter_of
from agon.errors import Forbidden, Gone, Unavailable

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
VOTER = voter_of("secret", "session-1")
ABOUT = {"tenant": "default", "battle_id": "b1", "turn": 1}


def ticket() -> str:
    return issue("secret", **ABOUT, voter=VOTER, at=NOW)  # type: ignore[arg-type]


def code(**changes: object) -> str | None:
    asked = {**ABOUT, "voter": VOTER, "at": NOW, **changes}
    sent = asked.pop("ticket", None) or ticket()
    secret = asked.pop("secret", "secret")
    with pytest.raises((Forbidden, Gone)) as caught:
        verify(secret, sent, **asked)  # type: ignore[arg-type]
    return caught.value.code


def test_a_ticket_is_good_for_its_turn_of_its_battle_and_its_voter() -> None:
    found = verify("secret", ticket(), tenant="default", battle_id="b1", turn=1, voter=VOTER, at=NOW)
    assert (found.battle_id, found.turn, found.voter) == ("b1", 1, VOTER)
    assert len(ticket()) <= 512


def test_without_a_session_the_ticket_alone_is_enough() -> None:
    assert verify("secret", ticket(), tenant="default", battle_id="b1", turn=1, voter=None, at=NOW).voter == VOTER


def test_a_ticket_is_good_for_nothing_else() -> None:
    assert code(battle_id="b2") == "other_battle"
    assert code(tenant="other") == "other_battle"
    assert code(turn=2) == "other_turn"
    assert code(voter=voter_of("secret", "session-2")) == "other_session"
    assert code(secret="another") == "bad_ticket"


def test_a_ticket_expires_after_a_day() -> None:
    assert read("secret", ticket(), NOW + LIFETIME - timedelta(seconds=1))
    assert code(at=NOW + LIFETIME) == "ticket_expired"


@pytest.mark.parametrize("sent", ["", ".", "..", "v1", "v1..", "v1.e30.", "v1.!!.!!", "é.ü.ö", "v1." + "A" * 500])
def test_what_was_not_issued_here_is_refused(sent: str) -> None:
    with pytest.raises(Forbidden) as caught:
        read("secret", sent, NOW)
    assert caught.value.code == "bad_ticket"


def test_a_changed_byte_anywhere_is_noticed() -> None:
    whole = ticket()
    for at in range(len(whole)):
        changed = whole[:at] + ("A" if whole[at] != "A" else "B") + whole[at + 1 :]
        # The last character of a base64 part can carry bits that mean nothing: such a change is no change.
        try:
            assert read("secret", changed, NOW) == read("secret", whole, NOW)
        except Forbidden:
            continue
        assert at in {whole.rindex(".") - 1, len(whole) - 1}


def test_a_ticket_and_a_voter_do_not_tell_the_session() -> None:
    assert "session-1" not in VOTER
    assert voter_of("secret", "session-1") == VOTER != voter_of("other", "session-1")


def test_without_a_secret_nothing_is_signed() -> None:
    with pytest.raises(Unavailable, match="AGON_SESSION_SECRET"):
        voter_of("", "session-1")
