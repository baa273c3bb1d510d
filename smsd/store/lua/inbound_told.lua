-- inbound_told: what a text is told with, and so its shard, which are decided once: whoever asks first, decides. Of
-- shard 0, for several processes may have one text, and more be sent to its person before its provider repeats it.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, provider/provider_id, what the caller would tell, how long one is a repeat in us
-- Output what is told
--#include base
local refused = begin()
if refused then return refused end
for _, old in ipairs(call('ZRANGEBYSCORE', K.toldat, '-inf', int(now), 'LIMIT', 0, 100)) do
  call('HDEL', K.told, old)
  call('ZREM', K.toldat, old)
end
local known = call('HGET', K.told, ARGV[4])
if known then return known end
call('HSET', K.told, ARGV[4], ARGV[5])
call('ZADD', K.toldat, int(now + tonumber(ARGV[6])), ARGV[4])
return ARGV[5]
