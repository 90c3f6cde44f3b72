-- Who beats whom, and where the ratings expect something else.
SELECT model, opponent, votes, round(win_rate::numeric, 3) AS win_rate, round(fitted::numeric, 3) AS fitted,
       round(((win_rate - fitted) * sqrt(votes) * 2)::numeric, 1) AS surprise
FROM analytics.win_matrix
WHERE arena = 'main' AND slice = 'overall' AND votes > 0 AND fitted IS NOT NULL
ORDER BY abs((win_rate - fitted) * sqrt(votes)) DESC, model, opponent;
