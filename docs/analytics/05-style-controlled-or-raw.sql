-- Ranks with and without style control, of the newest published runs.
WITH newest AS (
    SELECT DISTINCT ON (model, method) model, method, rank, rating FROM analytics.leaderboard_history
    WHERE arena = 'main' AND slice = 'overall' ORDER BY model, method, as_of DESC
)
SELECT raw.model, raw.rank AS raw_rank, style.rank AS style_rank, round(style.rating - raw.rating) AS difference
FROM newest raw LEFT JOIN newest style ON style.model = raw.model AND style.method = 'style_controlled'
WHERE raw.method = 'bradley_terry'
ORDER BY raw.rank, raw.model;
