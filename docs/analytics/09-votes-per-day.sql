-- Votes per day, and how many of them count.
SELECT day, sum(votes) FILTER (WHERE verdict = 'counted') AS counted,
       sum(votes) FILTER (WHERE verdict = 'excluded') AS excluded,
       sum(votes) FILTER (WHERE verdict = 'retracted') AS retracted
FROM analytics.votes_daily
WHERE arena = 'main'
GROUP BY day ORDER BY day;
