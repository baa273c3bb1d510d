-- publish: puts one revision of the shared config in force: what the scripts read of it, whole, and its source.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, hash, source, version of the tenants' settings that the fields were compiled with,
--        the revision that K.conf was read at, then its fields that changed since as name, value pairs, value '' to
--        remove
-- Output the revision now in force. Publishing the hash that is in force changes nothing. -1: a tenant's settings or
--        the config have changed meanwhile, and nothing was done
--#include base
local refused = begin()
if refused then return refused end
local revision = tonumber(call('HGET', K.conf, 'revision') or 0)
if call('HGET', K.conf, 'hash') == ARGV[4] then return revision end
if (call('HGET', K.meta, 'tenants') or '0') ~= ARGV[6] or int(revision) ~= ARGV[7] then return -1 end
for i = 8, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    call('HDEL', K.conf, ARGV[i])
  else
    call('HSET', K.conf, ARGV[i], ARGV[i + 1])
  end
end
call('HSET', K.conf, 'revision', revision + 1, 'hash', ARGV[4], 'source', ARGV[5])
call('PUBLISH', K.bell, 'config')
return revision + 1
