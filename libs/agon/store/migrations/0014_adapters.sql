-- What a model adapts. One that was recorded before this learns it when its card is published again.
ALTER TABLE agon.models ADD COLUMN base text;

CREATE OR REPLACE VIEW analytics.models AS
SELECT tenant, model, state, backend, owned_by, description, context_length, parameters, dtype, digest, arena, created_at,
       base
FROM agon.models;
COMMENT ON COLUMN analytics.models.base IS 'The model that this one is an adapter of; null for a model of its own';
