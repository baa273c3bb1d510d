-- publish: puts one revision of the shared config in force: what the scripts read of it, whole, and its source.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, hash, source, then the fields of K.conf that changed as name, value pairs, value
--        '' to remove
-- Output the revision now in force. Publishing the hash that is in force changes nothing.
--#include base
local refused = begin()
if refused then return refused end
local revision = tonumber(call('HGET', K.conf, 'revision') or 0)
if call('HGET', K.conf, 'hash') == ARGV[4] then return revision end
for i = 6, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    call('HDEL', K.conf, ARGV[i])
  else
    call('HSET', K.conf, ARGV[i], ARGV[i + 1])
  end
end
call('HSET', K.conf, 'revision', revision + 1, 'hash', ARGV[4], 'source', ARGV[5])
call('PUBLISH', K.bell, 'config')
return revision + 1
