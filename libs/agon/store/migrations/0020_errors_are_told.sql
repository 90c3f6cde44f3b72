-- Why a request failed, in the words that its client was told: a response that ran in the background tells it later. It
-- may name what the client sent, so it lies with the texts and goes with them.

ALTER TABLE agon.completion_texts ADD COLUMN error json;
