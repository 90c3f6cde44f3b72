-- Who may ask, and how much. A key's text is nowhere: `hash` is an HMAC under the server's secret.

CREATE TABLE agon.api_keys (
    key_id              text        PRIMARY KEY CHECK (key_id ~ '^[0-9a-f]{16}$'),
    tenant              text        NOT NULL CHECK (tenant ~ '^[A-Za-z0-9_-]{1,64}$'),
    name                text        NOT NULL,
    hash                bytea       NOT NULL CHECK (octet_length(hash) = 32),
    previous_hash       bytea       CHECK (octet_length(previous_hash) = 32),
    previous_until      timestamptz,
    endpoints           text[],
    models              text[],
    requests_per_minute integer     CHECK (requests_per_minute > 0),
    tokens_per_minute   bigint      CHECK (tokens_per_minute > 0),
    concurrency         integer     CHECK (concurrency > 0),
    budget_tokens       bigint      CHECK (budget_tokens >= 0),
    spent_tokens        bigint      NOT NULL DEFAULT 0 CHECK (spent_tokens >= 0),
    created_at          timestamptz NOT NULL,
    expires_at          timestamptz,
    revoked_at          timestamptz,
    last_used_at        timestamptz
);

-- Rises with every change that an ingress must learn of, whoever makes it: each looks here every second, and reads the
-- keys again only where it has risen. Its one row is locked by a change until that commits, so that none is passed over.
CREATE TABLE agon.api_key_changes (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    revision bigint  NOT NULL DEFAULT 1
);
INSERT INTO agon.api_key_changes DEFAULT VALUES;

CREATE FUNCTION agon.note_api_key_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE agon.api_key_changes SET revision = revision + 1;
    RETURN NULL;
END
$$;

CREATE TRIGGER api_keys_changed
AFTER INSERT OR DELETE OR UPDATE OF tenant, name, hash, previous_hash, previous_until, endpoints, models,
    requests_per_minute, tokens_per_minute, concurrency, budget_tokens, expires_at, revoked_at
ON agon.api_keys FOR EACH STATEMENT EXECUTE FUNCTION agon.note_api_key_change();
