-- What a key uses: reserved before the work, settled after it, given back where nobody settles. On Redis' own time.
--
-- KEYS: window (hash: requests and tokens of each second), held (hash: tokens that each running request may need, and
-- their sum), leases (sorted set: running requests by the ms at which they are given up), spent (string: tokens in all).
-- ARGV[1] is the command:
--   'reserve', id, tokens, lease ms, known to be spent, requests per minute, tokens per minute, concurrency, budget
--       (a limit of -1 is none) -> { refused by '' | 'concurrency' | 'budget' | 'requests' | 'tokens', ms to wait,
--        requests left, ms until all are, tokens left, ms until all are, spent, tokens that others hold }
--   'renew', lease ms, id, tokens, id, tokens, ... -> 0
--   'settle', id, tokens -> spent
-- Each may be repeated: what was done already is not done again.

local window, held, leases, spent = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local SECONDS = 60 -- of the window
local SUM = 'sum' -- the field of `held` that is no request's
local DAY = 86400

local time = redis.call('TIME')
local second = tonumber(time[1])
local ms = second * 1000 + math.floor(tonumber(time[2]) / 1000)

-- Take a request off, and return what it held; nil where it is not there.
local function let_go(id)
    local entry = redis.call('HGET', held, id)
    if not entry then
        return nil
    end
    local at, tokens = string.match(entry, '^(%d+) (%d+)$')
    redis.call('HDEL', held, id)
    redis.call('HINCRBY', held, SUM, -tonumber(tokens))
    redis.call('ZREM', leases, id)
    return tonumber(at), tonumber(tokens)
end

local function hold(id, at, tokens, lease)
    redis.call('HSET', held, id, at .. ' ' .. tokens)
    redis.call('HINCRBY', held, SUM, tokens)
    redis.call('ZADD', leases, ms + lease, id)
    -- Both end together, so that the sum never outlives what it sums.
    redis.call('PEXPIRE', held, 2 * lease)
    redis.call('PEXPIRE', leases, 2 * lease)
end

-- Requests whose process died, or lost sight of them: what they held is free again.
local function heal()
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', ms)) do
        if not let_go(id) then
            redis.call('ZREM', leases, id)
        end
    end
end

-- The last minute: by kind ('r', 't') the sum of its amounts, the newest second that has any, and all of them by second.
-- What is older goes.
local function used()
    local sums, newest, amounts = { r = 0, t = 0 }, { r = 0, t = 0 }, { r = {}, t = {} }
    local all = redis.call('HGETALL', window)
    for i = 1, #all, 2 do
        local name, amount = all[i], tonumber(all[i + 1])
        local kind, at = string.sub(name, 1, 1), tonumber(string.sub(name, 2))
        if at <= second - SECONDS then
            redis.call('HDEL', window, name)
        elseif amount > 0 then
            sums[kind] = sums[kind] + amount
            amounts[kind][at] = amount
            if at > newest[kind] then
                newest[kind] = at
            end
        end
    end
    return sums, newest, amounts
end

-- The ms until what was used in this second is a minute old; 0 where nothing was.
local function until_old(at)
    return at == 0 and 0 or math.max((at + SECONDS) * 1000 - ms, 0)
end

-- The ms until so much of a minute's amounts is old.
local function until_past(amounts, amount)
    for at = second - SECONDS + 1, second do
        amount = amount - (amounts[at] or 0)
        if amount <= 0 then
            return until_old(at)
        end
    end
    return SECONDS * 1000
end

local function reserve(id, tokens, lease, known, requests, per_minute, concurrency, budget)
    heal()
    if tonumber(redis.call('GET', spent) or -1) < known then
        redis.call('SET', spent, known, 'EX', DAY)
    end
    local total = tonumber(redis.call('GET', spent))
    local sums, newest, amounts = used()
    local again = redis.call('HEXISTS', held, id) == 1 -- this very call, sent again because its reply was lost
    local others = tonumber(redis.call('HGET', held, SUM) or 0)
    local refused, wait = '', 0
    if not again then
        if concurrency >= 0 and redis.call('ZCARD', leases) >= concurrency then
            refused, wait = 'concurrency', 1000
        elseif budget >= 0 and total + others + tokens > budget then
            refused = 'budget'
        elseif requests >= 0 and sums.r + 1 > requests then
            refused, wait = 'requests', until_past(amounts.r, sums.r + 1 - requests)
        elseif per_minute >= 0 and sums.t + tokens > per_minute then
            refused, wait = 'tokens', until_past(amounts.t, sums.t + tokens - per_minute)
        else
            redis.call('HINCRBY', window, 'r' .. second, 1)
            redis.call('HINCRBY', window, 't' .. second, tokens)
            redis.call('EXPIRE', window, SECONDS)
            hold(id, second, tokens, lease)
            sums.r, sums.t = sums.r + 1, sums.t + tokens
            newest.r, newest.t = second, second
        end
    end
    return {
        refused, wait,
        math.max(requests - sums.r, 0), until_old(newest.r),
        math.max(per_minute - sums.t, 0), until_old(newest.t),
        total, others,
    }
end

local function renew(lease)
    for i = 3, #ARGV, 2 do
        local id, tokens = ARGV[i], tonumber(ARGV[i + 1])
        if redis.call('ZADD', leases, 'XX', 'CH', ms + lease, id) == 0 and redis.call('HEXISTS', held, id) == 0 then
            hold(id, second, tokens, lease) -- given up although it still runs: its process had slept
        end
    end
    redis.call('PEXPIRE', held, 2 * lease)
    redis.call('PEXPIRE', leases, 2 * lease)
    redis.call('EXPIRE', spent, DAY)
    return 0
end

local function settle(id, tokens)
    local at, reserved = let_go(id)
    if at then
        if at > second - SECONDS then
            redis.call('HINCRBY', window, 't' .. at, tokens - reserved)
            redis.call('EXPIRE', window, SECONDS)
        end
        redis.call('INCRBY', spent, tokens)
        redis.call('EXPIRE', spent, DAY)
    end
    return tonumber(redis.call('GET', spent) or 0)
end

if ARGV[1] == 'reserve' then
    local n = {}
    for i = 3, 9 do
        n[i] = tonumber(ARGV[i])
    end
    return reserve(ARGV[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9])
elseif ARGV[1] == 'renew' then
    return renew(tonumber(ARGV[2]))
end
return settle(ARGV[2], tonumber(ARGV[3]))
