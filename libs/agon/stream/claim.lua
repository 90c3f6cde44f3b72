-- Who may write a request's list? Answers a batch of claims, each for itself.
--
-- ARGV[1] is msgpack: { stem of worker keys, seconds to live, { claim, ... } }, a claim being
--   { owner key, frames key, done key, cancel key, source, digest, worker, nonce, abandoned }
-- Keys travel in the blob and not as KEYS: one call serves many requests, which no cluster slot could hold anyway.
--
-- Answers, one per claim:
--   { 'done' }                              the completion is on Kafka
--   { 'duplicate', 1|0 }                    the id came from another record, with the same bytes (1) or others (0)
--   { 'parked', owner }                     a living worker has it
--   { 'ended', frames }                     the list is finished, its completion is still to be told
--   { 'yours', attempt, cancelled, frames } the claimer owns it now

local call = cmsgpack.unpack(ARGV[1])
local worker_stem, ttl = call[1], call[2]
local now = redis.call('TIME')[1]

local function take(owner_key, frames_key, worker, attempt, nonce)
    redis.call('HSET', owner_key, 'worker', worker, 'attempt', attempt, 'claim', nonce, 'renewed', now)
    redis.call('EXPIRE', owner_key, ttl)
    redis.call('EXPIRE', frames_key, ttl)
end

local function answer(claim)
    local owner_key, frames_key, done_key, cancel_key, source, digest, worker, nonce, abandoned =
        claim[1], claim[2], claim[3], claim[4], claim[5], claim[6], claim[7], claim[8], claim[9]

    local done = redis.call('GET', done_key)
    if done then
        local its_source, its_digest = string.match(done, '^(.-)\n(.*)$')
        if its_source == source then
            return { 'done' }
        end
        return { 'duplicate', its_digest == digest and 1 or 0 }
    end

    local cancelled = redis.call('EXISTS', cancel_key)
    local owner = redis.call('HMGET', owner_key, 'worker', 'attempt', 'source', 'digest', 'final', 'claim')
    if not owner[1] then
        -- Nobody ever had it, or Redis has lost it. Frames without an owner have no author: they go.
        redis.call('DEL', frames_key)
        redis.call('HSET', owner_key, 'source', source, 'digest', digest, 'list', nonce, 'bytes', 0)
        take(owner_key, frames_key, worker, 1, nonce)
        return { 'yours', 1, cancelled, {} }
    end
    if owner[3] ~= source then
        return { 'duplicate', owner[4] == digest and 1 or 0 }
    end

    local attempt = tonumber(owner[2])
    if owner[6] == nonce then
        -- This very call, sent again because its reply was lost.
        if owner[5] then
            return { 'ended', redis.call('LRANGE', frames_key, 0, -1) }
        end
        return { 'yours', attempt, cancelled, redis.call('LRANGE', frames_key, 0, -1) }
    end
    local own = owner[1] == worker
    local alive = redis.call('EXISTS', worker_stem .. owner[1]) == 1
    if owner[5] then
        -- The end is written. A living owner is about to tell Kafka; after a dead one, the claimer does.
        if alive and not own then
            return { 'parked', owner[1] }
        end
        take(owner_key, frames_key, worker, attempt, nonce)
        return { 'ended', redis.call('LRANGE', frames_key, 0, -1) }
    end
    if (own and abandoned == 0) or (alive and not own) then
        return { 'parked', owner[1] }
    end
    take(owner_key, frames_key, worker, attempt + 1, nonce)
    return { 'yours', attempt + 1, cancelled, redis.call('LRANGE', frames_key, 0, -1) }
end

local answers = {}
for i, claim in ipairs(call[3]) do
    answers[i] = answer(claim)
end
return answers
