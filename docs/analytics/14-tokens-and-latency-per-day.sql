-- Tokens and latency per model and day, of all requests.
SELECT model, date(finished_at) AS day, count(*) AS requests, sum(total_tokens) AS tokens,
       round((percentile_cont(0.5) WITHIN GROUP (ORDER BY first_token_seconds))::numeric, 3) AS first_token_median
FROM analytics.requests
GROUP BY model, day ORDER BY day, model;
