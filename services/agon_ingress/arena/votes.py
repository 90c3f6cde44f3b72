"""Taking a vote: read, decide with `agon.arena`, write, and only then tell the names."""

from dataclasses import dataclass
from datetime import timedelta

from agon.arena import tickets
from agon.arena.votes import vote_id
from agon.bus.headers import event_headers
from agon.errors import Conflict
from agon.messages import VoteCast, now
from agon.store import battles
from agon_ingress.arena.bodies import Models, NewVote, VoteTaken
from agon_ingress.arena.rows import facts_of, read_battle
from agon_ingress.house import House

CLAIM_LIFETIME = tickets.LIFETIME + timedelta(hours=1)
"""A claim outlives every ticket that could vote against it."""


@dataclass(frozen=True, slots=True)
class Votes:
    """Votes of this process' clients."""

    house: House

    async def cast(self, tenant: str, battle_id: str, cast: NewVote, session: str | None) -> VoteTaken:
        """Take a vote: claimed in Redis, acknowledged by Kafka, then the names.

        Raises `NotFound`, `Forbidden` or `Gone` for the ticket, `Conflict` for a vote that can't be or differs from
        the one taken before, `Unavailable` when it may not have arrived: sending it again is safe.
        """
        row, turns = await read_battle(self.house, tenant, battle_id)
        secret = self.house.settings.session_secret.get_secret_value()
        facts = facts_of(row, turns)
        turn = facts.turn(cast.turn)
        at = now()
        held = tickets.verify(
            secret,
            cast.ticket,
            tenant=row.tenant,
            battle_id=battle_id,
            turn=turn.number,
            voter=None if session is None else tickets.voter_of(secret, session),
            at=at,
        )
        identity = vote_id(row.tenant, battle_id, turn.number, held.voter)
        if facts.check_vote(turn, cast.outcome):
            await self._claim(identity, cast)
            vote = VoteCast(
                vote_id=identity,
                tenant=row.tenant,
                arena=row.arena,
                battle_id=battle_id,
                turn=turn.number,
                voter=held.voter,
                outcome=cast.outcome,
                ticket=cast.ticket,
                voted_at=at,
            )
            await self.house.producer.produce(
                self.house.settings.topics.votes,
                vote.encode(),
                key=battle_id.encode(),
                headers=event_headers(vote, id=identity, source=self.house.ingress_id),
            )
            stands = await battles.mark_voted(self.house.pool, row.tenant, battle_id, turn.number, cast.outcome)
            if stands != (turn.number, cast.outcome):
                raise Conflict("Another vote on this battle was taken before this one.", code="already_voted")
        return VoteTaken(vote_id=identity, outcome=cast.outcome, models=Models(a=row.model_a, b=row.model_b))

    async def _claim(self, identity: str, cast: NewVote) -> None:
        """Raises `Conflict` where another outcome has the claim. The same one may be produced again: vote_ingest
        counts a vote id once, and whoever claimed it may have died before Kafka had it."""
        key = self.house.settings.keys.vote(identity)
        if await self.house.redis.set(key, cast.outcome, nx=True, ex=CLAIM_LIFETIME):
            return
        value = await self.house.redis.get(key)
        claimed = value.decode() if isinstance(value, bytes) else value
        if claimed not in (None, cast.outcome):
            raise Conflict(f"You have voted `{claimed}`: a vote can't be changed.", code="already_voted")
