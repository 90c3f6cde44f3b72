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
    RFC 3339, outcome and verdict the known words. Raises `InvalidRequest` for text that is no Unicode."""
    named = ",".join(map(quoted, slices))
    battle = "null" if battle_id is None else quoted(battle_id)
    left = "null" if model_a is None else quoted(model_a)
    right = "null" if model_b is None else quoted(model_b)
    why = "null" if reason is None else quoted(reason)
    text = (
        f'{{"arena":{quoted(arena)},"battle_id":{battle},"judged_at":"{judged_at}",'
        f'"model_a":{left},"model_b":{right},"outcome":"{outcome}","reason":{why},'
        f'"seq":{seq},"slices":[{named}],"tenant":{quoted(tenant)},"turn":{turn},"type":"vote",'
        f'"verdict":"{verdict}","vote_id":{quoted(vote_id)},"voted_at":"{voted_at}","voter":{quoted(voter)}}}'
    )
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest("a ledger entry holds text that is no Unicode (a lone surrogate)") from error
