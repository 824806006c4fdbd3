"""What the Redis store does, in Lua: each script runs by itself from its beginning to its end.

Keys, all after a prefix of the store's (``p``):

    job:ID             hash: what Job tells, and content, key, worker, place
    payload:ID         string, until the job ends                output:ID    string, of a job that succeeded
    calls:ID           set of scoring calls, until it ends       chunks:LENGTH:ID:CALL  hash: start -> scores
    waiting            sorted set of places by -priority; a place is the job's number in 16 digits, then its id
    leases             sorted set of ids by the end of their lease
    unfinished[:OWNER] sets of ids                               finished     sorted set of ids by time
    keys:OWNER         hash: idempotency key -> id               number       the last job's
    result:KEY         string
    results:used       sorted set of keys by last use            results:sizes, :total, :tick

A running job is in ``leases``, or, from when a claim found its lease lapsed, in ``waiting``. Where Redis has no memory
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

-- Ends a job whose output is kept already, and forgets what only a worker needs.
local function finish(id, state, problem)
    local job = job_of(id)
    local time = exact(now())
    redis.call('HSET', job, 'state', state, 'finished_at', time)
    if problem then redis.call('HSET', job, 'error', problem) end
    redis.call('ZADD', p .. 'finished', time, id)
    local found = redis.call('HMGET', job, 'place', 'owner')
    redis.call('ZREM', p .. 'waiting', found[1])
    redis.call('ZREM', p .. 'leases', id)
    redis.call('SREM', p .. 'unfinished', id)
    redis.call('SREM', p .. 'unfinished:' .. found[2], id)
    redis.call('UNLINK', p .. 'payload:' .. id)
    for _, call in ipairs(redis.call('SMEMBERS', p .. 'calls:' .. id)) do
        redis.call('UNLINK', p .. 'chunks:' .. #id .. ':' .. id .. ':' .. call)
    end
    redis.call('UNLINK', p .. 'calls:' .. id)
end

local function forget_result(key)
    redis.call('DECRBY', p .. 'results:total', redis.call('HGET', p .. 'results:sizes', key) or 0)
    redis.call('ZREM', p .. 'results:used', key)
    redis.call('HDEL', p .. 'results:sizes', key)
    redis.call('UNLINK', p .. 'result:' .. key)
end
"""

# id, owner, content, priority, labels, payload, idempotency key if any
# -> state (1 made, 0 known, -1 known of another content) and the job
SUBMIT = (
    _PRELUDE
    + """
local id, owner, content, priority, labels, payload, key = unpack(ARGV, 3)
local keys = p .. 'keys:' .. owner
local known = key and redis.call('HGET', keys, key)
if not known and redis.call('EXISTS', job_of(id)) == 1 then known = id end
if known then
    local found = redis.call('HMGET', job_of(known), 'owner', 'content')
    if found[1] ~= owner or found[2] ~= content then return {-1, {}} end
    return {0, redis.call('HGETALL', job_of(known))}
end
local place = string.format('%016.0f', redis.call('INCR', p .. 'number')) .. id
redis.call('HSET', job_of(id), 'id', id, 'owner', owner, 'content', content, 'priority', priority, 'labels', labels,
    'state', 'queued', 'created_at', exact(now()), 'place', place)
redis.call('SET', p .. 'payload:' .. id, payload)
redis.call('SADD', p .. 'unfinished', id)
redis.call('SADD', p .. 'unfinished:' .. owner, id)
if key then
    redis.call('HSET', job_of(id), 'key', key)
    redis.call('HSET', keys, key, id)
end
redis.call('ZADD', p .. 'waiting', -priority, place)
return {1, redis.call('HGETALL', job_of(id))}
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

# worker, seconds of the lease -> the job and its payload, or nothing
CLAIM = (
    _PRELUDE
    + """
local worker, lease = ARGV[3], tonumber(ARGV[4])
local time = now()
for _, lapsed in ipairs(redis.call('ZRANGEBYSCORE', p .. 'leases', '-inf', exact(time))) do
    local found = redis.call('HMGET', job_of(lapsed), 'priority', 'place')
    redis.call('ZADD', p .. 'waiting', -found[1], found[2])
    redis.call('ZREM', p .. 'leases', lapsed)
end
local place = redis.call('ZRANGE', p .. 'waiting', 0, 0)[1]
if not place then return nil end
local id = string.sub(place, 17)
local job = job_of(id)
redis.call('HSET', job, 'state', 'running', 'worker', worker)
redis.call('HSETNX', job, 'started_at', exact(time))
redis.call('HINCRBY', job, 'attempts', 1)
redis.call('ZADD', p .. 'leases', exact(time + lease), id)
redis.call('ZREM', p .. 'waiting', place)
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
redis.call('HSET', job_of(id), 'forwards', forwards, 'planned', planned)
redis.call('ZADD', p .. 'leases', exact(now() + tonumber(lease)), id)
redis.call('ZREM', p .. 'waiting', redis.call('HGET', job_of(id), 'place'))
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
        finish(id, state)
    else
        finish(id, state, what)
    end
    return 1
end
return redis.call('HGET', job_of(id), 'worker') == worker and 1 or 0
"""
)

# id, worker
RELEASE = (
    _PRELUDE
    + """
local id, worker = ARGV[3], ARGV[4]
if not is_ours(id, worker) then return end
local found = redis.call('HMGET', job_of(id), 'priority', 'place')
redis.call('ZADD', p .. 'waiting', -found[1], found[2])
redis.call('HSET', job_of(id), 'state', 'queued')
redis.call('HDEL', job_of(id), 'worker')
redis.call('ZREM', p .. 'leases', id)
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
    forget_result(oldest)
end
"""
)

# time, how many at once -> how many
PURGE = (
    _PRELUDE
    + """
local ids = redis.call('ZRANGEBYSCORE', p .. 'finished', '-inf', '(' .. ARGV[3], 'LIMIT', 0, ARGV[4])
for _, id in ipairs(ids) do
    local found = redis.call('HMGET', job_of(id), 'owner', 'key')
    if found[2] then redis.call('HDEL', p .. 'keys:' .. found[1], found[2]) end
    redis.call('ZREM', p .. 'finished', id)
    redis.call('UNLINK', p .. 'output:' .. id, job_of(id))
end
return #ids
"""
)
