-- How many votes it takes to tell neighbours apart.
SELECT rank, model, next_model, round(gap) AS gap, votes_to_next
FROM analytics.neighbours
WHERE arena = 'main' AND slice = 'overall' AND method = 'bradley_terry'
ORDER BY rank, model;
