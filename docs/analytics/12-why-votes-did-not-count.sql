-- Why votes did not count, or no longer do.
SELECT verdict, reason, count(*) AS votes
FROM analytics.votes
WHERE arena = 'main' AND verdict <> 'counted'
GROUP BY verdict, reason ORDER BY votes DESC, reason;
