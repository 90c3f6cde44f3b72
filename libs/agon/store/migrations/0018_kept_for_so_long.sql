-- What clients had kept goes after a while (`agon.store.retention`): how old it is, and how to find the oldest.

ALTER TABLE agon.conversations ADD COLUMN changed_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE agon.completion_texts ADD COLUMN recorded_at timestamptz NOT NULL DEFAULT now();

CREATE INDEX conversations_by_change ON agon.conversations (changed_at);
CREATE INDEX completion_texts_by_age ON agon.completion_texts (recorded_at);
CREATE INDEX stored_chats_by_age ON agon.stored_chats (created_at);
CREATE INDEX responses_by_age ON agon.responses (created_at);
CREATE INDEX responses_by_previous ON agon.responses (tenant, previous_id) WHERE previous_id IS NOT NULL;
