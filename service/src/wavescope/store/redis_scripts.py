"""Lua scripts of the Redis store: Redis runs each one atomically.

Keys, all with the prefix of the store (``p``):

    job:ID             hash: fields of Job, and content, key, worker, place
    payload:ID         string, until the job ends                output:ID    string, of a job that succeeded
    calls:ID           set of scoring calls, until it ends       chunks:LENGTH:ID:CALL  hash: start -> scores
    waiting            sorted set of places, oldest first; a place is the job's number in 16 digits, then its id
    waiting:PRIORITY:OWNER  the same of one priority and owner   priorities   sorted set of those waiting, by -priority
    owners:PRIORITY    set of those that wait                    later        sorted set of released ids by due time
    leases             sorted set of ids by the end of their lease
    running            hash: owner -> ids in leases              claims       number of claims
    unfinished[:OWNER] sets of ids                               finished     sorted set of ids by time
    keys:OWNER         hash: idempotency key -> id               number       that of the last job
    payloads, outputs  bytes of all; of one job they are its weight and its size
    result:KEY         string                            epoch, clock  id of the store; time of the last lease
    results:used       sorted set of keys by last use            results:sizes, :total, :tick

A running job is in ``leases`` or, once a claim has found its lease expired, in ``waiting``; a queued one is in
``waiting`` or, after a release with a delay, in ``later`` until a claim finds it due. If Redis is out of memory it
refuses commands that add, not those that remove: scripts add first, so that a refused one has changed nothing.
"""

from __future__ import annotations

from wavescope.store.redis_prelude import PRELUDE

_PRELUDE = (
    PRELUDE
    + """
local function job_of(id) return p .. 'job:' .. id end

local function is_final(state) return state == 'succeeded' or state == 'failed' or state == 'cancelled' end

local function is_held_by(id, worker)
    local found = redis.call('HMGET', job_of(id), 'state', 'worker')
    return found[1] == 'running' and found[2] == worker
end

-- Checks whether a number has reached a bound; an empty bound is none.
local function reaches(number, bound) return bound ~= '' and number >= tonumber(bound) end

local function waiting_of(priority, owner) return p .. 'waiting:' .. priority .. ':' .. owner end

-- Puts a job into the queue.
local function enqueue(id)
    local priority, place, owner = unpack(redis.call('HMGET', job_of(id), 'priority', 'place', 'owner'))
    redis.call('ZADD', p .. 'waiting', 0, place)
    redis.call('ZADD', waiting_of(priority, owner), 0, place)
    redis.call('SADD', p .. 'owners:' .. priority, owner)
    redis.call('ZADD', p .. 'priorities', -priority, priority)
end

local function dequeue(id)
    local priority, place, owner = unpack(redis.call('HMGET', job_of(id), 'priority', 'place', 'owner'))
    redis.call('ZREM', p .. 'waiting', place)
    redis.call('ZREM', waiting_of(priority, owner), place)
    if redis.call('EXISTS', waiting_of(priority, owner)) == 1 then return end
    redis.call('SREM', p .. 'owners:' .. priority, owner)
    if redis.call('EXISTS', p .. 'owners:' .. priority) == 1 then return end
    redis.call('ZREM', p .. 'priorities', priority)
end

local function lease_to(id, till)
    local owner = redis.call('HGET', job_of(id), 'owner')
    if redis.call('ZADD', p .. 'leases', exact(till), id) == 1 then redis.call('HINCRBY', p .. 'running', owner, 1) end
end

local function end_lease(id)
    local owner = redis.call('HGET', job_of(id), 'owner')
    if redis.call('ZREM', p .. 'leases', id) == 0 then return end
    if redis.call('HINCRBY', p .. 'running', owner, -1) <= 0 then redis.call('HDEL', p .. 'running', owner) end
end

-- Ends a job whose output is stored already, and deletes its payload and chunks.
local function finish(id, state, problem)
    local job = job_of(id)
    local created, started = unpack(redis.call('HMGET', job, 'created_at', 'started_at'))
    local time = exact(math.max(now(), tonumber(created), tonumber(started or created)))
    redis.call('HSET', job, 'state', state, 'finished_at', time)
    if problem then redis.call('HSET', job, 'error', problem) end
    redis.call('ZADD', p .. 'finished', time, id)
    local owner, weight = unpack(redis.call('HMGET', job, 'owner', 'weight'))
    dequeue(id)
    end_lease(id)
    redis.call('ZREM', p .. 'later', id)
    redis.call('SREM', p .. 'unfinished', id)
    redis.call('SREM', p .. 'unfinished:' .. owner, id)
    redis.call('DECRBY', p .. 'payloads', weight)
    redis.call('UNLINK', p .. 'payload:' .. id)
    for _, call in ipairs(redis.call('SMEMBERS', p .. 'calls:' .. id)) do
        redis.call('UNLINK', p .. 'chunks:' .. #id .. ':' .. id .. ':' .. call)
    end
    redis.call('UNLINK', p .. 'calls:' .. id)
end

local function evict(key)
    redis.call('ZREM', p .. 'results:used', key)
    redis.call('DECRBY', p .. 'results:total', redis.call('HGET', p .. 'results:sizes', key) or 0)
    redis.call('HDEL', p .. 'results:sizes', key)
    redis.call('UNLINK', p .. 'result:' .. key)
end
"""
)

_FIND_EXISTING = """
-- Finds the job of an idempotency key or an id.
local function find_existing(owner, content, key, id)
    local known = key and redis.call('HGET', p .. 'keys:' .. owner, key)
    if not known and id and redis.call('EXISTS', job_of(id)) == 1 then known = id end
    if not known then return nil end
    local found = redis.call('HMGET', job_of(known), 'owner', 'content')
    if found[1] ~= owner or found[2] ~= content then return {'conflict', {}} end
    return {'known', redis.call('HGETALL', job_of(known))}
end
"""

# epoch for the store if it has none -> its epoch
CHECK = (
    _PRELUDE
    + """
redis.call('SETNX', p .. 'epoch', ARGV[3])
return redis.call('GET', p .. 'epoch')
"""
)

# bounds of jobs, of bytes, of the owner's jobs, each empty for none; epoch for the store if it has none; id, owner,
# content, priority, labels, payload, idempotency key if any -> made, known, conflict, full, heavy or owned; the job;
# if it was made, the epoch
SUBMIT = (
    _PRELUDE
    + _FIND_EXISTING
    + """
local most, most_bytes, most_owned, epoch, id, owner, content, priority, labels, payload, key = unpack(ARGV, 3)
local known = find_existing(owner, content, key, id)
if known then return known end
if reaches(redis.call('SCARD', p .. 'unfinished'), most) then return {'full', {}} end
if reaches((redis.call('GET', p .. 'payloads') or 0) + #payload - 1, most_bytes) then return {'heavy', {}} end
if reaches(redis.call('SCARD', p .. 'unfinished:' .. owner), most_owned) then return {'owned', {}} end
redis.call('SETNX', p .. 'epoch', epoch)
local place = string.format('%016.0f', redis.call('INCR', p .. 'number')) .. id
redis.call('HSET', job_of(id), 'id', id, 'owner', owner, 'content', content, 'priority', priority, 'labels', labels,
    'state', 'queued', 'created_at', exact(now()), 'place', place, 'weight', #payload)
redis.call('SET', p .. 'payload:' .. id, payload)
redis.call('INCRBY', p .. 'payloads', #payload)
redis.call('SADD', p .. 'unfinished', id)
redis.call('SADD', p .. 'unfinished:' .. owner, id)
if key then
    redis.call('HSET', job_of(id), 'key', key)
    redis.call('HSET', p .. 'keys:' .. owner, key, id)
end
enqueue(id)
return {'made', redis.call('HGETALL', job_of(id)), redis.call('GET', p .. 'epoch')}
"""
)

# owner, content, idempotency key -> known or conflict and the job, or unknown
FIND = (
    _PRELUDE
    + _FIND_EXISTING
    + """
local owner, content, key = unpack(ARGV, 3)
return find_existing(owner, content, key) or {'unknown', {}}
"""
)

# id -> the job, empty if unknown
CANCEL = (
    _PRELUDE
    + """
local id = ARGV[3]
local state = redis.call('HGET', job_of(id), 'state')
if state and not is_final(state) then
    finish(id, 'cancelled')
    redis.call('HDEL', job_of(id), 'worker')
end
return redis.call('HGETALL', job_of(id))
"""
)

# worker, seconds of the lease, OLDEST_EVERY -> the epoch or nothing and, if a job was claimed, the job and its payload
CLAIM = (
    _PRELUDE
    + """
local worker, lease, every = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local epoch = redis.call('GET', p .. 'epoch') or ''
if redis.call('EXISTS', p .. 'waiting', p .. 'leases', p .. 'later') == 0 then return {epoch} end
local time = tick()
for _, expired in ipairs(redis.call('ZRANGEBYSCORE', p .. 'leases', '-inf', exact(time))) do
    enqueue(expired)
    end_lease(expired)
end
for _, due in ipairs(redis.call('ZRANGEBYSCORE', p .. 'later', '-inf', exact(time))) do
    enqueue(due)
    redis.call('ZREM', p .. 'later', due)
end

-- Finds the next job: of the largest priority, of the owner with the fewest leases, the oldest.
local function next_place()
    local priority = redis.call('ZRANGE', p .. 'priorities', 0, 0)[1]
    local best, fewest, oldest
    for _, owner in ipairs(redis.call('SMEMBERS', p .. 'owners:' .. priority)) do
        local place = redis.call('ZRANGE', waiting_of(priority, owner), 0, 0)[1]
        local jobs = tonumber(redis.call('HGET', p .. 'running', owner) or 0)
        local number = tonumber(string.sub(place, 1, 16))
        if not best or jobs < fewest or (jobs == fewest and number < oldest) then
            best, fewest, oldest = place, jobs, number
        end
    end
    return best
end

local place = redis.call('ZRANGE', p .. 'waiting', 0, 0)[1]
if not place then return {epoch} end
if redis.call('INCR', p .. 'claims') % every ~= 0 then place = next_place() end
local id = string.sub(place, 17)
local job = job_of(id)
redis.call('HSET', job, 'state', 'running', 'worker', worker)
redis.call('HSETNX', job, 'started_at', exact(math.max(time, tonumber(redis.call('HGET', job, 'created_at')))))
redis.call('HINCRBY', job, 'attempts', 1)
lease_to(id, time + lease)
dequeue(id)
-- a missing payload is returned as an empty one: the worker then fails the job, once
return {epoch, redis.call('HGETALL', job), redis.call('GET', p .. 'payload:' .. id) or ''}
"""
)

# id, worker, seconds of the lease, forwards, planned -> 1 if the worker has the job, else 0
HEARTBEAT = (
    _PRELUDE
    + """
local id, worker, lease, forwards, planned = unpack(ARGV, 3)
if not is_held_by(id, worker) then return 0 end
lease_to(id, tick() + tonumber(lease))
local before = redis.call('HGET', job_of(id), 'forwards')
if not before or tonumber(forwards) > tonumber(before) then redis.call('HSET', job_of(id), 'forwards', forwards) end
if tonumber(planned) ~= 0 then redis.call('HSET', job_of(id), 'planned', planned) end
dequeue(id)
return 1
"""
)

# id, worker, state, output or problem -> 1 if the worker has or had the job, else 0
FINISH = (
    _PRELUDE
    + """
local id, worker, state, outcome = unpack(ARGV, 3)
if is_held_by(id, worker) then
    if state == 'succeeded' then
        redis.call('SET', p .. 'output:' .. id, outcome)
        redis.call('HSET', job_of(id), 'size', #outcome)
        redis.call('INCRBY', p .. 'outputs', #outcome)
        finish(id, state)
    else
        finish(id, state, outcome)
    end
    return 1
end
return redis.call('HGET', job_of(id), 'worker') == worker and 1 or 0
"""
)

# id, worker, seconds until the job may be claimed
RELEASE = (
    _PRELUDE
    + """
local id, worker, after = ARGV[3], ARGV[4], tonumber(ARGV[5])
if not is_held_by(id, worker) then return end
redis.call('HSET', job_of(id), 'state', 'queued')
redis.call('HINCRBY', job_of(id), 'attempts', -1)
redis.call('HDEL', job_of(id), 'worker')
end_lease(id)
if after > 0 then
    dequeue(id)
    redis.call('ZADD', p .. 'later', exact(tick() + after), id)
else
    enqueue(id)
end
"""
)

# id, call, start, chunk
SAVE_CHUNK = (
    _PRELUDE
    + """
local id, call, start, chunk = unpack(ARGV, 3)
local state = redis.call('HGET', job_of(id), 'state')
if not state or is_final(state) then return end
redis.call('SADD', p .. 'calls:' .. id, call)
redis.call('HSETNX', p .. 'chunks:' .. #id .. ':' .. id .. ':' .. call, start, chunk)
"""
)

# key -> the cached result, or nothing
GET_CACHED = (
    _PRELUDE
    + """
local key = ARGV[3]
local result = redis.call('GET', p .. 'result:' .. key)
if result then redis.call('ZADD', p .. 'results:used', redis.call('INCR', p .. 'results:tick'), key) end
return result
"""
)

# key, bound of all results, size, result
PUT_CACHED = (
    _PRELUDE
    + """
local key, bound, size, result = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
if size <= bound then
    redis.call('SET', p .. 'result:' .. key, result)
    redis.call('ZADD', p .. 'results:used', redis.call('INCR', p .. 'results:tick'), key)
    local before = redis.call('HGET', p .. 'results:sizes', key) or 0
    redis.call('HSET', p .. 'results:sizes', key, size)
    redis.call('INCRBY', p .. 'results:total', size - before)
end
while tonumber(redis.call('GET', p .. 'results:total') or 0) > bound do
    local oldest = redis.call('ZRANGE', p .. 'results:used', 0, 0)[1]
    if not oldest then  -- keys were removed from outside, so that the total is wrong
        redis.call('SET', p .. 'results:total', 0)
        break
    end
    evict(oldest)
end
"""
)

# time, bound of the bytes of outputs or empty, largest number of jobs -> number of deleted jobs
PURGE = (
    _PRELUDE
    + """
local before, most, batch = tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])

local function is_due(finished_at)
    return tonumber(finished_at) < before or reaches(tonumber(redis.call('GET', p .. 'outputs') or 0) - 1, most)
end

local ended = redis.call('ZRANGE', p .. 'finished', 0, batch - 1, 'WITHSCORES')
for i = 1, #ended, 2 do
    local id = ended[i]
    if not is_due(ended[i + 1]) then return (i - 1) / 2 end
    local owner, key, size = unpack(redis.call('HMGET', job_of(id), 'owner', 'key', 'size'))
    redis.call('ZREM', p .. 'finished', id)
    if key then redis.call('HDEL', p .. 'keys:' .. owner, key) end
    if size then redis.call('DECRBY', p .. 'outputs', size) end
    redis.call('UNLINK', p .. 'output:' .. id, job_of(id))
end
return #ended / 2
"""
)
