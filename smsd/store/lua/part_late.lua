-- part_late: texts whose missing parts were waited for long enough, claimed by one process for a while, and closed:
-- what comes later under the same group is a text of its own, so that nothing is added to what is being written.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, most, how long nobody else gets them in us
-- Output name of a closed group (! group \0 when), msgpack of {of how many, {{number, provider_id, body}..}}, name, ..
--#include base
local refused = begin()
if refused then return refused end
local out = {}
for _, group in ipairs(call('ZRANGEBYSCORE', K.partsat, '-inf', int(now), 'LIMIT', 0, tonumber(ARGV[4]))) do
  local packed, closed = call('HGET', K.parts, group), group
  if packed and sub(group, 1, 1) ~= '!' then
    closed = '!' .. group .. '\0' .. int(now)
    call('HSET', K.parts, closed, packed)
    call('HDEL', K.parts, group)
  end
  if closed ~= group or not packed then call('ZREM', K.partsat, group) end
  if packed then
    call('ZADD', K.partsat, int(now + tonumber(ARGV[5])), closed)
    out[#out + 1] = closed
    out[#out + 1] = packed
  end
end
return out
