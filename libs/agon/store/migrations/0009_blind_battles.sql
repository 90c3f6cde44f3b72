-- With active pairs a pair's probability is nearly its name, so it is told when the names are.

CREATE OR REPLACE VIEW analytics.battles AS
SELECT b.tenant, b.arena, b.battle_id, b.named, b.voter_kind,
       CASE WHEN b.revealed_at IS NOT NULL OR b.created_at < now() - interval '24 hours' THEN b.model_a END AS model_a,
       CASE WHEN b.revealed_at IS NOT NULL OR b.created_at < now() - interval '24 hours' THEN b.model_b END AS model_b,
       CASE WHEN b.revealed_at IS NOT NULL OR b.created_at < now() - interval '24 hours' THEN b.draw_probability
       END AS draw_probability,
       b.policy_hash, b.commitment, b.language, count(t.turn)::integer AS turns,
       coalesce(bool_or(t.status = 'failed'), false) AS failed, b.voted_turn, b.voted_outcome, b.created_at, b.revealed_at
FROM agon.battles b LEFT JOIN agon.battle_turns t USING (tenant, battle_id)
GROUP BY b.tenant, b.battle_id;
COMMENT ON COLUMN analytics.battles.draw_probability IS 'The probability of this pair under the policy; null as long as the models are, because it could tell who they are';
