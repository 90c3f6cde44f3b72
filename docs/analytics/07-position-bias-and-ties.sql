-- Does the left side win more often than it should, and where do voters tie?
SELECT slice, votes, round(tie_rate::numeric, 3) AS tie_rate, round(both_bad_rate::numeric, 3) AS both_bad_rate,
       round(left_rate::numeric, 3) AS left_rate, abs(left_rate - 0.5) > 2 * left_rate_error AS biased
FROM analytics.vote_rates
WHERE arena = 'main'
ORDER BY votes DESC, slice;
