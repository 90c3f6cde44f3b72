-- What people read. Every column says what it means; `analytics.data_dictionary` lists them all.

CREATE VIEW analytics.leaderboard_current AS
SELECT b.tenant, b.arena, b.slice, b.method, r.rank, r.rank_best, r.rank_worst, r.model, r.rating, r.lower, r.upper,
       r.votes, b.votes AS board_votes, b.as_of, b.published_at
FROM agon.leaderboards b JOIN agon.leaderboard_live r USING (tenant, arena, slice, method);
COMMENT ON VIEW analytics.leaderboard_current IS 'The live board: overwritten in place, each board in one transaction';
COMMENT ON COLUMN analytics.leaderboard_current.tenant IS 'Who owns the data';
COMMENT ON COLUMN analytics.leaderboard_current.arena IS 'The arena within its tenant';
COMMENT ON COLUMN analytics.leaderboard_current.slice IS 'Which votes: overall, or a part such as language-en';
COMMENT ON COLUMN analytics.leaderboard_current.method IS 'How the ratings were computed';
COMMENT ON COLUMN analytics.leaderboard_current.rank IS 'Place by rating, 1 is best';
COMMENT ON COLUMN analytics.leaderboard_current.rank_best IS 'The best place that the 95 % intervals leave open';
COMMENT ON COLUMN analytics.leaderboard_current.rank_worst IS 'The worst place that the 95 % intervals leave open';
COMMENT ON COLUMN analytics.leaderboard_current.model IS 'The model';
COMMENT ON COLUMN analytics.leaderboard_current.rating IS 'Rating on Elo''s scale: 400 points are odds of 10 to 1; the mean of a board is 1000';
COMMENT ON COLUMN analytics.leaderboard_current.lower IS 'Lower end of the rating''s 95 % interval';
COMMENT ON COLUMN analytics.leaderboard_current.upper IS 'Upper end of the rating''s 95 % interval';
COMMENT ON COLUMN analytics.leaderboard_current.votes IS 'Counted votes of this slice in which the model took part';
COMMENT ON COLUMN analytics.leaderboard_current.board_votes IS 'All counted votes of this slice';
COMMENT ON COLUMN analytics.leaderboard_current.as_of IS 'The seq of the last judged vote that the board knows';
COMMENT ON COLUMN analytics.leaderboard_current.published_at IS 'When the board was written';

CREATE VIEW analytics.leaderboard_history AS
SELECT b.tenant, b.arena, b.slice, b.method, r.rank, r.rank_best, r.rank_worst, r.model, r.rating, r.lower, r.upper,
       r.votes, b.votes AS board_votes, b.as_of, b.published_at, b.code_version, b.gradient, b.leaf
FROM agon.rating_runs b JOIN agon.rating_run_rows r USING (tenant, arena, slice, method, as_of);
COMMENT ON VIEW analytics.leaderboard_history IS 'Published runs: fitted from scratch hourly or on demand, kept for ever';
COMMENT ON COLUMN analytics.leaderboard_history.tenant IS 'Who owns the data';
COMMENT ON COLUMN analytics.leaderboard_history.arena IS 'The arena within its tenant';
COMMENT ON COLUMN analytics.leaderboard_history.slice IS 'Which votes: overall, or a part such as language-en';
COMMENT ON COLUMN analytics.leaderboard_history.method IS 'How the ratings were computed';
COMMENT ON COLUMN analytics.leaderboard_history.rank IS 'Place by rating, 1 is best';
COMMENT ON COLUMN analytics.leaderboard_history.rank_best IS 'The best place that the 95 % intervals leave open';
COMMENT ON COLUMN analytics.leaderboard_history.rank_worst IS 'The worst place that the 95 % intervals leave open';
COMMENT ON COLUMN analytics.leaderboard_history.model IS 'The model';
COMMENT ON COLUMN analytics.leaderboard_history.rating IS 'Rating on Elo''s scale: 400 points are odds of 10 to 1; the mean of a board is 1000';
COMMENT ON COLUMN analytics.leaderboard_history.lower IS 'Lower end of the rating''s 95 % interval';
COMMENT ON COLUMN analytics.leaderboard_history.upper IS 'Upper end of the rating''s 95 % interval';
COMMENT ON COLUMN analytics.leaderboard_history.votes IS 'Counted votes of this slice in which the model took part';
COMMENT ON COLUMN analytics.leaderboard_history.board_votes IS 'All counted votes of this slice';
COMMENT ON COLUMN analytics.leaderboard_history.as_of IS 'The seq of the last judged vote that the run knows';
COMMENT ON COLUMN analytics.leaderboard_history.published_at IS 'When the run was published';
COMMENT ON COLUMN analytics.leaderboard_history.code_version IS 'The version of agon that computed it';
COMMENT ON COLUMN analytics.leaderboard_history.gradient IS 'Largest difference between won and expected votes of a model at the end of the fit, in votes';
COMMENT ON COLUMN analytics.leaderboard_history.leaf IS 'Where the arena''s ledger records the run';

CREATE VIEW analytics.win_matrix AS
SELECT tenant, arena, slice, model, opponent,
       sum(wins + losses + ties + both_bad)::bigint AS votes, sum(wins)::bigint AS wins, sum(losses)::bigint AS losses,
       sum(ties)::bigint AS ties, sum(both_bad)::bigint AS both_bad,
       (sum(wins + (ties + both_bad) / 2.0) / nullif(sum(wins + losses + ties + both_bad), 0))::double precision AS win_rate
FROM (
    SELECT tenant, arena, slice, model_a AS model, model_b AS opponent, left_wins AS wins, right_wins AS losses, ties,
           both_bad FROM agon.pair_cells
    UNION ALL
    SELECT tenant, arena, slice, model_b, model_a, right_wins, left_wins, ties, both_bad FROM agon.pair_cells
) AS cells
GROUP BY tenant, arena, slice, model, opponent;
COMMENT ON VIEW analytics.win_matrix IS 'Who beats whom: one row for each model and each opponent it has met';
COMMENT ON COLUMN analytics.win_matrix.tenant IS 'Who owns the data';
COMMENT ON COLUMN analytics.win_matrix.arena IS 'The arena within its tenant';
COMMENT ON COLUMN analytics.win_matrix.slice IS 'Which votes: overall, or a part such as language-en';
COMMENT ON COLUMN analytics.win_matrix.model IS 'The model';
COMMENT ON COLUMN analytics.win_matrix.opponent IS 'Whom it met';
COMMENT ON COLUMN analytics.win_matrix.votes IS 'Counted votes between the two';
COMMENT ON COLUMN analytics.win_matrix.wins IS 'Votes for the model';
COMMENT ON COLUMN analytics.win_matrix.losses IS 'Votes for the opponent';
COMMENT ON COLUMN analytics.win_matrix.ties IS 'Votes for neither, both good';
COMMENT ON COLUMN analytics.win_matrix.both_bad IS 'Votes for neither, both bad';
COMMENT ON COLUMN analytics.win_matrix.win_rate IS 'Share of wins, ties and both bad as half a win; null where all votes were retracted';

CREATE VIEW analytics.votes AS
SELECT v.tenant, v.arena, v.seq, v.verdict, v.reason, v.vote_id, v.battle_id, v.turn, v.voter, b.voter_kind, v.outcome,
       v.model_a, v.model_b,
       CASE v.outcome WHEN 'a' THEN v.model_a WHEN 'b' THEN v.model_b END AS winner,
       v.slices, b.language, v.voted_at, v.judged_at,
       extract(epoch FROM v.voted_at - t.done_at)::double precision AS seconds_to_vote,
       v.leaf
FROM agon.votes v
LEFT JOIN agon.battles b ON b.tenant = v.tenant AND b.battle_id = v.battle_id
LEFT JOIN agon.battle_turns t ON t.tenant = v.tenant AND t.battle_id = v.battle_id AND t.turn = v.turn;
COMMENT ON VIEW analytics.votes IS 'Every judged vote, those that do not count with the reason';
COMMENT ON COLUMN analytics.votes.tenant IS 'Who owns the data';
COMMENT ON COLUMN analytics.votes.arena IS 'The arena within its tenant';
COMMENT ON COLUMN analytics.votes.seq IS 'Counts the arena''s judged votes from 1 without gaps';
COMMENT ON COLUMN analytics.votes.verdict IS 'counted, excluded, or retracted (which takes back an earlier counted vote)';
COMMENT ON COLUMN analytics.votes.reason IS 'Why it does not count; null for a counted vote';
COMMENT ON COLUMN analytics.votes.vote_id IS 'Follows from battle, turn and voter';
COMMENT ON COLUMN analytics.votes.battle_id IS 'The battle that it is about; null for an import';
COMMENT ON COLUMN analytics.votes.turn IS 'The turn of the battle';
COMMENT ON COLUMN analytics.votes.voter IS 'A pseudonym: the same for all votes of one session';
COMMENT ON COLUMN analytics.votes.voter_kind IS 'anonymous, or simulated for rule-based voters; null for an import';
COMMENT ON COLUMN analytics.votes.outcome IS 'a, b, tie or both_bad';
COMMENT ON COLUMN analytics.votes.model_a IS 'Who answered on the left; null where the battle is unknown';
COMMENT ON COLUMN analytics.votes.model_b IS 'Who answered on the right; null where the battle is unknown';
COMMENT ON COLUMN analytics.votes.winner IS 'The model that was preferred; null for tie and both_bad';
COMMENT ON COLUMN analytics.votes.slices IS 'The slices that it was counted in';
COMMENT ON COLUMN analytics.votes.language IS 'The prompt''s language as the client declared it; null if it did not';
COMMENT ON COLUMN analytics.votes.voted_at IS 'When the voter voted';
COMMENT ON COLUMN analytics.votes.judged_at IS 'When it was judged and stored';
COMMENT ON COLUMN analytics.votes.seconds_to_vote IS 'From the end of both answers to the vote, seconds; negative for a vote before the end';
COMMENT ON COLUMN analytics.votes.leaf IS 'Where the arena''s ledger records it';

CREATE VIEW analytics.battles AS
SELECT b.tenant, b.arena, b.battle_id, b.named, b.voter_kind,
       CASE WHEN b.revealed_at IS NOT NULL OR b.created_at < now() - interval '24 hours' THEN b.model_a END AS model_a,
       CASE WHEN b.revealed_at IS NOT NULL OR b.created_at < now() - interval '24 hours' THEN b.model_b END AS model_b,
       b.draw_probability, b.policy_hash, b.commitment, b.language, count(t.turn)::integer AS turns,
       coalesce(bool_or(t.status = 'failed'), false) AS failed, b.voted_turn, b.voted_outcome, b.created_at, b.revealed_at
FROM agon.battles b LEFT JOIN agon.battle_turns t USING (tenant, battle_id)
GROUP BY b.tenant, b.battle_id;
COMMENT ON VIEW analytics.battles IS 'Blind and named battles, one row per battle; the pair is shown once the voter knows it or can no longer vote';
COMMENT ON COLUMN analytics.battles.tenant IS 'Who owns the data';
COMMENT ON COLUMN analytics.battles.arena IS 'The arena within its tenant';
COMMENT ON COLUMN analytics.battles.battle_id IS 'The battle';
COMMENT ON COLUMN analytics.battles.named IS 'The voter chose the models by name, so its votes never count';
COMMENT ON COLUMN analytics.battles.voter_kind IS 'anonymous, or simulated for rule-based voters';
COMMENT ON COLUMN analytics.battles.model_a IS 'Who answered on the left; null while it is secret';
COMMENT ON COLUMN analytics.battles.model_b IS 'Who answered on the right; null while it is secret';
COMMENT ON COLUMN analytics.battles.draw_probability IS 'The probability of this pair under the policy';
COMMENT ON COLUMN analytics.battles.policy_hash IS 'SHA-256 of the pairing policy';
COMMENT ON COLUMN analytics.battles.commitment IS 'SHA-256 over the pair and a nonce, published before any answer';
COMMENT ON COLUMN analytics.battles.language IS 'The prompt''s language as the client declared it; null if it did not';
COMMENT ON COLUMN analytics.battles.turns IS 'Turns so far';
COMMENT ON COLUMN analytics.battles.failed IS 'Whether a side failed in any turn';
COMMENT ON COLUMN analytics.battles.voted_turn IS 'The turn that was voted on; null before a vote';
COMMENT ON COLUMN analytics.battles.voted_outcome IS 'What the voter chose; null before a vote';
COMMENT ON COLUMN analytics.battles.created_at IS 'When the pair was drawn';
COMMENT ON COLUMN analytics.battles.revealed_at IS 'When the voter learned the names; null before';

CREATE VIEW analytics.models AS
SELECT tenant, model, state, backend, owned_by, description, context_length, parameters, dtype, digest, arena, created_at
FROM agon.models;
COMMENT ON VIEW analytics.models IS 'Every model that was ever registered, as its newest card says';
COMMENT ON COLUMN analytics.models.tenant IS 'Who owns the data';
COMMENT ON COLUMN analytics.models.model IS 'The model''s true name';
COMMENT ON COLUMN analytics.models.state IS 'active, or withdrawn';
COMMENT ON COLUMN analytics.models.backend IS 'What runs it: engine, upstream or scripted';
COMMENT ON COLUMN analytics.models.owned_by IS 'Who made it';
COMMENT ON COLUMN analytics.models.description IS 'What its card says about it';
COMMENT ON COLUMN analytics.models.context_length IS 'Tokens that prompt and answer may have together';
COMMENT ON COLUMN analytics.models.parameters IS 'Number of weights; null if unknown';
COMMENT ON COLUMN analytics.models.dtype IS 'Number format it runs in; null if unknown';
COMMENT ON COLUMN analytics.models.digest IS 'Over all that decides what it answers: weights, tokenizer, template, dtype';
COMMENT ON COLUMN analytics.models.arena IS 'Whether blind battles may draw it';
COMMENT ON COLUMN analytics.models.created_at IS 'When it was first registered';

CREATE VIEW analytics.requests AS
SELECT tenant, request_id, model, kind, status, error_code, finish_reasons, prompt_tokens, completion_tokens,
       cached_tokens, prompt_tokens + completion_tokens AS total_tokens, accepted_at, finished_at,
       extract(epoch FROM admitted_at - accepted_at)::double precision AS queue_seconds,
       extract(epoch FROM first_token_at - accepted_at)::double precision AS first_token_seconds,
       extract(epoch FROM finished_at - accepted_at)::double precision AS total_seconds,
       worker, attempt
FROM agon.requests;
COMMENT ON VIEW analytics.requests IS 'Every ended request: usage and latencies, never text';
COMMENT ON COLUMN analytics.requests.tenant IS 'Who owns the data';
COMMENT ON COLUMN analytics.requests.request_id IS 'The request';
COMMENT ON COLUMN analytics.requests.model IS 'Who answered';
COMMENT ON COLUMN analytics.requests.kind IS 'chat, completion or embedding';
COMMENT ON COLUMN analytics.requests.status IS 'finished, failed, cancelled or expired';
COMMENT ON COLUMN analytics.requests.error_code IS 'Why it did not finish; null if it did';
COMMENT ON COLUMN analytics.requests.finish_reasons IS 'stop or length, one for each choice that ended';
COMMENT ON COLUMN analytics.requests.prompt_tokens IS 'Tokens of the prompt';
COMMENT ON COLUMN analytics.requests.completion_tokens IS 'Tokens generated, all choices together';
COMMENT ON COLUMN analytics.requests.cached_tokens IS 'Prompt tokens that were not computed again';
COMMENT ON COLUMN analytics.requests.total_tokens IS 'Prompt and completion tokens together';
COMMENT ON COLUMN analytics.requests.accepted_at IS 'When the request was accepted';
COMMENT ON COLUMN analytics.requests.finished_at IS 'When it ended';
COMMENT ON COLUMN analytics.requests.queue_seconds IS 'From acceptance to admission, seconds; null if it was never admitted';
COMMENT ON COLUMN analytics.requests.first_token_seconds IS 'From acceptance to the first token, seconds; null without a token';
COMMENT ON COLUMN analytics.requests.total_seconds IS 'From acceptance to the end, seconds';
COMMENT ON COLUMN analytics.requests.worker IS 'The worker that ended it';
COMMENT ON COLUMN analytics.requests.attempt IS 'How often it was taken over from a dead worker';

CREATE VIEW analytics.data_dictionary AS
SELECT c.relname::text AS relation, a.attname::text AS column_name, format_type(a.atttypid, a.atttypmod) AS type,
       col_description(c.oid, a.attnum) AS meaning, obj_description(c.oid, 'pg_class') AS relation_meaning
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname = 'analytics' AND c.relkind IN ('r', 'v', 'm');
COMMENT ON VIEW analytics.data_dictionary IS 'Every column of this schema: its type and meaning';
COMMENT ON COLUMN analytics.data_dictionary.relation IS 'A view of this schema';
COMMENT ON COLUMN analytics.data_dictionary.column_name IS 'One of its columns';
COMMENT ON COLUMN analytics.data_dictionary.type IS 'The column''s type';
COMMENT ON COLUMN analytics.data_dictionary.meaning IS 'What the column holds';
COMMENT ON COLUMN analytics.data_dictionary.relation_meaning IS 'What the view holds';
