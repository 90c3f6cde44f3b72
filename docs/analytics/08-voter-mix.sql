-- Who votes on what.
SELECT dimension, value, votes, voters, round(share::numeric, 3) AS share
FROM analytics.voter_mix
WHERE arena = 'main'
ORDER BY dimension, votes DESC, value;
