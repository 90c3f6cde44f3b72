-- Chat completions that their clients asked to be kept (`store: true`). The ingress writes down what was asked, before
-- the request goes out; how it ended is what the recorder writes, once, into agon.requests and agon.completion_texts.

ALTER TABLE agon.requests ADD COLUMN reasoning_tokens integer CHECK (reasoning_tokens >= 0);

-- A message with its calls, reasoning and log-probabilities. `json`, not `jsonb`: models may say NUL.
ALTER TABLE agon.completion_texts
    ALTER COLUMN content DROP NOT NULL,
    ADD COLUMN reasoning  text,
    ADD COLUMN tool_calls json,
    ADD COLUMN logprobs   json;

CREATE TABLE agon.stored_chats (
    tenant        text        NOT NULL,
    completion_id text        NOT NULL,
    model         text        NOT NULL,
    fingerprint   text        NOT NULL,
    messages      json        NOT NULL,
    metadata      jsonb       NOT NULL,
    created_at    timestamptz NOT NULL,
    PRIMARY KEY (tenant, completion_id)
);
CREATE INDEX stored_chats_by_time ON agon.stored_chats (tenant, created_at, completion_id);
