"""What the ledger says about a vote: all that a recount needs, and no ticket.

Written out, not built as a dict: a backlog has millions. A test holds it to `canonical`.
"""

from collections.abc import Sequence
from json.encoder import encode_basestring as quoted

from agon.errors import InvalidRequest


def vote_entry(
    *,
    tenant: str,
    arena: str,
    seq: int,
    vote_id: str,
    battle_id: str | None,
    turn: int,
    voter: str,
    outcome: str,
    verdict: str,
    reason: str | None,
    model_a: str | None,
    model_b: str | None,
    slices: Sequence[str],
    voted_at: str,
    judged_at: str,
) -> bytes:
    """The canonical bytes of a judged vote: counted, excluded with the reason, or retracted with the reason. Times are
    RFC 3339. Raises `InvalidRequest` for text that is no Unicode."""
    named = ",".join(map(quoted, slices))
    text = (
        f'{{"arena":{quoted(arena)},"battle_id":{_text(battle_id)},"judged_at":{quoted(judged_at)},'
        f'"model_a":{_text(model_a)},"model_b":{_text(model_b)},"outcome":{quoted(outcome)},"reason":{_text(reason)},'
        f'"seq":{seq},"slices":[{named}],"tenant":{quoted(tenant)},"turn":{turn},"type":"vote",'
        f'"verdict":{quoted(verdict)},"vote_id":{quoted(vote_id)},"voted_at":{quoted(voted_at)},"voter":{quoted(voter)}}}'
    )
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest("a ledger entry holds text that is no Unicode (a lone surrogate)") from error


def _text(value: str | None) -> str:
    return "null" if value is None else quoted(value)
