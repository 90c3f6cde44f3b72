-- What a key uses: reserved before the work, settled after it, given back where nobody settles. On Redis' own time.
--
-- KEYS: minute (hash: `r` requests and `t` tokens of the last minute, `r1700000000` and `t1700000000` those of a second,
-- and `at`, the second until which what is too old was taken off), held (hash: tokens that each running request may need, and
-- their sum), leases (sorted set: running requests by the ms at which they are given up), spent (string: tokens in all).
-- ARGV[1] is the command:
--   'reserve', id, tokens, lease ms, known to be spent, requests per minute, tokens per minute, concurrency, budget,
--       1 where what is known is all (a limit of -1 is none), the names of what is asked, told where it gets lost
--       -> { refused by '' | 'unknown' | 'concurrency' | 'budget' | 'requests' | 'tokens', ms to wait,
--        requests left, ms until all are, tokens left, ms until all are, spent, tokens that others hold,
--        names of what was given up just now: to be counted by who gets this }
--       'unknown': there is a budget, and nobody has said yet how much of it is spent
--   'renew', lease ms, id, tokens, id, tokens, ... -> 0
--   'settle', id, tokens -> spent
-- Each may be repeated: what was done already is not done again.

local minute, held, leases, spent = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local SECONDS = 60 -- of a minute
local SUM = 'sum' -- the field of `held` that is no request's
local LOST = 'lost' -- in `held`, in place of what a request held whose cost somebody else counts
local DAY = 86400

local time = redis.call('TIME')
local second = tonumber(time[1])
local ms = second * 1000 + math.floor(tonumber(time[2]) / 1000)

-- Both end together, so that the sum never outlives what it sums.
local function keep()
    redis.call('EXPIRE', held, DAY)
    redis.call('EXPIRE', leases, DAY)
end

-- Take a request off, and return what it held; nil where it is not there, or somebody else counts it.
local function let_go(id)
    local entry = redis.call('HGET', held, id)
    if not entry then
        return nil
    end
    redis.call('HDEL', held, id)
    if entry == LOST then
        return nil
    end
    local at, tokens, names = string.match(entry, '^(%d+) (%d+) (.*)$')
    redis.call('HINCRBY', held, SUM, -tonumber(tokens))
    redis.call('ZREM', leases, id)
    return tonumber(at), tonumber(tokens), names
end

local function hold(id, at, tokens, lease, names)
    redis.call('HSET', held, id, at .. ' ' .. tokens .. ' ' .. names)
    redis.call('HINCRBY', held, SUM, tokens)
    redis.call('ZADD', leases, ms + lease, id)
    keep()
end

-- Requests whose process died, or lost sight of them: what they held is free again. The names of those that have some.
local function heal()
    local lost = {}
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', ms)) do
        local at, _, names = let_go(id)
        if not at then
            redis.call('ZREM', leases, id)
        elseif names ~= '' then
            lost[#lost + 1] = names
            redis.call('HSET', held, id, LOST)
        end
    end
    return lost
end

-- The last minute: its requests, its tokens, and the second in which something was used last. What has become too old
-- since the last look is taken off: where there is much to do, that is a second now and then.
local function used()
    local found = redis.call('HMGET', minute, 'at', 'r', 't', 'newest')
    local at, r, t = tonumber(found[1] or 0), tonumber(found[2] or 0), tonumber(found[3] or 0)
    if second > at then
        local old = {}
        for s = at - SECONDS + 1, math.min(second - SECONDS, at) do
            old[#old + 1], old[#old + 2] = 'r' .. s, 't' .. s
        end
        if found[1] and #old > 0 then
            local amounts = redis.call('HMGET', minute, unpack(old))
            for i = 1, #old, 2 do
                r, t = r - tonumber(amounts[i] or 0), t - tonumber(amounts[i + 1] or 0)
            end
            redis.call('HDEL', minute, unpack(old))
        end
        redis.call('HSET', minute, 'at', second, 'r', r, 't', t)
        redis.call('EXPIRE', minute, SECONDS)
    end
    return r, t, tonumber(found[4] or 0)
end

-- The ms until what was used in this second is a minute old.
local function until_old(at)
    return math.max((at + SECONDS) * 1000 - ms, 0)
end

-- The ms until so much of the minute is old.
local function until_past(kind, amount)
    local names = {}
    for at = second - SECONDS + 1, second do
        names[#names + 1] = kind .. at
    end
    for i, used in ipairs(redis.call('HMGET', minute, unpack(names))) do
        amount = amount - tonumber(used or 0)
        if amount <= 0 then
            return until_old(second - SECONDS + i)
        end
    end
    return SECONDS * 1000
end

-- What is left of a limit, and the ms until all of it is; `newest` is the second in which something was used last.
local function left(limit, used, newest)
    return math.max(limit - used, 0), used > 0 and until_old(newest) or 0
end

local function reserve(id, tokens, lease, known, requests, per_minute, concurrency, budget, sure, names)
    local noted = tonumber(redis.call('GET', spent) or -1)
    if noted < 0 and budget >= 0 and sure == 0 then
        return { 'unknown', 0, 0, 0, 0, 0, 0, 0, {} }
    end
    local lost = heal()
    if noted < known then
        redis.call('SET', spent, known, 'EX', DAY)
    end
    local total = math.max(noted, known)
    local used_r, used_t, newest = 0, 0, 0
    local rated = requests >= 0 or per_minute >= 0
    if rated then
        used_r, used_t, newest = used()
    end
    local mine = redis.call('HMGET', held, id, SUM)
    local again = mine[1] -- this very call, sent again because its reply was lost
    local others = tonumber(mine[2] or 0)
    local refused, wait = '', 0
    if not again then
        if concurrency >= 0 and redis.call('ZCARD', leases) >= concurrency then
            refused, wait = 'concurrency', 1000
        elseif budget >= 0 and total + others + tokens > budget then
            refused = 'budget'
        elseif requests >= 0 and used_r + 1 > requests then
            refused, wait = 'requests', until_past('r', used_r + 1 - requests)
        elseif per_minute >= 0 and used_t + tokens > per_minute then
            refused, wait = 'tokens', until_past('t', used_t + tokens - per_minute)
        else
            if rated then
                used_r, used_t, newest = used_r + 1, used_t + tokens, second
                redis.call('HINCRBY', minute, 'r' .. second, 1)
                redis.call('HINCRBY', minute, 't' .. second, tokens)
                redis.call('HSET', minute, 'r', used_r, 't', used_t, 'newest', newest)
            end
            hold(id, second, tokens, lease, names)
        end
    end
    local requests_left, requests_reset = left(requests, used_r, newest)
    local tokens_left, tokens_reset = left(per_minute, used_t, newest)
    return { refused, wait, requests_left, requests_reset, tokens_left, tokens_reset, total, others, lost }
end

local function renew(lease)
    for i = 3, #ARGV, 2 do
        local id, tokens = ARGV[i], tonumber(ARGV[i + 1])
        if redis.call('ZADD', leases, 'XX', 'CH', ms + lease, id) == 0 and redis.call('HEXISTS', held, id) == 0 then
            hold(id, second, tokens, lease, '') -- given up although it still runs: its process had slept
        end
    end
    keep()
    redis.call('EXPIRE', spent, DAY)
    return 0
end

local function settle(id, tokens)
    local at, reserved = let_go(id)
    if at then
        if at > second - SECONDS and redis.call('HEXISTS', minute, 't' .. at) == 1 then
            redis.call('HINCRBY', minute, 't' .. at, tokens - reserved)
            redis.call('HINCRBY', minute, 't', tokens - reserved)
        end
        redis.call('INCRBY', spent, tokens)
        redis.call('EXPIRE', spent, DAY)
    end
    return tonumber(redis.call('GET', spent) or 0)
end

if ARGV[1] == 'reserve' then
    local n = {}
    for i = 3, 10 do
        n[i] = tonumber(ARGV[i])
    end
    return reserve(ARGV[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10], ARGV[11])
elseif ARGV[1] == 'renew' then
    return renew(tonumber(ARGV[2]))
end
return settle(ARGV[2], tonumber(ARGV[3]))
