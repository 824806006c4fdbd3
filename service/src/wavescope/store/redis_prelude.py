"""First lines of all Lua scripts of the Redis store: the prefix of its keys, and the time by which leases end."""

from __future__ import annotations

PRELUDE = """
local p = ARGV[1]

local function now()
    if ARGV[2] ~= '' then return tonumber(ARGV[2]) end
    local time = redis.call('TIME')
    return tonumber(time[1]) + tonumber(time[2]) / 1000000
end

-- tostring keeps 14 digits only
local function exact(number) return string.format('%.17g', number) end

-- Workers renew their leases far more often than every so many seconds.
local LONG = 900

-- Returns the time. If the server's clock was set since the last call, leases and due times move with it, so that no
-- lease expires early or late for that. After a true pause leases last as much longer as was left of them.
local function tick()
    local time = now()
    local gap = time - tonumber(redis.call('GET', p .. 'clock') or time)
    redis.call('SET', p .. 'clock', exact(time))
    if gap >= -1 and gap <= LONG then return time end
    for _, name in ipairs({'leases', 'later', 'monitor-leases'}) do
        local members = redis.call('ZRANGE', p .. name, 0, -1, 'WITHSCORES')
        for i = 1, #members, 2 do
            redis.call('ZADD', p .. name, exact(tonumber(members[i + 1]) + gap), members[i])
        end
    end
    return time
end
"""
