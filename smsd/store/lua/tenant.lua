-- tenant: settings of tenants that were made by command or API, and what the scripts read of them, in one step.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, revision of the config that they were judged by, then for each tenant: its name, its
--        settings as text ('' to drop them), its compiled limits ('' where only the defaults hold)
-- Output the version of all settings that this made; -1: another config is in force by now, and nothing was done
--#include base
local refused = begin()
if refused then return refused end
if (call('HGET', K.conf, 'revision') or '0') ~= ARGV[4] then return -1 end
local DROPPED_MAX = 10000
local version = call('HINCRBY', K.meta, 'tenants', 1)
local packed = call('HGET', K.conf, 'classes')
local classes = packed and unpack_msg(packed) or {}
for i = 5, #ARGV, 3 do
  local name, settings, limits = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if settings == '' then
    call('HDEL', K.tenant, name)
  else
    call('HSET', K.tenant, name, settings)
  end
  if limits == '' then
    call('HDEL', K.conf, 't:' .. name)
  else
    call('HSET', K.conf, 't:' .. name, limits)
  end
  call('ZADD', K.tenantat, version, name)
  -- Who waits at a limit that is another now is looked at again.
  call('ZADD', K.wake, 'XX', int(now), 't:' .. name)
  for _, c in ipairs(classes) do call('ZADD', K.wake, 'XX', int(now), 'c:' .. name .. '|' .. c[1]) end
end
-- Of dropped tenants some are remembered, for processes that have not heard of it; who has missed more reads all anew.
if call('ZCARD', K.tenantat) - call('HLEN', K.tenant) > DROPPED_MAX then
  local oldest = call('ZRANGE', K.tenantat, 0, 99, 'WITHSCORES')
  for i = 1, #oldest, 2 do
    if call('HEXISTS', K.tenant, oldest[i]) == 0 then
      call('ZREM', K.tenantat, oldest[i])
      call('HSET', K.meta, 'tenants:floor', oldest[i + 1])
    end
  end
end
for _, field in ipairs(call('HKEYS', K.meta)) do
  local route = match(field, '^sleep:(.*)$')
  if route and call('HDEL', K.meta, field) == 1 then call('PUBLISH', K.bell, route) end
end
call('PUBLISH', K.bell, 'config')
return version
