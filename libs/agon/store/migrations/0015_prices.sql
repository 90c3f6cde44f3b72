-- What a token of each model costs, where somebody says so: with it a win's tokens become money.

CREATE TABLE agon.model_prices (
    tenant      text             NOT NULL DEFAULT 'default',
    model       text             NOT NULL,
    per_million double precision NOT NULL CHECK (per_million >= 0 AND per_million < 'infinity'),
    set_at      timestamptz      NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, model)
);
COMMENT ON COLUMN agon.model_prices.per_million IS 'For a million generated tokens, in the operator''s currency';

CREATE OR REPLACE VIEW analytics.model_costs AS
WITH sides AS (
    SELECT b.tenant, b.arena, b.model_a AS model, b.voted_turn = t.turn AND b.voted_outcome = 'a' AS won, t.status,
           t.failed_side IN ('a', 'both') AS failed, t.tokens_a AS tokens, t.first_token_a_s AS first_token_s,
           t.finished_a_s AS finished_s, b.named
    FROM agon.battles b JOIN agon.battle_turns t USING (tenant, battle_id) WHERE b.revealed_at IS NOT NULL
    UNION ALL
    SELECT b.tenant, b.arena, b.model_b, b.voted_turn = t.turn AND b.voted_outcome = 'b', t.status,
           t.failed_side IN ('b', 'both'), t.tokens_b, t.first_token_b_s, t.finished_b_s, b.named
    FROM agon.battles b JOIN agon.battle_turns t USING (tenant, battle_id) WHERE b.revealed_at IS NOT NULL
)
SELECT s.tenant, s.arena, s.model, count(*) AS answers, count(*) FILTER (WHERE won) AS wins,
       count(*) FILTER (WHERE failed) AS failures, coalesce(sum(tokens), 0)::bigint AS completion_tokens,
       sum(tokens)::double precision / nullif(count(*) FILTER (WHERE won), 0) AS tokens_per_win,
       sum(finished_s) / nullif(count(*) FILTER (WHERE won), 0) AS seconds_per_win,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY first_token_s) AS first_token_median,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY finished_s) AS finished_median,
       p.per_million AS price_per_million,
       sum(tokens) * p.per_million / 1e6 / nullif(count(*) FILTER (WHERE won), 0) AS cost_per_win
FROM sides s LEFT JOIN agon.model_prices p ON p.tenant = s.tenant AND p.model = s.model
WHERE NOT named GROUP BY s.tenant, s.arena, s.model, p.per_million;
COMMENT ON VIEW analytics.model_costs IS 'What wins cost: tokens, money and seconds of each model in blind battles whose voter has voted';
COMMENT ON COLUMN analytics.model_costs.tokens_per_win IS 'Tokens generated per vote won, lost battles included; null without a win';
COMMENT ON COLUMN analytics.model_costs.price_per_million IS 'What a million generated tokens cost, in the operator''s currency; null where nobody has set it (agon models price)';
COMMENT ON COLUMN analytics.model_costs.cost_per_win IS 'tokens_per_win at that price; null without a price or a win';
