-- What changed between the last two published runs.
WITH numbered AS (
    SELECT model, rank, rating, board_votes, dense_rank() OVER (ORDER BY as_of DESC) AS run
    FROM analytics.leaderboard_history WHERE arena = 'main' AND slice = 'overall' AND method = 'bradley_terry'
)
SELECT coalesce(now.model, before.model) AS model, before.rank AS rank_before, now.rank AS rank_now,
       round(now.rating - before.rating) AS change, now.board_votes - before.board_votes AS more_votes
FROM (SELECT * FROM numbered WHERE run = 1) now FULL JOIN (SELECT * FROM numbered WHERE run = 2) before USING (model)
ORDER BY rank_now, model;
