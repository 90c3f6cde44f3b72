"""`agon.models`: the newest card of every model that was ever registered, filled by the recorder; and
`agon.model_prices`, what their tokens cost, where somebody says so."""

from collections.abc import Sequence

from agon.errors import NotFound
from agon.messages import ModelCard
from agon.store.pool import Connection, Pool


async def record(connection: Connection, cards: Sequence[ModelCard]) -> None:
    """Store cards in the order in which they were published; a model's later card replaces its earlier one, and keeps
    the time of the first."""
    newest = {card.model: card for card in cards}
    first: dict[str, ModelCard] = {}
    for card in cards:
        first.setdefault(card.model, card)
    await connection.executemany(
        """
        INSERT INTO agon.models AS m
            (model, digest, state, backend, owned_by, description, context_length, parameters, dtype, arena, created_at,
             base)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        ON CONFLICT (tenant, model) DO UPDATE SET
            digest = $2, state = $3, backend = $4, owned_by = $5, description = $6, context_length = $7,
            parameters = $8, dtype = $9, arena = $10, base = $12, recorded_at = now()
        """,
        [
            (c.model, c.digest, c.state, c.backend, c.owned_by, c.description, c.context_length, c.parameters, c.dtype,
             c.arena, first[c.model].created_at, c.base)
            for c in newest.values()
        ],
    )  # fmt: skip


async def set_price(db: Pool | Connection, tenant: str, model: str, per_million: float | None) -> None:
    """What a million generated tokens of a model cost; None where nobody knows any more. Raises `NotFound` for a model
    that was never registered."""
    if not await db.fetchval("SELECT 1 FROM agon.models WHERE tenant = $1 AND model = $2", tenant, model):
        raise NotFound(f"There is no model {model!r}.", param="model")
    if per_million is None:
        await db.execute("DELETE FROM agon.model_prices WHERE tenant = $1 AND model = $2", tenant, model)
        return
    await db.execute(
        """
        INSERT INTO agon.model_prices (tenant, model, per_million) VALUES ($1, $2, $3)
        ON CONFLICT (tenant, model) DO UPDATE SET per_million = $3, set_at = now()
        """,
        tenant,
        model,
        per_million,
    )
