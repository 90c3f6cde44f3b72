-- How long voters take, and whether those who are quick vote differently.
SELECT width_bucket(seconds_to_vote, ARRAY[0, 5, 15, 60]) AS bucket, count(*) AS votes,
       round(avg((outcome = 'a')::int), 3) AS left, round(avg((outcome = 'tie')::int), 3) AS ties
FROM analytics.votes
WHERE arena = 'main' AND verdict = 'counted' AND seconds_to_vote IS NOT NULL
GROUP BY bucket ORDER BY bucket;
