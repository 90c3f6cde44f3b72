-- Responses that are kept: what was asked, and the response as it began. How one ended is what the recorder writes,
-- once, into agon.requests and agon.completion_texts: a response is told from both.

CREATE TABLE agon.responses (
    tenant            text        NOT NULL,
    response_id       text        NOT NULL,
    model             text        NOT NULL,
    begun             json        NOT NULL,
    items             json        NOT NULL,
    previous_id       text,
    conversation_id   text,
    background        boolean     NOT NULL,
    created_at        timestamptz NOT NULL,
    deadline          timestamptz NOT NULL,
    cancelled_at      timestamptz,
    -- Deleted, while its items still belong to a conversation.
    forgotten_at      timestamptz,
    PRIMARY KEY (tenant, response_id),
    CHECK (previous_id IS NULL OR conversation_id IS NULL)
);
CREATE INDEX responses_by_conversation ON agon.responses (tenant, conversation_id) WHERE conversation_id IS NOT NULL;
