"""Beginning a battle and asking further: read, decide with `agon.arena`, write, in this order."""

import asyncio
import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

from agon.arena import tickets
from agon.arena.categories import categories
from agon.arena.commitment import commit, digest, new_nonce
from agon.arena.language import detect
from agon.arena.pairing import named
from agon.bus.headers import event_headers
from agon.errors import AgonError, Conflict, Forbidden, ModelNotFound, ModelNotServed, NotFound, Unavailable
from agon.messages import BattleCommitted, ChatMessage, GenerationRequest, now
from agon.store import battles
from agon.store.battles import BattleRow, SideEnd, TurnRow
from agon_ingress.access.allowances import Allowance
from agon_ingress.access.callers import Caller
from agon_ingress.arena.bodies import BattleMade, NewBattle, NewTurn, TurnMade
from agon_ingress.arena.pairing import Pairings
from agon_ingress.arena.rows import facts_of, question, read_battle
from agon_ingress.arena.turns import Turns
from agon_ingress.asking.generation import Generation
from agon_ingress.house import SEED_BITS, House


@dataclass(frozen=True, slots=True)
class Battles:
    """What begins turns. No answer and no error of theirs names a model, unless the client named it."""

    house: House
    turns: Turns
    pairings: Pairings

    async def begin(self, caller: Caller, asked: NewBattle, session: str) -> BattleMade:
        """Draw a pair, bind it, ask both. The row and its commitment stand before any request is sent.

        Raises `NotFound` for an unknown arena, `Forbidden` for `models` that the key is not for,
        `ModelNotFound`/`ModelNotServed` for `models` that can't play,
        `Unavailable` where two models are not there, `RateLimited`.
        """
        self.house.health.require("postgres", "redis", "kafka")
        arena = await battles.read_arena(self.house.pool, caller.tenant, asked.arena)
        if arena is None:
            raise NotFound(f"There is no arena `{asked.arena}`.", param="arena")
        coin = secrets.SystemRandom()
        registry = self.house.registry
        if asked.models is not None:
            for name in asked.models:
                caller.check_model(name)
            cards = {name: registry.check(name) for name in asked.models}
            pair = named(*asked.models, coin)
        else:
            cards = {card.model: card for card in registry.served() if card.arena and caller.may_ask(card.model)}
            pair = (await self.pairings.of(arena)).draw(sorted(cards), coin)
        battle_id, nonce, at = secrets.token_hex(16), new_nonce(), now()
        digest_a, digest_b = cards[pair.model_a].digest, cards[pair.model_b].digest
        prompt = asked.asked()
        voter = tickets.voter_of(self._secret, session)
        ticket = tickets.issue(self._secret, tenant=caller.tenant, battle_id=battle_id, turn=1, voter=voter, at=at)
        row = BattleRow(
            tenant=caller.tenant,
            battle_id=battle_id,
            arena=asked.arena,
            named=asked.models is not None,
            session_hash=voter,
            voter_kind=asked.voter_kind,
            model_a=pair.model_a,
            model_b=pair.model_b,
            digest_a=digest_a,
            digest_b=digest_b,
            draw_probability=pair.probability,
            policy=dict(pair.policy),
            policy_hash=pair.policy_hash,
            nonce=nonce,
            commitment=commit(battle_id, pair.model_a, pair.model_b, digest_a, digest_b, nonce),
            prompt_hash=digest(prompt),
            sampling=arena.policy.get("sampling", {}),
            language=await asyncio.to_thread(detect, question(prompt)),
            created_at=at,
        )
        turn = _new_turn(row, 1, prompt)
        requests = self._requests(row, turn, prompt, prompt)
        allowance = await self._reserve(caller, row, requests)
        try:
            await battles.add_battle(self.house.pool, row, turn)
            await self._commit(row)
        except BaseException:
            allowance.settle(0)
            raise
        await self._ask(row, turn, requests, allowance)
        return BattleMade(battle_id=battle_id, ticket=ticket, stream=f"/arena/battles/{battle_id}/stream")

    async def ask_further(self, caller: Caller, battle_id: str, asked: NewTurn, session: str | None) -> TurnMade:
        """The next turn, to both, each with its own history. Raises `NotFound`, `Forbidden`, `Gone`, `Conflict`."""
        row, turns = await read_battle(self.house, caller.tenant, battle_id)
        at = now()
        self._check_owner(row, asked.ticket, session)
        facts = facts_of(row, turns)
        number = facts.check_next_turn()
        prompt = asked.asked()
        turn = _new_turn(row, number, prompt)
        ticket = tickets.issue(
            self._secret, tenant=row.tenant, battle_id=battle_id, turn=number, voter=row.session_hash, at=at
        )
        requests = self._requests(row, turn, facts.history("a", prompt), facts.history("b", prompt))
        allowance = await self._reserve(caller, row, requests)
        try:
            if not await battles.add_turn(self.house.pool, turn):
                raise Conflict("This turn was asked by another request at the same moment.", code="turn_running")
        except BaseException:
            allowance.settle(0)
            raise
        await self._ask(row, turn, requests, allowance)
        stream = f"/arena/battles/{battle_id}/stream?turn={number}"
        return TurnMade(battle_id=battle_id, turn=number, ticket=ticket, stream=stream)

    @property
    def _secret(self) -> str:
        return self.house.settings.session_secret.get_secret_value()

    def _check_owner(self, row: BattleRow, ticket: str | None, session: str | None) -> None:
        """The one who began the battle: by the session's cookie, or by a ticket of this battle."""
        if session is not None and tickets.voter_of(self._secret, session) != row.session_hash:
            raise Forbidden("This battle belongs to another session.", code="other_session")
        if session is None and ticket is None:
            raise Forbidden("Send the battle's `ticket`, or the cookie it came with.", param="ticket")
        if ticket is not None:
            held = tickets.read(self._secret, ticket, now())
            if (held.tenant, held.battle_id) != (row.tenant, row.battle_id):
                raise Forbidden("This ticket belongs to another battle.", param="ticket", code="other_battle")

    def _requests(
        self, row: BattleRow, turn: TurnRow, told_a: list[dict[str, Any]], told_b: list[dict[str, Any]]
    ) -> tuple[GenerationRequest, GenerationRequest]:
        """The two requests of a turn: nothing in them tells that they belong together, and neither finds the other's
        prefix in a cache, so that the second one is not the faster one."""
        a, b = (
            GenerationRequest(
                request_id=request_id,
                model=model,
                tenant=row.tenant,
                messages=tuple(ChatMessage.model_validate(message) for message in told),
                seed=seed,
                detached=True,
                store=False,
                cache_salt=hashlib.sha256(f"{row.nonce}/{side}".encode()).hexdigest()[:32],
                **row.sampling,
            )
            for side, request_id, model, told, seed in (
                ("a", turn.request_a, row.model_a, told_a, turn.seed_a),
                ("b", turn.request_b, row.model_b, told_b, turn.seed_b),
            )
        )
        return a, b

    async def _commit(self, row: BattleRow) -> None:
        event = BattleCommitted(
            battle_id=row.battle_id,
            tenant=row.tenant,
            arena=row.arena,
            commitment=row.commitment,
            policy_hash=row.policy_hash,
            prompt_hash=row.prompt_hash,
            committed_at=row.created_at,
        )
        await self.house.producer.produce(
            self.house.settings.topics.battles,
            event.encode(),
            key=row.battle_id.encode(),
            headers=event_headers(event, id=f"{row.battle_id}-0", source=self.house.ingress_id),
        )

    async def _reserve(
        self, caller: Caller, row: BattleRow, requests: tuple[GenerationRequest, GenerationRequest]
    ) -> Allowance:
        """One request of the key's, with the tokens of both answers. Nothing that tells of it goes out, because that
        would tell the sides apart."""
        cards = self.house.registry.cards
        size = sum(len(request.encode()) for request in requests)
        longest = max((cards[model] for model in (row.model_a, row.model_b)), key=lambda card: card.context_length)
        return await self.house.allowances.reserve(caller, requests, size, longest)

    async def _ask(
        self,
        row: BattleRow,
        turn: TurnRow,
        requests: tuple[GenerationRequest, GenerationRequest],
        allowance: Allowance,
    ) -> None:
        """Send both requests, at once; where one can't be sent, the turn has failed and the other is taken back. Both
        run to their ends, whoever reads them: then they are counted."""
        a, b = requests
        sent = await asyncio.gather(self.house.submit(a), self.house.submit(b), return_exceptions=True)
        allowance.settle(0, [(found.request, 0) for found in sent if isinstance(found, Generation)])
        if isinstance(sent[0], Generation) and isinstance(sent[1], Generation):
            self.turns.begin(row, turn, sent[0], sent[1])
            return
        ends = []
        for request, found in zip((a, b), sent, strict=True):
            code = None
            if isinstance(found, Generation):
                await found.close()
                await self.house.abandon(request)
            else:
                code = (found.code if isinstance(found, AgonError) else None) or "not_sent"
            ends.append(SideEnd("", None, code, None, None, None))
        await self.turns.give_up(row, turn, ends[0], ends[1])
        raise _neutral(next(found for found in sent if isinstance(found, BaseException)))


def _neutral(error: BaseException) -> BaseException:
    """An error of sending, without the model's name in it."""
    if isinstance(error, ModelNotFound | ModelNotServed):
        return Unavailable("A model of this battle has just gone away. Start another battle.")
    return error


def _new_turn(row: BattleRow, number: int, prompt: list[dict[str, Any]]) -> TurnRow:
    asked = question(prompt)
    return TurnRow(
        tenant=row.tenant,
        battle_id=row.battle_id,
        turn=number,
        prompt=prompt,
        request_a=secrets.token_hex(16),
        request_b=secrets.token_hex(16),
        seed_a=secrets.randbits(SEED_BITS),
        seed_b=secrets.randbits(SEED_BITS),
        created_at=now(),
        categories=categories(asked),
        prompt_characters=len(asked),
    )
