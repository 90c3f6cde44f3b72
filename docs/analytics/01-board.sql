-- The live board of an arena.
SELECT rank, rank_best, rank_worst, model, round(rating) AS rating, round(lower) AS lower, round(upper) AS upper, votes
FROM analytics.leaderboard_current
WHERE arena = 'main' AND slice = 'overall'
ORDER BY rank, model;
