-- Published runs: what tells neighbours apart, and the covariance that a pairing policy can use; and the views that
-- follow from both.

ALTER TABLE agon.rating_run_rows ADD COLUMN votes_to_next bigint CHECK (votes_to_next >= 0);
COMMENT ON COLUMN agon.rating_run_rows.votes_to_next IS 'Further votes between the model and the next one below until the 95 % interval of their difference leaves out 0, if the difference stays; null for the last, and where it is more than a billion';

-- Only the newest of each board: a matrix is large, and older ones can be computed again from the ledger.
CREATE TABLE agon.rating_covariances (
    tenant     text        NOT NULL,
    arena      text        NOT NULL,
    slice      text        NOT NULL,
    method     text        NOT NULL,
    as_of      bigint      NOT NULL,
    models     text[]      NOT NULL,
    theta      float8[]    NOT NULL,
    covariance bytea       NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, arena, slice, method),
    CHECK (cardinality(theta) = cardinality(models)),
    CHECK (length(covariance) = 8 * cardinality(models) * cardinality(models))
);
COMMENT ON TABLE agon.rating_covariances IS 'Log-odds and their covariance (float64, row by row, little-endian) of each board''s newest published run';

CREATE OR REPLACE VIEW analytics.leaderboard_history AS
SELECT b.tenant, b.arena, b.slice, b.method, r.rank, r.rank_best, r.rank_worst, r.model, r.rating, r.lower, r.upper,
       r.votes, b.votes AS board_votes, b.as_of, b.published_at, b.code_version, b.gradient, b.leaf, r.votes_to_next
FROM agon.rating_runs b JOIN agon.rating_run_rows r USING (tenant, arena, slice, method, as_of);
COMMENT ON COLUMN analytics.leaderboard_history.votes_to_next IS 'Further votes between the model and the next one below until their order is certain (95 %), if the difference stays; null for the last, and for more than a billion';

CREATE OR REPLACE VIEW analytics.win_matrix AS
SELECT m.tenant, m.arena, m.slice, m.model, m.opponent, m.votes, m.wins, m.losses, m.ties, m.both_bad, m.win_rate,
       1 / (1 + 10 ^ ((r.rating - l.rating) / 400)) AS fitted
FROM (
    SELECT tenant, arena, slice, model, opponent,
           sum(wins + losses + ties + both_bad)::bigint AS votes, sum(wins)::bigint AS wins,
           sum(losses)::bigint AS losses, sum(ties)::bigint AS ties, sum(both_bad)::bigint AS both_bad,
           (sum(wins + (ties + both_bad) / 2.0) / nullif(sum(wins + losses + ties + both_bad), 0))::double precision
               AS win_rate
    FROM (
        SELECT tenant, arena, slice, model_a AS model, model_b AS opponent, left_wins AS wins, right_wins AS losses,
               ties, both_bad FROM agon.pair_cells
        UNION ALL
        SELECT tenant, arena, slice, model_b, model_a, right_wins, left_wins, ties, both_bad FROM agon.pair_cells
    ) AS cells
    GROUP BY tenant, arena, slice, model, opponent
) AS m
LEFT JOIN agon.leaderboard_live l ON l.tenant = m.tenant AND l.arena = m.arena AND l.slice = m.slice
    AND l.model = m.model AND l.method = 'bradley_terry'
LEFT JOIN agon.leaderboard_live r ON r.tenant = m.tenant AND r.arena = m.arena AND r.slice = m.slice
    AND r.model = m.opponent AND r.method = 'bradley_terry';
COMMENT ON COLUMN analytics.win_matrix.fitted IS 'What the live board expects win_rate to be; null where one of the two has no rating';

CREATE VIEW analytics.vote_rates AS
SELECT tenant, arena, slice, sum(left_wins + right_wins + ties + both_bad)::bigint AS votes,
       (sum(ties) / nullif(sum(left_wins + right_wins + ties + both_bad), 0))::double precision AS tie_rate,
       (sum(both_bad) / nullif(sum(left_wins + right_wins + ties + both_bad), 0))::double precision AS both_bad_rate,
       (sum(left_wins) / nullif(sum(left_wins + right_wins), 0))::double precision AS left_rate,
       (0.5 / sqrt(nullif(sum(left_wins + right_wins), 0)))::double precision AS left_rate_error
FROM agon.pair_cells GROUP BY tenant, arena, slice;
COMMENT ON VIEW analytics.vote_rates IS 'How often voters tie, find both bad, and prefer the left side, per slice';
COMMENT ON COLUMN analytics.vote_rates.tenant IS 'Who owns the data';
COMMENT ON COLUMN analytics.vote_rates.arena IS 'The arena within its tenant';
COMMENT ON COLUMN analytics.vote_rates.slice IS 'Which votes: overall, or a part such as language-en';
COMMENT ON COLUMN analytics.vote_rates.votes IS 'Counted votes';
COMMENT ON COLUMN analytics.vote_rates.tie_rate IS 'Share of ties';
COMMENT ON COLUMN analytics.vote_rates.both_bad_rate IS 'Share of votes that found both bad';
COMMENT ON COLUMN analytics.vote_rates.left_rate IS 'Share of left wins among the decided votes: 0.5 without position bias, because the sides are drawn by a fair coin';
COMMENT ON COLUMN analytics.vote_rates.left_rate_error IS 'Standard error of left_rate if there is no bias; two of them from 0.5 are a bias';

CREATE VIEW analytics.voter_mix AS
WITH standing AS (
    SELECT v.tenant, v.arena, v.voter, v.slices, coalesce(b.voter_kind, 'import') AS voter_kind
    FROM agon.votes v LEFT JOIN agon.battles b USING (tenant, battle_id)
    WHERE v.verdict = 'counted' AND NOT EXISTS (
        SELECT FROM agon.votes r WHERE r.tenant = v.tenant AND r.vote_id = v.vote_id AND r.verdict = 'retracted')
), told AS (
    SELECT tenant, arena, voter, 'voter_kind' AS dimension, voter_kind AS value FROM standing
    UNION ALL
    SELECT tenant, arena, voter, split_part(slice, '-', 1), substr(slice, strpos(slice, '-') + 1)
    FROM standing, unnest(slices) AS slice WHERE slice ~ '^(language|category|turn|length)-'
), totals AS (
    SELECT tenant, arena, count(*) AS votes FROM standing GROUP BY tenant, arena
)
SELECT told.tenant, told.arena, told.dimension, told.value, count(*) AS votes, count(DISTINCT told.voter) AS voters,
       count(*)::double precision / totals.votes AS share
FROM told JOIN totals USING (tenant, arena)
GROUP BY told.tenant, told.arena, told.dimension, told.value, totals.votes;
COMMENT ON VIEW analytics.voter_mix IS 'Who votes on what: the standing votes by language, category, turn, length and kind of voter';
COMMENT ON COLUMN analytics.voter_mix.tenant IS 'Who owns the data';
COMMENT ON COLUMN analytics.voter_mix.arena IS 'The arena within its tenant';
COMMENT ON COLUMN analytics.voter_mix.dimension IS 'language, category, turn, length or voter_kind';
COMMENT ON COLUMN analytics.voter_mix.value IS 'Such as en, maths, first, short or anonymous';
COMMENT ON COLUMN analytics.voter_mix.votes IS 'Votes that count';
COMMENT ON COLUMN analytics.voter_mix.voters IS 'Pseudonyms that cast them';
COMMENT ON COLUMN analytics.voter_mix.share IS 'Share of the arena''s votes; categories may overlap, so theirs may sum to more than 1';

CREATE VIEW analytics.votes_daily AS
SELECT tenant, arena, (judged_at AT TIME ZONE 'UTC')::date AS day, verdict, outcome, count(*) AS votes,
       count(DISTINCT voter) AS voters
FROM agon.votes GROUP BY tenant, arena, day, verdict, outcome;
COMMENT ON VIEW analytics.votes_daily IS 'Judged votes per day (UTC), verdict and outcome';
COMMENT ON COLUMN analytics.votes_daily.tenant IS 'Who owns the data';
COMMENT ON COLUMN analytics.votes_daily.arena IS 'The arena within its tenant';
COMMENT ON COLUMN analytics.votes_daily.day IS 'The day on which they were judged, UTC';
COMMENT ON COLUMN analytics.votes_daily.verdict IS 'counted, excluded, or retracted (which takes back an earlier counted vote)';
COMMENT ON COLUMN analytics.votes_daily.outcome IS 'a, b, tie or both_bad';
COMMENT ON COLUMN analytics.votes_daily.votes IS 'How many';
COMMENT ON COLUMN analytics.votes_daily.voters IS 'Pseudonyms that cast them';

CREATE VIEW analytics.model_costs AS
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
SELECT tenant, arena, model, count(*) AS answers, count(*) FILTER (WHERE won) AS wins,
       count(*) FILTER (WHERE failed) AS failures, coalesce(sum(tokens), 0)::bigint AS completion_tokens,
       sum(tokens)::double precision / nullif(count(*) FILTER (WHERE won), 0) AS tokens_per_win,
       sum(finished_s) / nullif(count(*) FILTER (WHERE won), 0) AS seconds_per_win,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY first_token_s) AS first_token_median,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY finished_s) AS finished_median
FROM sides WHERE NOT named GROUP BY tenant, arena, model;
COMMENT ON VIEW analytics.model_costs IS 'What wins cost: tokens and seconds of each model in blind battles whose voter has voted';
COMMENT ON COLUMN analytics.model_costs.tenant IS 'Who owns the data';
COMMENT ON COLUMN analytics.model_costs.arena IS 'The arena within its tenant';
COMMENT ON COLUMN analytics.model_costs.model IS 'The model';
COMMENT ON COLUMN analytics.model_costs.answers IS 'Turns that it answered, or should have';
COMMENT ON COLUMN analytics.model_costs.wins IS 'Votes for it';
COMMENT ON COLUMN analytics.model_costs.failures IS 'Turns in which it failed';
COMMENT ON COLUMN analytics.model_costs.completion_tokens IS 'Tokens that it generated';
COMMENT ON COLUMN analytics.model_costs.tokens_per_win IS 'Tokens generated per vote won, lost battles included; null without a win. Multiply by a price per token for money';
COMMENT ON COLUMN analytics.model_costs.seconds_per_win IS 'Seconds of generation per vote won, lost battles included; null without a win';
COMMENT ON COLUMN analytics.model_costs.first_token_median IS 'Median seconds from the request to the first token';
COMMENT ON COLUMN analytics.model_costs.finished_median IS 'Median seconds from the request to the end of the answer';

CREATE VIEW analytics.neighbours AS
SELECT r.tenant, r.arena, r.slice, r.method, r.rank, r.model, n.model AS next_model, r.rating - n.rating AS gap,
       r.votes_to_next, b.as_of, b.published_at
FROM agon.rating_runs b
JOIN agon.rating_run_rows r USING (tenant, arena, slice, method, as_of)
JOIN LATERAL (
    SELECT model, rating FROM agon.rating_run_rows o
    WHERE o.tenant = r.tenant AND o.arena = r.arena AND o.slice = r.slice AND o.method = r.method AND o.as_of = r.as_of
      AND (o.rating < r.rating OR o.rating = r.rating AND o.model > r.model)
    ORDER BY o.rating DESC, o.model LIMIT 1
) AS n ON true
WHERE NOT EXISTS (
    SELECT FROM agon.rating_runs newer WHERE newer.tenant = b.tenant AND newer.arena = b.arena
        AND newer.slice = b.slice AND newer.method = b.method AND newer.as_of > b.as_of);
COMMENT ON VIEW analytics.neighbours IS 'Each model and the next one below on the newest published board, and what it takes to tell them apart';
COMMENT ON COLUMN analytics.neighbours.tenant IS 'Who owns the data';
COMMENT ON COLUMN analytics.neighbours.arena IS 'The arena within its tenant';
COMMENT ON COLUMN analytics.neighbours.slice IS 'Which votes: overall, or a part such as language-en';
COMMENT ON COLUMN analytics.neighbours.method IS 'How the ratings were computed';
COMMENT ON COLUMN analytics.neighbours.rank IS 'Place by rating, 1 is best';
COMMENT ON COLUMN analytics.neighbours.model IS 'The model';
COMMENT ON COLUMN analytics.neighbours.next_model IS 'The next one below';
COMMENT ON COLUMN analytics.neighbours.gap IS 'Difference of their ratings';
COMMENT ON COLUMN analytics.neighbours.votes_to_next IS 'Further votes between the two until their order is certain (95 %), if the difference stays; 0 if it is, null for more than a billion';
COMMENT ON COLUMN analytics.neighbours.as_of IS 'The seq of the last judged vote that the run knows';
COMMENT ON COLUMN analytics.neighbours.published_at IS 'When the run was published';

CREATE VIEW analytics.voter_concentration AS
WITH per_voter AS (
    SELECT v.tenant, v.arena, v.voter, count(*) AS votes FROM agon.votes v
    WHERE v.verdict = 'counted' AND NOT EXISTS (
        SELECT FROM agon.votes r WHERE r.tenant = v.tenant AND r.vote_id = v.vote_id AND r.verdict = 'retracted')
    GROUP BY v.tenant, v.arena, v.voter
), ordered AS (
    SELECT *, row_number() OVER (PARTITION BY tenant, arena ORDER BY votes, voter) AS place,
           row_number() OVER (PARTITION BY tenant, arena ORDER BY votes DESC, voter) AS from_top,
           count(*) OVER (PARTITION BY tenant, arena) AS voters
    FROM per_voter
)
SELECT tenant, arena, voters, sum(votes)::bigint AS votes, max(votes) AS most_votes,
       (sum(votes) FILTER (WHERE from_top <= 10) / sum(votes))::double precision AS top_10_share,
       (sum(votes) FILTER (WHERE from_top <= ceil(voters / 100.0)) / sum(votes))::double precision AS top_percent_share,
       ((2 * sum(place * votes) / sum(votes) - voters - 1) / voters)::double precision AS gini
FROM ordered GROUP BY tenant, arena, voters;
COMMENT ON VIEW analytics.voter_concentration IS 'How much of an arena''s votes comes from how few voters';
COMMENT ON COLUMN analytics.voter_concentration.tenant IS 'Who owns the data';
COMMENT ON COLUMN analytics.voter_concentration.arena IS 'The arena within its tenant';
COMMENT ON COLUMN analytics.voter_concentration.voters IS 'Pseudonyms with votes that count';
COMMENT ON COLUMN analytics.voter_concentration.votes IS 'Votes that count';
COMMENT ON COLUMN analytics.voter_concentration.most_votes IS 'Votes of the most active one';
COMMENT ON COLUMN analytics.voter_concentration.top_10_share IS 'Share of the ten most active ones';
COMMENT ON COLUMN analytics.voter_concentration.top_percent_share IS 'Share of the most active percent of them';
COMMENT ON COLUMN analytics.voter_concentration.gini IS 'Gini coefficient of votes per voter: 0 if all cast the same number, near 1 if one casts nearly all';
