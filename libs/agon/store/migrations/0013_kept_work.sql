-- What services keep so as not to work it out again: when a turn ended, which ratings Kafka has, the tops of the ledger's
-- tree, and what was seen of answers' style.

-- Whether a vote came before or after: who judges it later must not see another battle than its voter.
ALTER TABLE agon.battle_turns ADD COLUMN ended_at timestamptz;
COMMENT ON COLUMN agon.battle_turns.ended_at IS 'When both sides had ended, finished or failed; null while one runs, and for turns from before this was kept';

-- A model whose last vote was taken back is on no board any more, so the board can't say that its rating must go.
ALTER TABLE agon.leaderboards ADD COLUMN announced_models text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN agon.leaderboards.announced_models IS 'Whose ratings the compacted topic has';

-- The heads of the complete subtrees over the first `size` leaves, largest first: a later head goes on from here.
CREATE TABLE agon.ledger_frontiers (
    tenant text    NOT NULL,
    arena  text    NOT NULL,
    size   bigint  NOT NULL CHECK (size > 0),
    peaks  bytea[] NOT NULL,
    PRIMARY KEY (tenant, arena)
);

-- Counts, not text; of another version of what is counted they are counted again.
CREATE TABLE agon.answer_styles (
    tenant    text     NOT NULL,
    battle_id text     NOT NULL,
    turn      integer  NOT NULL,
    version   integer  NOT NULL,
    style_a   float8[] NOT NULL,
    style_b   float8[] NOT NULL,
    PRIMARY KEY (tenant, battle_id, turn),
    FOREIGN KEY (tenant, battle_id, turn) REFERENCES agon.battle_turns (tenant, battle_id, turn) ON DELETE CASCADE
);
