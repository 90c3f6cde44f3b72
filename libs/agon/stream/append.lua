-- Write what a step of one worker has brought, for all its requests at once: each is judged and answered for itself.
--
-- ARGV[1] is msgpack: { worker, seconds to live, most bytes of a list, { request, ... } }, a request being
--   { owner key, frames key, done key, cancel key, attempt, name, channel or '', rewrite, entries, start }
-- where rewrite is {} or { source, digest, nonce }, and entries is flat: kind, choice, at, tokens, bytes, kind, ...
-- ARGV[2] are the encoded frames of all entries, one behind the other (they are bytes, which this msgpack can't carry);
-- those of a request begin at its start, counted from 1.
--
-- Answers, one integer per request: see the table. Whatever is not OK has changed nothing.

local OK, FENCED, CANCELLED, BEHIND, FULL = 0, 1, 2, 3, 4
local DELTA, FINAL = 1, 2 -- admitted is 0
local FIELDS = 5 -- of an entry

local call = cmsgpack.unpack(ARGV[1])
local worker, ttl, most_bytes, requests = call[1], call[2], call[3], call[4]
local now = tonumber(redis.call('TIME')[1])
local encoded = ARGV[2]
local CHUNK = 1000 -- Lua's unpack has a limit of some thousand values

-- What a message per channel will carry: msgpack arrays [name, list, index of the first frame, [frame, ...]], in pieces.
local outbox, groups = {}, {}

local function array_header(length)
    if length < 16 then
        return string.char(0x90 + length)
    elseif length < 65536 then
        return string.char(0xdc, math.floor(length / 256), length % 256)
    end
    local high = math.floor(length / 65536)
    return string.char(0xdd, math.floor(high / 256), high % 256, math.floor(length / 256) % 256, length % 256)
end

local function post(channel, name, list, index, frames)
    if channel == '' then
        return
    end
    local box = outbox[channel]
    if not box then
        box = {}
        outbox[channel], groups[channel] = box, 0
    end
    groups[channel] = groups[channel] + 1
    local at = #box
    box[at + 1], box[at + 2], box[at + 3] = '\148', cmsgpack.pack(name, list, index), array_header(#frames)
    for i, frame in ipairs(frames) do
        box[at + 3 + i] = frame
    end
end

-- Which of the entries are new? Returns nil and the reason where they don't fit the list, else the new frames, the
-- tokens per choice behind them, their bytes, and whether the list ends with them. `ends` are the tokens on the list.
local function sift(entries, start, ends, ended, frames_key)
    local fresh, bytes, tail = {}, 0, nil
    for i = 1, #entries, FIELDS do
        local kind, choice, at, tokens, size = unpack(entries, i, i + FIELDS - 1)
        local frame, stands = string.sub(encoded, start, start + size - 1), ends[choice] or 0
        start = start + size
        local known
        if kind == FINAL then
            known = ended
            ended = true
        elseif kind == DELTA and at + tokens > stands and at ~= stands then
            return nil, ended and FENCED or BEHIND
        elseif tokens > 0 then
            known = at < stands
        elseif kind == DELTA and at < stands then
            known = true
        elseif frames_key then
            -- No token says whether it is there. If it is, it came with the append that is now sent again, and that
            -- one's frames are a beginning of these: it is among as many at the end of the list.
            tail = tail or redis.call('LRANGE', frames_key, -#entries / FIELDS, -1)
            for _, there in ipairs(tail) do
                known = known or there == frame
            end
        end
        if not known then
            if ended and kind ~= FINAL then
                return nil, FENCED -- nothing comes behind the end
            end
            if kind == DELTA then
                ends[choice] = stands + tokens
            end
            fresh[#fresh + 1] = frame
            bytes = bytes + size
        end
    end
    return fresh, ends, bytes, ended
end

local function push(frames_key, frames)
    local length
    for from = 1, #frames, CHUNK do
        length = redis.call('RPUSH', frames_key, unpack(frames, from, math.min(from + CHUNK - 1, #frames)))
    end
    return length
end

local function set_ends(fields, ends)
    for choice, tokens in pairs(ends) do
        fields[#fields + 1] = 't' .. choice
        fields[#fields + 1] = tokens
    end
end

-- The list is lost, or was never whole: it begins again, with a new name, unless somebody else writes it by now. All
-- of it has been taken before, so neither a cancel mark nor the limit are asked: the next append meets them.
local function rewrite(request)
    local owner_key, frames_key, attempt, again = request[1], request[2], request[5], request[8]
    if redis.call('EXISTS', request[3]) == 1 then
        return FENCED
    end
    local owner = redis.call('HMGET', owner_key, 'worker', 'attempt', 'final')
    if owner[1] and (owner[1] ~= worker or tonumber(owner[2]) ~= attempt) then
        return FENCED
    end
    if owner[3] then
        return OK
    end
    local fresh, ends, bytes, ended = sift(request[9], request[10], {}, false, nil)
    if not fresh then
        return FENCED -- what does not even follow itself can't be written
    end
    redis.call('DEL', frames_key, owner_key)
    local fields = {
        'worker', worker, 'attempt', attempt, 'source', again[1], 'digest', again[2], 'list', again[3],
        'bytes', bytes, 'renewed', now,
    }
    if ended then
        fields[#fields + 1] = 'final'
        fields[#fields + 1] = 1
    end
    set_ends(fields, ends)
    redis.call('HSET', owner_key, unpack(fields))
    redis.call('EXPIRE', owner_key, ttl)
    if #fresh > 0 then
        push(frames_key, fresh)
        redis.call('EXPIRE', frames_key, ttl)
    end
    -- Readers are told that there is a new list; they read it themselves.
    post(request[7], request[6], again[3], #fresh, {})
    return OK
end

local function append(request, cancelled)
    local owner_key, frames_key, entries = request[1], request[2], request[9]
    local fields, choices = { 'worker', 'attempt', 'list', 'final', 'bytes', 'renewed' }, {}
    for i = 2, #entries, FIELDS do
        local choice = entries[i]
        if not choices[choice] then
            fields[#fields + 1] = 't' .. choice
            choices[choice] = #fields
        end
    end
    local owner = redis.call('HMGET', owner_key, unpack(fields))
    if not owner[1] then
        -- Either Redis has lost the request, or it was over so long ago that nothing but `done` is left.
        return redis.call('EXISTS', request[3]) == 1 and FENCED or BEHIND
    end
    if owner[1] ~= worker or tonumber(owner[2]) ~= request[5] then
        return FENCED
    end
    local ends = {}
    for choice, field in pairs(choices) do
        ends[choice] = tonumber(owner[field]) or 0
    end
    local was_ended = owner[4] and true or false
    local fresh, after, bytes, ended = sift(entries, request[10], ends, was_ended, frames_key)
    if not fresh then
        return after
    end
    if #fresh == 0 then
        return OK
    end
    if not ended then
        if cancelled then
            return CANCELLED
        elseif tonumber(owner[5]) + bytes > most_bytes then
            return FULL
        end
    end
    local index = push(frames_key, fresh) - #fresh
    local changes = { 'bytes', tonumber(owner[5]) + bytes }
    if ended then
        changes[3], changes[4] = 'final', 1
    end
    set_ends(changes, after)
    -- Both keys live on while they are used; a quarter of their time is exact enough, and saves two commands a frame.
    if index == 0 or now - tonumber(owner[6]) > ttl / 4 then
        changes[#changes + 1] = 'renewed'
        changes[#changes + 1] = now
        redis.call('EXPIRE', owner_key, ttl)
        redis.call('EXPIRE', frames_key, ttl)
    end
    redis.call('HSET', owner_key, unpack(changes))
    post(request[7], request[6], owner[3], index, fresh)
    return OK
end

local marks = {}
for i, request in ipairs(requests) do
    marks[i] = request[4]
end
marks = redis.call('MGET', unpack(marks))

local answers = {}
for i, request in ipairs(requests) do
    local cancelled = marks[i] and true or false
    local write = #request[8] > 0 and rewrite or append
    answers[i] = write(request, cancelled)
end
for channel, box in pairs(outbox) do
    redis.call('PUBLISH', channel, array_header(groups[channel]) .. table.concat(box))
end
return answers
