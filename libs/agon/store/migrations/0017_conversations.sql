-- Conversations. An entry is an item that a client put there, or a response: that one's items, once it has ended, are
-- what its row and its record say. `removed` are the ids of those of its items that were deleted.

CREATE TABLE agon.conversations (
    tenant          text        NOT NULL,
    conversation_id text        NOT NULL,
    metadata        jsonb       NOT NULL,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (tenant, conversation_id)
);

CREATE TABLE agon.conversation_entries (
    tenant          text   NOT NULL,
    conversation_id text   NOT NULL,
    entry           bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    item            json,
    item_id         text,
    response_id     text,
    removed         text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant, conversation_id, entry),
    FOREIGN KEY (tenant, conversation_id) REFERENCES agon.conversations (tenant, conversation_id) ON DELETE CASCADE,
    CHECK ((item IS NULL) = (item_id IS NULL)),
    CHECK ((item IS NULL) <> (response_id IS NULL))
);
