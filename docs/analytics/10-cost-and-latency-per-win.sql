-- What a win costs in tokens, money and seconds, beside the rating.
SELECT c.model, round(l.rating) AS rating, c.answers, c.wins, round(c.tokens_per_win::numeric, 1) AS tokens_per_win,
       round(c.cost_per_win::numeric, 6) AS cost_per_win,
       round(c.seconds_per_win::numeric, 2) AS seconds_per_win,
       round(c.first_token_median::numeric, 3) AS first_token_median
FROM analytics.model_costs c
LEFT JOIN analytics.leaderboard_current l
    ON l.tenant = c.tenant AND l.arena = c.arena AND l.model = c.model AND l.slice = 'overall'
WHERE c.arena = 'main'
ORDER BY rating DESC NULLS LAST, c.model;
