"""What the Redis store does, in Lua: each script runs by itself from its beginning to its end.

Keys, all after a prefix of the store's (``p``):

    job:ID             hash: what Job tells, and content, key, worker, place
    payload:ID         string, until the job ends                output:ID    string, of a job that succeeded
    calls:ID           set of scoring calls, until it ends       chunks:LENGTH:ID:CALL  hash: start -> scores
    waiting            sorted set of places, oldest first; a place is the job's number in 16 digits, then its id
    waiting:PRIORITY:OWNER  the same of a priority and an owner  priorities   sorted set of those waiting, by -priority
    owners:PRIORITY    set of those waiting                      later        sorted set of ids by when they may wait
    leases             sorted set of ids by the end of their lease
    running            hash: owner -> ids in leases              claims       how many there were
    unfinished[:OWNER] sets of ids                               finished     sorted set of ids by time
    keys:OWNER         hash: idempotency key -> id               number       the last job's
    payloads, outputs  bytes of all; those of one job are its weight and its size
    result:KEY         string
    results:used       sorted set of keys by last use            results:sizes, :total, :tick

A running job is in ``leases``, or, from when a claim found its lease lapsed, in ``waiting``; a queued one in
``waiting``, or in ``later`` from its release until a claim finds that its time has come. Where Redis has no memory
left it refuses commands that add, not those that remove: scripts add first, so that a refused one has done nothing.
"""

_PRELUDE = """
local p = ARGV[1]

local function now()
    if ARGV[2] ~= '' then return tonumber(ARGV[2]) end
    local time = redis.call('TIME')
    return tonumber(time[1]) + tonumber(time[2]) / 1000000
end

-- tostring keeps 14 digits only
local function exact(number) return string.format('%.17g', number) end

local function job_of(id) return p .. 'job:' .. id end

local function is_final(state) return state == 'succeeded' or state == 'failed' or state == 'cancelled' end

local function is_ours(id, worker)
    local found = redis.call('HMGET', job_of(id), 'state', 'worker')
    return found[1] == 'running' and found[2] == worker
end

-- Whether a number is at a bound, where there is one.
local function reaches(number, bound) return bound ~= '' and number >= tonumber(bound) end

local function waiting_of(priority, owner) return p .. 'waiting:' .. priority .. ':' .. owner end

-- A job may be claimed.
local function wait(id)
    local priority, place, owner = unpack(redis.call('HMGET', job_of(id), 'priority', 'place', 'owner'))
    redis.call('ZADD', p .. 'waiting', 0, place)
    redis.call('ZADD', waiting_of(priority, owner), 0, place)
    redis.call('SADD', p .. 'owners:' .. priority, owner)
    redis.call('ZADD', p .. 'priorities', -priority, priority)
end

local function wait_no_more(id)
    local priority, place, owner = unpack(redis.call('HMGET', job_of(id), 'priority', 'place', 'owner'))
    redis.call('ZREM', p .. 'waiting', place)
    redis.call('ZREM', waiting_of(priority, owner), place)
    if redis.call('EXISTS', waiting_of(priority, owner)) == 1 then return end
    redis.call('SREM', p .. 'owners:' .. priority, owner)
    if redis.call('EXISTS', p .. 'owners:' .. priority) == 1 then return end
    redis.call('ZREM', p .. 'priorities', priority)
end

local function lend(id, till)
    local owner = redis.call('HGET', job_of(id), 'owner')
    if redis.call('ZADD', p .. 'leases', exact(till), id) == 1 then redis.call('HINCRBY', p .. 'running', owner, 1) end
end

local function take_back(id)
    local owner = redis.call('HGET', job_of(id), 'owner')
    if redis.call('ZREM', p .. 'leases', id) == 0 then return end
    if redis.call('HINCRBY', p .. 'running', owner, -1) <= 0 then redis.call('HDEL', p .. 'running', owner) end
end

-- Ends a job whose output is kept already, and forgets what only a worker needs.
local function finish(id, state, problem)
    local job = job_of(id)
    local time = exact(now())
    redis.call('HSET', job, 'state', state, 'finished_at', time)
    if problem then redis.call('HSET', job, 'error', problem) end
    redis.call('ZADD', p .. 'finished', time, id)
    local owner, weight = unpack(redis.call('HMGET', job, 'owner', 'weight'))
    wait_no_more(id)
    take_back(id)
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

local function forget_result(key)
    redis.call('ZREM', p .. 'results:used', key)
    redis.call('DECRBY', p .. 'results:total', redis.call('HGET', p .. 'results:sizes', key) or 0)
    redis.call('HDEL', p .. 'results:sizes', key)
    redis.call('UNLINK', p .. 'result:' .. key)
end
"""

_KNOWN = """
-- what there is of an idempotency key or an id already
local function known_as(owner, content, key, id)
    local known = key and redis.call('HGET', p .. 'keys:' .. owner, key)
    if not known and id and redis.call('EXISTS', job_of(id)) == 1 then known = id end
    if not known then return nil end
    local found = redis.call('HMGET', job_of(known), 'owner', 'content')
    if found[1] ~= owner or found[2] ~= content then return {'conflict', {}} end
    return {'known', redis.call('HGETALL', job_of(known))}
end
"""

# bounds of jobs, of bytes, of the owner's jobs, each empty for none; id, owner, content, priority, labels, payload,
# idempotency key if any -> made, known, conflict, full, heavy or owned; and the job
SUBMIT = (
    _PRELUDE
    + _KNOWN
    + """
local most, most_bytes, most_owned, id, owner, content, priority, labels, payload, key = unpack(ARGV, 3)
local known = known_as(owner, content, key, id)
if known then return known end
if reaches(redis.call('SCARD', p .. 'unfinished'), most) then return {'full', {}} end
if reaches((redis.call('GET', p .. 'payloads') or 0) + #payload - 1, most_bytes) then return {'heavy', {}} end
if reaches(redis.call('SCARD', p .. 'unfinished:' .. owner), most_owned) then return {'owned', {}} end
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
wait(id)
return {'made', redis.call('HGETALL', job_of(id))}
"""
)

# owner, content, idempotency key -> known or conflict and the job, or unknown
FIND = (
    _PRELUDE
    + _KNOWN
    + """
local owner, content, key = unpack(ARGV, 3)
return known_as(owner, content, key) or {'unknown', {}}
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

# worker, seconds of the lease, which claim takes the oldest of all -> the job and its payload, or nothing
CLAIM = (
    _PRELUDE
    + """
local worker, lease, every = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local time = now()
for _, lapsed in ipairs(redis.call('ZRANGEBYSCORE', p .. 'leases', '-inf', exact(time))) do
    wait(lapsed)
    take_back(lapsed)
end
for _, due in ipairs(redis.call('ZRANGEBYSCORE', p .. 'later', '-inf', exact(time))) do
    wait(due)
    redis.call('ZREM', p .. 'later', due)
end

-- the oldest job of the owner that has the fewest under a lease, of those who wait with the largest priority
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
if not place then return nil end
if redis.call('INCR', p .. 'claims') % every ~= 0 then place = next_place() end
local id = string.sub(place, 17)
local job = job_of(id)
redis.call('HSET', job, 'state', 'running', 'worker', worker)
redis.call('HSETNX', job, 'started_at', exact(time))
redis.call('HINCRBY', job, 'attempts', 1)
lend(id, time + lease)
wait_no_more(id)
-- a payload that is gone all the same is told as an empty one, which its worker fails and does not claim for ever
return {redis.call('HGETALL', job), redis.call('GET', p .. 'payload:' .. id) or ''}
"""
)

# id, worker, seconds of the lease, forwards, planned -> whether it is this worker's
BEAT = (
    _PRELUDE
    + """
local id, worker, lease, forwards, planned = unpack(ARGV, 3)
if not is_ours(id, worker) then return 0 end
lend(id, now() + tonumber(lease))
local before = redis.call('HGET', job_of(id), 'forwards')
if not before or tonumber(forwards) > tonumber(before) then redis.call('HSET', job_of(id), 'forwards', forwards) end
if tonumber(planned) ~= 0 then redis.call('HSET', job_of(id), 'planned', planned) end
wait_no_more(id)
return 1
"""
)

# id, worker, state, output or problem -> whether it is this worker's
FINISH = (
    _PRELUDE
    + """
local id, worker, state, what = unpack(ARGV, 3)
if is_ours(id, worker) then
    if state == 'succeeded' then
        redis.call('SET', p .. 'output:' .. id, what)
        redis.call('HSET', job_of(id), 'size', #what)
        redis.call('INCRBY', p .. 'outputs', #what)
        finish(id, state)
    else
        finish(id, state, what)
    end
    return 1
end
return redis.call('HGET', job_of(id), 'worker') == worker and 1 or 0
"""
)

# id, worker, seconds until it may be claimed
RELEASE = (
    _PRELUDE
    + """
local id, worker, after = ARGV[3], ARGV[4], tonumber(ARGV[5])
if not is_ours(id, worker) then return end
redis.call('HSET', job_of(id), 'state', 'queued')
redis.call('HINCRBY', job_of(id), 'attempts', -1)
redis.call('HDEL', job_of(id), 'worker')
take_back(id)
if after > 0 then
    wait_no_more(id)
    redis.call('ZADD', p .. 'later', exact(now() + after), id)
else
    wait(id)
end
"""
)

# id, call, start, chunk
KEEP = (
    _PRELUDE
    + """
local id, call, start, chunk = unpack(ARGV, 3)
local state = redis.call('HGET', job_of(id), 'state')
if not state or is_final(state) then return end
redis.call('SADD', p .. 'calls:' .. id, call)
redis.call('HSETNX', p .. 'chunks:' .. #id .. ':' .. id .. ':' .. call, start, chunk)
"""
)

# key -> the result, or nothing
RECALL = (
    _PRELUDE
    + """
local key = ARGV[3]
local result = redis.call('GET', p .. 'result:' .. key)
if result then redis.call('ZADD', p .. 'results:used', redis.call('INCR', p .. 'results:tick'), key) end
return result
"""
)

# key, bound of all, size, result
REMEMBER = (
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
    if not oldest then  -- somebody else removed keys, so that the total is wrong
        redis.call('SET', p .. 'results:total', 0)
        break
    end
    forget_result(oldest)
end
"""
)

# time, bound of outputs' bytes or empty, how many at once -> how many
PURGE = (
    _PRELUDE
    + """
local before, most, at_once = tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])

local function is_to_go(finished_at)
    return tonumber(finished_at) < before or reaches(tonumber(redis.call('GET', p .. 'outputs') or 0) - 1, most)
end

local ended = redis.call('ZRANGE', p .. 'finished', 0, at_once - 1, 'WITHSCORES')
for i = 1, #ended, 2 do
    local id = ended[i]
    if not is_to_go(ended[i + 1]) then return (i - 1) / 2 end
    local owner, key, size = unpack(redis.call('HMGET', job_of(id), 'owner', 'key', 'size'))
    redis.call('ZREM', p .. 'finished', id)
    if key then redis.call('HDEL', p .. 'keys:' .. owner, key) end
    if size then redis.call('DECRBY', p .. 'outputs', size) end
    redis.call('UNLINK', p .. 'output:' .. id, job_of(id))
end
return #ended / 2
"""
)
