"""Lua scripts of monitors in the Redis store: Redis runs each one atomically.

Keys, all with the prefix of the store (``p``):

    monitor-leases           sorted set of all names by the end of their last lease; -inf where there was none
    monitor:NAME             hash: fields of MonitorRecord, and last_at, first (entry that is not purged), worker
    monitor-events:NAME      hash: outcome -> number             monitor-keys:NAME     hash: key -> seq
    monitor-entries:NAME     hash: seq -> kind, time, length of the key, key and content
    monitor-pending:NAME     hash: seq -> size of the payload, of observations that have not ended
    monitor-results:NAME     hash: seq -> result                 monitor-ended:NAME    sorted set of those seqs by time
    monitor-images:NAME      set of seqs with a payload          monitor-payload:SEQ:NAME  string
    monitor-state:NAME       hash: state, effects

As in :mod:`wavescope.store.redis_scripts`, scripts add before they remove, so that one that Redis refuses for lack of
memory has changed nothing. The first argument after the time is the name, but for lists and claims.
"""

from __future__ import annotations

from wavescope.store.redis_prelude import PRELUDE

_PRELUDE = (
    PRELUDE
    + """
local function key_of(kind, name) return p .. 'monitor-' .. kind .. ':' .. name end

local function hash_of(name) return p .. 'monitor:' .. name end

local function payload_of(name, seq) return p .. 'monitor-payload:' .. seq .. ':' .. name end

local function record(name)
    return {name, redis.call('HGETALL', hash_of(name)), redis.call('HGETALL', key_of('events', name))}
end

local function exists(name) return redis.call('EXISTS', hash_of(name)) == 1 end

local function is_held_by(name, worker) return redis.call('HGET', hash_of(name), 'worker') == worker end

local function padded(seq) return string.format('%016.0f', seq) end

-- Unpacks an entry: its kind, its time and its key.
local function unpack_entry(packed)
    local kind, at, length, from = string.match(packed, '^(%a+) (%S+) (%d+) ()')
    return kind, at, string.sub(packed, from, from + length - 1)
end

local function delete_payload(name, seq)
    redis.call('UNLINK', payload_of(name, seq))
    redis.call('SREM', key_of('images', name), seq)
end

local function count(name, outcome, number)
    if tonumber(number) ~= 0 then redis.call('HINCRBY', key_of('events', name), outcome, number) end
end

-- An observation does not wait any more.
local function end_waiting(name, seq)
    local size = redis.call('HGET', key_of('pending', name), seq)
    if not size then return end
    redis.call('HINCRBY', hash_of(name), 'pending', -1)
    redis.call('HINCRBY', hash_of(name), 'pending_bytes', -size)
    redis.call('HDEL', key_of('pending', name), seq)
end
"""
)

# name, owner, token digest, config, largest number -> made, known or full, and the record
_CREATE = """
local name, owner, digest, config, most = unpack(ARGV, 3)
if exists(name) then return {'known', record(name)} end
if redis.call('ZCARD', p .. 'monitor-leases') >= tonumber(most) then return {'full', {}} end
local time = exact(now())
redis.call('HSET', hash_of(name), 'owner', owner, 'created_at', time, 'last_at', time, 'token_digest', digest,
    'config', config, 'paused', 0, 'last_seq', 0, 'first', 1, 'folded', 0, 'pending', 0, 'pending_bytes', 0)
redis.call('ZADD', p .. 'monitor-leases', '-inf', name)
return {'made', record(name)}
"""

# name, names of fields and their values -> the record, empty if unknown
_CONFIGURE = """
local name = ARGV[3]
if not exists(name) then return {} end
for i = 4, #ARGV, 2 do redis.call('HSET', hash_of(name), ARGV[i], ARGV[i + 1]) end
return record(name)
"""

# name -> the record, empty if unknown
_GET = """
return exists(ARGV[3]) and record(ARGV[3]) or {}
"""

# -> all records
_LIST = """
local found = {}
for i, name in ipairs(redis.call('ZRANGE', p .. 'monitor-leases', 0, -1)) do found[i] = record(name) end
return found
"""

# name -> 1 if it was there, else 0
_DELETE = """
local name = ARGV[3]
if not exists(name) then return 0 end
for _, seq in ipairs(redis.call('SMEMBERS', key_of('images', name))) do redis.call('UNLINK', payload_of(name, seq)) end
for _, kind in ipairs({'events', 'keys', 'entries', 'pending', 'results', 'ended', 'images', 'state'}) do
    redis.call('UNLINK', key_of(kind, name))
end
redis.call('UNLINK', hash_of(name))
redis.call('ZREM', p .. 'monitor-leases', name)
return 1
"""

# name, bounds of observations and of bytes that wait, each empty for none, seconds of thinning; of each entry its kind,
# key, content, 1 or 0 for a payload, payload -> of each its outcome and its number; nothing if unknown
_APPEND = """
local name, most, most_bytes, thin = unpack(ARGV, 3, 6)
if not exists(name) then return false end
local paused, pending, bytes, observed, last_at = unpack(redis.call('HMGET', hash_of(name),
    'paused', 'pending', 'pending_bytes', 'last_observation_at', 'last_at'))
local time = now()
local at = exact(math.max(time, tonumber(last_at)))
local too_soon = observed and math.abs(time - tonumber(observed)) < tonumber(thin)
pending, bytes = tonumber(pending), tonumber(bytes)

local function refuse(size)
    if paused == '1' then return 'paused' end
    if too_soon then return 'sampled_out' end
    if most ~= '' and pending >= tonumber(most) then return 'busy' end
    if most_bytes ~= '' and bytes + size > tonumber(most_bytes) then return 'busy' end
end

local found = {}
for i = 7, #ARGV, 5 do
    local kind, key, content, payload = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3] == '1' and ARGV[i + 4]
    local observation = kind == 'observation'
    local size = payload and #payload or 0
    local seq = redis.call('HGET', key_of('keys', name), key)
    local outcome = seq and 'duplicate' or (observation and refuse(size)) or 'accepted'
    if observation then count(name, outcome, 1) end
    if outcome == 'accepted' then
        seq = redis.call('HINCRBY', hash_of(name), 'last_seq', 1)
        redis.call('HSET', hash_of(name), 'last_at', at)
        redis.call('HSET', key_of('keys', name), key, seq)
        redis.call('HSET', key_of('entries', name), seq, kind .. ' ' .. at .. ' ' .. #key .. ' ' .. key .. content)
        if observation then
            pending, bytes = pending + 1, bytes + size
            redis.call('HSET', hash_of(name), 'pending', pending, 'pending_bytes', bytes, 'last_observation_at', at)
            redis.call('HSET', key_of('pending', name), seq, size)
        end
        if payload then
            redis.call('SET', payload_of(name, seq), payload)
            redis.call('SADD', key_of('images', name), seq)
        end
    end
    found[#found + 1] = outcome
    found[#found + 1] = tonumber(seq or 0)
end
return found
"""

# name, outcomes and their numbers
_COUNT = """
if not exists(ARGV[3]) then return end
for i = 4, #ARGV, 2 do count(ARGV[3], ARGV[i], ARGV[i + 1]) end
"""

# name, number before the first one, largest number of entries, 1 or 0 for payloads -> of each its number, the entry,
# its result and its payload or nothing
_READ = """
local name, after, limit, images = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6] == '1'
local first, last = unpack(redis.call('HMGET', hash_of(name), 'first', 'last_seq'))
if not first then return {} end
local from = math.max(after + 1, tonumber(first))
local found = {}
for seq = from, math.min(from + limit - 1, tonumber(last)) do
    found[#found + 1] = {
        seq, redis.call('HGET', key_of('entries', name), seq), redis.call('HGET', key_of('results', name), seq),
        images and redis.call('GET', payload_of(name, seq))
    }
end
return found
"""

# name, since, until, largest number -> as above, the last one first, without payloads
_READ_RESULTS = """
local name, since, before, limit = unpack(ARGV, 3)
local found = {}
local seqs = redis.call('ZREVRANGEBYSCORE', key_of('ended', name), '(' .. before, since, 'LIMIT', 0, limit)
for i, place in ipairs(seqs) do
    local seq = tonumber(place)
    found[i] = {
        seq, redis.call('HGET', key_of('entries', name), seq), redis.call('HGET', key_of('results', name), seq), false
    }
end
return found
"""

# name, seq, worker, 1 or 0 for keeping the payload, result -> 1 if the observation has ended, else 0
_END = """
local name, seq, worker, keep, result = unpack(ARGV, 3)
if not is_held_by(name, worker) then return 0 end
local packed = redis.call('HGET', key_of('entries', name), seq)
if not packed then return 0 end
local kind, at = unpack_entry(packed)
if kind ~= 'observation' then return 0 end
if redis.call('HSETNX', key_of('results', name), seq, result) == 0 then return 1 end
redis.call('ZADD', key_of('ended', name), at, padded(seq))
end_waiting(name, seq)
if keep == '0' then delete_payload(name, seq) end
return 1
"""

# name, seqs
_DROP = """
for i = 4, #ARGV do
    if redis.call('HEXISTS', key_of('results', ARGV[3]), ARGV[i]) == 1 then delete_payload(ARGV[3], ARGV[i]) end
end
"""

# name, number of the first entry to keep, largest number of entries -> number of deleted entries
_PURGE = """
local name, before, batch = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local first, folded = unpack(redis.call('HMGET', hash_of(name), 'first', 'folded'))
if not first then return 0 end
local last = math.min(before - 1, tonumber(folded), first + batch - 1)
if last < tonumber(first) then return 0 end
redis.call('HSET', hash_of(name), 'first', last + 1)
for seq = first, last do
    local _, _, key = unpack_entry(redis.call('HGET', key_of('entries', name), seq))
    end_waiting(name, seq)
    delete_payload(name, seq)
    redis.call('HDEL', key_of('keys', name), key)
    redis.call('HDEL', key_of('results', name), seq)
    redis.call('ZREM', key_of('ended', name), padded(seq))
    redis.call('HDEL', key_of('entries', name), seq)
end
return last - first + 1
"""

# worker, seconds of the lease, seconds after which a monitor is woken -> the record, empty for none
_CLAIM = """
local worker, lease, wake = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])

-- Where there is nothing to do nothing is written, but for the clock after a while.
local time = now()
local gap = time - tonumber(redis.call('GET', p .. 'clock') or time)
if gap < -1 or gap > LONG / 10 then time = tick() end

local function find()
    local ended = redis.call('ZRANGEBYSCORE', p .. 'monitor-leases', '-inf', exact(time), 'WITHSCORES')
    for i = 1, #ended, 2 do
        local folded, last = unpack(redis.call('HMGET', hash_of(ended[i]), 'folded', 'last_seq'))
        if tonumber(folded) < tonumber(last) or tonumber(ended[i + 1]) <= time - wake then return ended[i] end
    end
end

local name = find()
if not name then return {} end
tick()
redis.call('HSET', hash_of(name), 'worker', worker)
redis.call('ZADD', p .. 'monitor-leases', exact(time + lease), name)
return record(name)
"""

# name, worker, seconds of the lease -> 1 if the worker has the monitor, else 0
_RENEW = """
local name, worker, lease = ARGV[3], ARGV[4], tonumber(ARGV[5])
if not is_held_by(name, worker) then return 0 end
redis.call('ZADD', p .. 'monitor-leases', exact(tick() + lease), name)
return 1
"""

# name, worker
_RELEASE = """
local name, worker = ARGV[3], ARGV[4]
if not is_held_by(name, worker) then return end
local time = tick()
local ends = tonumber(redis.call('ZSCORE', p .. 'monitor-leases', name))
redis.call('ZADD', p .. 'monitor-leases', exact(math.min(time, ends)), name)
redis.call('HDEL', hash_of(name), 'worker')
"""

# name -> number of the last folded entry, state, effects
_LOAD = """
local state = redis.call('HMGET', key_of('state', ARGV[3]), 'state', 'effects')
return {tonumber(redis.call('HGET', hash_of(ARGV[3]), 'folded') or 0), state[1], state[2]}
"""

# name, worker, number of the last folded entry, state, status -> 1 if the worker has the monitor, else 0
_SAVE_CHECKPOINT = """
local name, worker, folded, state, status = unpack(ARGV, 3)
if not is_held_by(name, worker) then return 0 end
local before, last = unpack(redis.call('HMGET', hash_of(name), 'folded', 'last_seq'))
if tonumber(folded) > tonumber(last) then return 0 end
if tonumber(folded) >= tonumber(before) then
    redis.call('HSET', hash_of(name), 'folded', folded, 'status', status)
    redis.call('HSET', key_of('state', name), 'state', state)
end
return 1
"""

# name, worker, effects -> 1 if the worker has the monitor, else 0
_SAVE_EFFECTS = """
local name, worker, effects = unpack(ARGV, 3)
if not is_held_by(name, worker) then return 0 end
redis.call('HSET', key_of('state', name), 'effects', effects)
return 1
"""

MONITOR_SCRIPTS = {
    name: _PRELUDE + text
    for name, text in {
        "create_monitor": _CREATE,
        "configure_monitor": _CONFIGURE,
        "get_monitor": _GET,
        "list_monitors": _LIST,
        "delete_monitor": _DELETE,
        "append_entries": _APPEND,
        "count_events": _COUNT,
        "read_entries": _READ,
        "read_results": _READ_RESULTS,
        "end_observation": _END,
        "drop_payloads": _DROP,
        "purge_entries": _PURGE,
        "claim_monitor": _CLAIM,
        "renew_monitor": _RENEW,
        "release_monitor": _RELEASE,
        "load_checkpoint": _LOAD,
        "save_checkpoint": _SAVE_CHECKPOINT,
        "save_effects": _SAVE_EFFECTS,
    }.items()
}
"""Scripts by the names of the calls that run them."""
