-- How each model's rank and rating have moved from run to run.
SELECT model, published_at, rank, round(rating) AS rating,
       round(rating - lag(rating) OVER (PARTITION BY model ORDER BY as_of)) AS change
FROM analytics.leaderboard_history
WHERE arena = 'main' AND slice = 'overall' AND method = 'bradley_terry'
ORDER BY model, published_at;
