-- Where a model ranks in each slice: languages, categories, turns, lengths, and those that the arena declares.
SELECT model, slice, rank, round(rating) AS rating, votes
FROM analytics.leaderboard_current
WHERE arena = 'main'
ORDER BY model, slice;
