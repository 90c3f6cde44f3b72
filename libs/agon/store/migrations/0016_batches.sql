-- Files, and batches of requests. What a batch works on lies in rows of its own for as long as it runs; what comes out
-- of it is files.

CREATE TABLE agon.files (
    tenant     text        NOT NULL,
    file_id    text        NOT NULL,
    filename   text        NOT NULL,
    purpose    text        NOT NULL,
    bytes      bigint      NOT NULL CHECK (bytes >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    PRIMARY KEY (tenant, file_id)
);
CREATE INDEX files_by_time ON agon.files (tenant, created_at, file_id);
CREATE INDEX files_by_end ON agon.files (expires_at) WHERE expires_at IS NOT NULL;

-- The bytes, in pieces that fit a connection's buffers.
CREATE TABLE agon.file_parts (
    tenant  text    NOT NULL,
    file_id text    NOT NULL,
    part    integer NOT NULL CHECK (part >= 0),
    data    bytea   NOT NULL,
    PRIMARY KEY (tenant, file_id, part),
    FOREIGN KEY (tenant, file_id) REFERENCES agon.files (tenant, file_id) ON DELETE CASCADE
);

-- `key_id` names the API key that asked, null where none was needed: what it may do binds the batch to its end.
-- `driver` is the process that moves a batch on, until `driven_until`; whoever comes after that takes it over.
CREATE TABLE agon.batches (
    tenant               text        NOT NULL,
    batch_id             text        NOT NULL,
    key_id               text,
    endpoint             text        NOT NULL,
    input_file_id        text        NOT NULL,
    completion_window    text        NOT NULL,
    metadata             jsonb,
    output_expires_after interval,
    status               text        NOT NULL DEFAULT 'validating' CHECK (status IN (
        'validating', 'failed', 'in_progress', 'finalizing', 'completed', 'expired', 'cancelling', 'cancelled')),
    errors               jsonb,
    total                integer     NOT NULL DEFAULT 0 CHECK (total >= 0),
    completed            integer     NOT NULL DEFAULT 0 CHECK (completed >= 0),
    failed               integer     NOT NULL DEFAULT 0 CHECK (failed >= 0),
    usage                jsonb,
    output_file_id       text,
    error_file_id        text,
    created_at           timestamptz NOT NULL DEFAULT now(),
    expires_at           timestamptz NOT NULL,
    in_progress_at       timestamptz,
    finalizing_at        timestamptz,
    completed_at         timestamptz,
    failed_at            timestamptz,
    expired_at           timestamptz,
    cancelling_at        timestamptz,
    cancelled_at         timestamptz,
    driver               uuid,
    driven_until         timestamptz,
    PRIMARY KEY (tenant, batch_id)
);
CREATE INDEX batches_by_time ON agon.batches (tenant, created_at, batch_id);
CREATE INDEX batches_at_work ON agon.batches (created_at)
    WHERE status IN ('validating', 'in_progress', 'finalizing', 'cancelling');

-- A line of the input file. `refusal` is the answer to a body that no model was asked with;
-- `settled` says that what the line has cost was counted towards the limits of the key.
CREATE TABLE agon.batch_lines (
    tenant    text    NOT NULL,
    batch_id  text    NOT NULL,
    line      integer NOT NULL CHECK (line >= 1),
    custom_id text    NOT NULL,
    body      text    NOT NULL,
    sent      boolean NOT NULL DEFAULT false,
    settled   boolean NOT NULL DEFAULT false,
    refusal   jsonb,
    PRIMARY KEY (tenant, batch_id, line),
    UNIQUE (tenant, batch_id, custom_id),
    FOREIGN KEY (tenant, batch_id) REFERENCES agon.batches (tenant, batch_id) ON DELETE CASCADE
);
CREATE INDEX batch_lines_to_send ON agon.batch_lines (tenant, batch_id, line) WHERE NOT sent;

-- The requests that a line became, written before they go out; the recorder writes how each ended, once.
CREATE TABLE agon.batch_requests (
    tenant     text    NOT NULL,
    request_id text    NOT NULL,
    batch_id   text    NOT NULL,
    line       integer NOT NULL,
    part       integer NOT NULL CHECK (part >= 0),
    model      text    NOT NULL,
    keep_text  boolean NOT NULL,
    status     text    CHECK (status IN ('finished', 'failed', 'cancelled', 'expired')),
    completion text,
    tokens     integer CHECK (tokens >= 0),
    PRIMARY KEY (tenant, request_id),
    UNIQUE (tenant, batch_id, line, part),
    FOREIGN KEY (tenant, batch_id, line) REFERENCES agon.batch_lines (tenant, batch_id, line) ON DELETE CASCADE,
    CHECK ((status IS NULL) = (completion IS NULL))
);
ALTER TABLE agon.file_parts ALTER COLUMN data SET STORAGE EXTERNAL;
