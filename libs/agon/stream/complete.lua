-- The completion of a request is on Kafka: remember that, and let go of all else soon.
--
-- ARGV: done key, what it says ("source\ndigest"), seconds that it lives, seconds that the others live, their keys ...

redis.call('SET', ARGV[1], ARGV[2], 'EX', ARGV[3])
for i = 5, #ARGV do
    redis.call('EXPIRE', ARGV[i], ARGV[4])
end
