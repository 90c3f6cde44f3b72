-- Arenas, blind battles and their turns. Written by the ingress; read by vote_ingest (what a vote is about) and the
-- analytics views. Nothing here leaves the house before the voter's own vote.

CREATE SCHEMA IF NOT EXISTS agon;

CREATE TABLE agon.arenas (
    tenant            text        NOT NULL,
    arena             text        NOT NULL CHECK (arena ~ '^[A-Za-z0-9_-]{1,64}$'),
    publication_delay interval    NOT NULL DEFAULT '0' CHECK (publication_delay >= '0'),
    vote_seq          bigint      NOT NULL DEFAULT 0 CHECK (vote_seq >= 0),
    policy            jsonb       NOT NULL DEFAULT '{}',
    created_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, arena)
);
COMMENT ON TABLE agon.arenas IS 'One row per arena: a pool of voters and models with a board of its own';
COMMENT ON COLUMN agon.arenas.tenant IS 'Who owns the arena';
COMMENT ON COLUMN agon.arenas.arena IS 'The arena''s id within its tenant';
COMMENT ON COLUMN agon.arenas.publication_delay IS 'The live board leaves out votes younger than this';
COMMENT ON COLUMN agon.arenas.vote_seq IS 'Last seq given to a judged vote; locked by the transaction that gives the next ones';
COMMENT ON COLUMN agon.arenas.policy IS 'Keys, all optional: pairing {"kind":"uniform"}, sampling {"max_tokens","temperature","top_p"}, imports (true: votes without a battle are taken)';
COMMENT ON COLUMN agon.arenas.created_at IS 'When the arena was made';

INSERT INTO agon.arenas (tenant, arena) VALUES ('default', 'main');

CREATE TABLE agon.battles (
    tenant           text             NOT NULL,
    battle_id        text             NOT NULL CHECK (battle_id ~ '^[A-Za-z0-9_-]{1,64}$'),
    arena            text             NOT NULL,
    named            boolean          NOT NULL DEFAULT false,
    session_hash     text             NOT NULL,
    voter_kind       text             NOT NULL DEFAULT 'anonymous',
    model_a          text             NOT NULL,
    model_b          text             NOT NULL CHECK (model_a <> model_b),
    digest_a         text             NOT NULL,
    digest_b         text             NOT NULL,
    draw_probability double precision NOT NULL CHECK (draw_probability > 0 AND draw_probability <= 1),
    policy           jsonb            NOT NULL,
    policy_hash      text             NOT NULL,
    nonce            text             NOT NULL,
    commitment       text             NOT NULL,
    prompt_hash      text             NOT NULL,
    sampling         jsonb            NOT NULL DEFAULT '{}',
    language         text,
    created_at       timestamptz      NOT NULL DEFAULT now(),
    voted_turn       integer          CHECK (voted_turn >= 1),
    voted_outcome    text             CHECK (voted_outcome IN ('a', 'b', 'tie', 'both_bad')),
    revealed_at      timestamptz,
    PRIMARY KEY (tenant, battle_id),
    FOREIGN KEY (tenant, arena) REFERENCES agon.arenas (tenant, arena)
);
CREATE INDEX battles_by_time ON agon.battles (tenant, arena, created_at);
COMMENT ON TABLE agon.battles IS 'One row per battle, written before any of its requests; the pair is secret until the voter''s vote';
COMMENT ON COLUMN agon.battles.tenant IS 'Who owns the arena';
COMMENT ON COLUMN agon.battles.battle_id IS 'Random, opaque';
COMMENT ON COLUMN agon.battles.arena IS 'Where its vote counts';
COMMENT ON COLUMN agon.battles.named IS 'The models were chosen by name: its votes never count on the blind board';
COMMENT ON COLUMN agon.battles.session_hash IS 'The voter: a hash of the session that began the battle';
COMMENT ON COLUMN agon.battles.voter_kind IS 'anonymous, or simulated for rule-based voters that say so';
COMMENT ON COLUMN agon.battles.model_a IS 'Who answers on side a (the coin has fallen)';
COMMENT ON COLUMN agon.battles.model_b IS 'Who answers on side b';
COMMENT ON COLUMN agon.battles.digest_a IS 'The model card''s digest of side a at the draw';
COMMENT ON COLUMN agon.battles.digest_b IS 'The model card''s digest of side b at the draw';
COMMENT ON COLUMN agon.battles.draw_probability IS 'The probability of this unordered pair under the policy; 1 where named';
COMMENT ON COLUMN agon.battles.policy IS 'The pairing policy with the pool it drew from; policy_hash is its SHA-256';
COMMENT ON COLUMN agon.battles.policy_hash IS 'SHA-256 over the canonical JSON of policy';
COMMENT ON COLUMN agon.battles.nonce IS 'Opens the commitment';
COMMENT ON COLUMN agon.battles.commitment IS 'SHA-256 over pair and nonce, on Kafka before any token was generated';
COMMENT ON COLUMN agon.battles.prompt_hash IS 'SHA-256 over the canonical JSON of the first turn''s messages';
COMMENT ON COLUMN agon.battles.sampling IS 'Sampling parameters of both sides; a missing one is the model''s default';
COMMENT ON COLUMN agon.battles.language IS 'The prompt''s language as the client declared it (first tag of Accept-Language), null if it did not';
COMMENT ON COLUMN agon.battles.created_at IS 'When the pair was drawn';
COMMENT ON COLUMN agon.battles.voted_turn IS 'The turn that was voted on; set once the vote is acknowledged by Kafka';
COMMENT ON COLUMN agon.battles.voted_outcome IS 'What the voter chose; the vote itself is in agon.votes';
COMMENT ON COLUMN agon.battles.revealed_at IS 'When the voter learned the names: nothing after it is blind';

CREATE TABLE agon.battle_turns (
    tenant          text             NOT NULL,
    battle_id       text             NOT NULL,
    turn            integer          NOT NULL CHECK (turn >= 1),
    -- json, not jsonb: it keeps every character that people send, NUL too
    prompt          json             NOT NULL,
    request_a       text             NOT NULL,
    request_b       text             NOT NULL,
    seed_a          bigint           NOT NULL,
    seed_b          bigint           NOT NULL,
    created_at      timestamptz      NOT NULL DEFAULT now(),
    status          text             NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'finished', 'failed')),
    failed_side     text             CHECK (failed_side IN ('a', 'b', 'both')),
    error_a         text,
    error_b         text,
    answer_a        text,
    answer_b        text,
    finish_a        text,
    finish_b        text,
    tokens_a        integer          CHECK (tokens_a >= 0),
    tokens_b        integer          CHECK (tokens_b >= 0),
    first_token_a_s double precision,
    first_token_b_s double precision,
    finished_a_s    double precision,
    finished_b_s    double precision,
    pace            double precision CHECK (pace > 0),
    shown_at        timestamptz,
    done_at         timestamptz,
    PRIMARY KEY (tenant, battle_id, turn),
    FOREIGN KEY (tenant, battle_id) REFERENCES agon.battles (tenant, battle_id) ON DELETE CASCADE,
    CHECK ((status = 'failed') = (failed_side IS NOT NULL))
);
COMMENT ON TABLE agon.battle_turns IS 'One row per turn of a battle: what both were asked, what they answered, how it was shown';
COMMENT ON COLUMN agon.battle_turns.tenant IS 'Who owns the arena';
COMMENT ON COLUMN agon.battle_turns.battle_id IS 'The battle';
COMMENT ON COLUMN agon.battle_turns.turn IS 'Counts from 1';
COMMENT ON COLUMN agon.battle_turns.prompt IS 'The messages that this turn adds to each side''s history, as JSON';
COMMENT ON COLUMN agon.battle_turns.request_a IS 'Request id of side a, random';
COMMENT ON COLUMN agon.battle_turns.request_b IS 'Request id of side b, random';
COMMENT ON COLUMN agon.battle_turns.seed_a IS 'Sampling seed of side a';
COMMENT ON COLUMN agon.battle_turns.seed_b IS 'Sampling seed of side b';
COMMENT ON COLUMN agon.battle_turns.created_at IS 'When the turn was asked for';
COMMENT ON COLUMN agon.battle_turns.status IS 'running, finished (both answered), failed (at least one did not: no vote counts)';
COMMENT ON COLUMN agon.battle_turns.failed_side IS 'Which side failed, of a failed turn';
COMMENT ON COLUMN agon.battle_turns.error_a IS 'Error code of side a where it failed; never shown to voters';
COMMENT ON COLUMN agon.battle_turns.error_b IS 'Error code of side b where it failed; never shown to voters';
COMMENT ON COLUMN agon.battle_turns.answer_a IS 'The answer of side a, context of later turns';
COMMENT ON COLUMN agon.battle_turns.answer_b IS 'The answer of side b, context of later turns';
COMMENT ON COLUMN agon.battle_turns.finish_a IS 'Finish reason of side a: stop or length';
COMMENT ON COLUMN agon.battle_turns.finish_b IS 'Finish reason of side b: stop or length';
COMMENT ON COLUMN agon.battle_turns.tokens_a IS 'Completion tokens of side a, from the engine';
COMMENT ON COLUMN agon.battle_turns.tokens_b IS 'Completion tokens of side b, from the engine';
COMMENT ON COLUMN agon.battle_turns.first_token_a_s IS 'Seconds from the request to the first token of side a';
COMMENT ON COLUMN agon.battle_turns.first_token_b_s IS 'Seconds from the request to the first token of side b';
COMMENT ON COLUMN agon.battle_turns.finished_a_s IS 'Seconds from the request to the end of side a';
COMMENT ON COLUMN agon.battle_turns.finished_b_s IS 'Seconds from the request to the end of side b';
COMMENT ON COLUMN agon.battle_turns.pace IS 'Characters per tick at which both were shown';
COMMENT ON COLUMN agon.battle_turns.shown_at IS 'When the first characters of both were shown';
COMMENT ON COLUMN agon.battle_turns.done_at IS 'When all of both was shown: an earlier vote came before both were done';
