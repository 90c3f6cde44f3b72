-- How much of the board hangs on how few voters.
SELECT arena, voters, votes, most_votes, round(top_10_share::numeric, 3) AS top_10_share, round(gini::numeric, 3) AS gini
FROM analytics.voter_concentration
ORDER BY arena;
