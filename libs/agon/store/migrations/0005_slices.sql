-- What a question is about, so that its votes know their slices; and retractions, each once.

ALTER TABLE agon.battle_turns
    ADD COLUMN categories text[],
    ADD COLUMN prompt_characters integer CHECK (prompt_characters >= 0);
COMMENT ON COLUMN agon.battle_turns.categories IS 'What the question is about, by the rules of the code that asked it; null if it was asked before there were any';
COMMENT ON COLUMN agon.battle_turns.prompt_characters IS 'Characters of the question';

COMMENT ON COLUMN agon.battles.language IS 'The first question''s language as detected, ISO 639-1; null where nobody can tell';
COMMENT ON COLUMN analytics.votes.language IS 'The first question''s language as detected; null where nobody can tell, and for an import';
COMMENT ON COLUMN analytics.battles.language IS 'The first question''s language as detected; null where nobody can tell';

CREATE UNIQUE INDEX votes_retracted_once ON agon.votes (tenant, vote_id) WHERE verdict = 'retracted';
CREATE INDEX votes_by_voter ON agon.votes (tenant, voter);
