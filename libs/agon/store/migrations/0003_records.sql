-- What the consumers write: ended requests, models, judged votes with their ledger, and the boards.

CREATE TABLE agon.requests (
    tenant            text        NOT NULL,
    request_id        text        NOT NULL,
    model             text        NOT NULL,
    kind              text        NOT NULL,
    status            text        NOT NULL CHECK (status IN ('finished', 'failed', 'cancelled', 'expired')),
    error_code        text,
    finish_reasons    text[]      NOT NULL DEFAULT '{}',
    prompt_tokens     integer     NOT NULL CHECK (prompt_tokens >= 0),
    completion_tokens integer     NOT NULL CHECK (completion_tokens >= 0),
    cached_tokens     integer     NOT NULL CHECK (cached_tokens >= 0),
    accepted_at       timestamptz NOT NULL,
    admitted_at       timestamptz,
    first_token_at    timestamptz,
    finished_at       timestamptz NOT NULL,
    worker            text        NOT NULL,
    attempt           integer     NOT NULL CHECK (attempt >= 0),
    recorded_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, request_id)
);
CREATE INDEX requests_by_time ON agon.requests (tenant, finished_at);

-- Text lives apart, so that it can be deleted without touching usage and cost.
CREATE TABLE agon.completion_texts (
    tenant     text    NOT NULL,
    request_id text    NOT NULL,
    choice     integer NOT NULL CHECK (choice >= 0),
    content    text    NOT NULL,
    PRIMARY KEY (tenant, request_id, choice),
    FOREIGN KEY (tenant, request_id) REFERENCES agon.requests (tenant, request_id) ON DELETE CASCADE
);

CREATE TABLE agon.models (
    tenant         text        NOT NULL DEFAULT 'default',
    model          text        NOT NULL,
    digest         text        NOT NULL,
    state          text        NOT NULL CHECK (state IN ('active', 'withdrawn')),
    backend        text        NOT NULL,
    owned_by       text        NOT NULL,
    description    text        NOT NULL,
    context_length integer     NOT NULL CHECK (context_length >= 1),
    parameters     bigint      CHECK (parameters >= 0),
    dtype          text,
    arena          boolean     NOT NULL,
    created_at     timestamptz NOT NULL,
    recorded_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, model)
);

-- The log that anyone can check: the exact bytes of each entry and their RFC 6962 leaf hash. Only appended to, under
-- the lock of the arena's row.
CREATE TABLE agon.ledger_leaves (
    tenant text   NOT NULL,
    arena  text   NOT NULL,
    leaf   bigint NOT NULL CHECK (leaf >= 0),
    kind   text   NOT NULL CHECK (kind IN ('vote', 'leaderboard')),
    entry  text   NOT NULL,
    hash   bytea  NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (tenant, arena, leaf),
    FOREIGN KEY (tenant, arena) REFERENCES agon.arenas (tenant, arena)
);

-- Judged votes, only appended to: a retraction is a row of its own. `seq` is gap-free within the arena.
CREATE TABLE agon.votes (
    tenant    text        NOT NULL,
    arena     text        NOT NULL,
    seq       bigint      NOT NULL CHECK (seq >= 1),
    verdict   text        NOT NULL CHECK (verdict IN ('counted', 'excluded', 'retracted')),
    reason    text,
    vote_id   text        NOT NULL,
    battle_id text,
    turn      integer     NOT NULL CHECK (turn >= 1),
    voter     text        NOT NULL,
    outcome   text        NOT NULL CHECK (outcome IN ('a', 'b', 'tie', 'both_bad')),
    model_a   text,
    model_b   text,
    slices    text[]      NOT NULL,
    voted_at  timestamptz NOT NULL,
    judged_at timestamptz NOT NULL,
    leaf      bigint      NOT NULL,
    PRIMARY KEY (tenant, arena, seq),
    FOREIGN KEY (tenant, arena, leaf) REFERENCES agon.ledger_leaves (tenant, arena, leaf),
    CHECK ((verdict = 'counted') = (reason IS NULL)),
    CHECK (verdict = 'excluded' OR (model_a IS NOT NULL AND model_b IS NOT NULL AND model_a <> model_b))
);
CREATE UNIQUE INDEX votes_counted_once ON agon.votes (tenant, vote_id) WHERE verdict = 'counted';
CREATE UNIQUE INDEX votes_one_per_turn ON agon.votes (tenant, battle_id, turn, voter)
    WHERE verdict = 'counted' AND battle_id IS NOT NULL;
CREATE INDEX votes_by_id ON agon.votes (tenant, vote_id);
CREATE INDEX votes_by_battle ON agon.votes (tenant, battle_id) WHERE battle_id IS NOT NULL;

-- How far judged votes have gone out to Kafka; apart from the arena's counter, so that the two never wait for each other.
CREATE TABLE agon.vote_relays (
    tenant     text        NOT NULL,
    arena      text        NOT NULL,
    published  bigint      NOT NULL DEFAULT 0 CHECK (published >= 0),
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, arena),
    FOREIGN KEY (tenant, arena) REFERENCES agon.arenas (tenant, arena)
);

-- Ratings know votes only as ordered pair cells per slice. `counted` is the seq up to which the cells are complete.
CREATE TABLE agon.rating_marks (
    tenant     text        NOT NULL,
    arena      text        NOT NULL,
    counted    bigint      NOT NULL CHECK (counted >= 0),
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, arena)
);

CREATE TABLE agon.pair_cells (
    tenant     text   NOT NULL,
    arena      text   NOT NULL,
    slice      text   NOT NULL,
    model_a    text   NOT NULL,
    model_b    text   NOT NULL CHECK (model_a <> model_b),
    left_wins  bigint NOT NULL DEFAULT 0 CHECK (left_wins >= 0),
    right_wins bigint NOT NULL DEFAULT 0 CHECK (right_wins >= 0),
    ties       bigint NOT NULL DEFAULT 0 CHECK (ties >= 0),
    both_bad   bigint NOT NULL DEFAULT 0 CHECK (both_bad >= 0),
    PRIMARY KEY (tenant, arena, slice, model_a, model_b)
);

-- One row per slice that has votes; a board older than `changed` is behind.
CREATE TABLE agon.rating_slices (
    tenant  text   NOT NULL,
    arena   text   NOT NULL,
    slice   text   NOT NULL,
    changed bigint NOT NULL,
    PRIMARY KEY (tenant, arena, slice)
);

-- The live board: overwritten in place, header and rows in one transaction.
CREATE TABLE agon.leaderboards (
    tenant       text             NOT NULL,
    arena        text             NOT NULL,
    slice        text             NOT NULL,
    method       text             NOT NULL,
    as_of        bigint           NOT NULL,
    announced    bigint           NOT NULL DEFAULT 0,
    votes        bigint           NOT NULL,
    unranked     jsonb            NOT NULL,
    gradient     double precision,
    published_at timestamptz      NOT NULL,
    PRIMARY KEY (tenant, arena, slice, method)
);

CREATE TABLE agon.leaderboard_live (
    tenant     text             NOT NULL,
    arena      text             NOT NULL,
    slice      text             NOT NULL,
    method     text             NOT NULL,
    model      text             NOT NULL,
    rank       integer          NOT NULL CHECK (rank >= 1),
    rank_best  integer          NOT NULL CHECK (rank_best >= 1),
    rank_worst integer          NOT NULL CHECK (rank_worst >= 1),
    rating     double precision NOT NULL,
    lower      double precision NOT NULL,
    upper      double precision NOT NULL,
    votes      bigint           NOT NULL,
    PRIMARY KEY (tenant, arena, slice, method, model),
    FOREIGN KEY (tenant, arena, slice, method)
        REFERENCES agon.leaderboards (tenant, arena, slice, method) ON DELETE CASCADE
);

-- Published runs: fitted cold from all votes up to `as_of`, kept for ever, recorded in the ledger.
CREATE TABLE agon.rating_runs (
    tenant       text             NOT NULL,
    arena        text             NOT NULL,
    slice        text             NOT NULL,
    method       text             NOT NULL,
    as_of        bigint           NOT NULL,
    votes        bigint           NOT NULL,
    unranked     jsonb            NOT NULL,
    gradient     double precision,
    iterations   integer,
    parameters   jsonb            NOT NULL,
    code_version text             NOT NULL,
    leaf         bigint           NOT NULL,
    published_at timestamptz      NOT NULL,
    PRIMARY KEY (tenant, arena, slice, method, as_of),
    FOREIGN KEY (tenant, arena, leaf) REFERENCES agon.ledger_leaves (tenant, arena, leaf)
);

CREATE TABLE agon.rating_run_rows (
    tenant     text             NOT NULL,
    arena      text             NOT NULL,
    slice      text             NOT NULL,
    method     text             NOT NULL,
    as_of      bigint           NOT NULL,
    model      text             NOT NULL,
    rank       integer          NOT NULL CHECK (rank >= 1),
    rank_best  integer          NOT NULL CHECK (rank_best >= 1),
    rank_worst integer          NOT NULL CHECK (rank_worst >= 1),
    rating     double precision NOT NULL,
    lower      double precision NOT NULL,
    upper      double precision NOT NULL,
    votes      bigint           NOT NULL,
    PRIMARY KEY (tenant, arena, slice, method, as_of, model),
    FOREIGN KEY (tenant, arena, slice, method, as_of)
        REFERENCES agon.rating_runs (tenant, arena, slice, method, as_of)
);
