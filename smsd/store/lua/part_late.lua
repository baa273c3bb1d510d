-- part_late: texts whose missing parts were waited for long enough, claimed by one process for a while.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, most, how long nobody else gets them in us
-- Output group, msgpack of {of how many, {{number, provider_id, body}..}}, group, ..
--#include base
local refused = begin()
if refused then return refused end
local out = {}
for _, group in ipairs(call('ZRANGEBYSCORE', K.partsat, '-inf', int(now), 'LIMIT', 0, tonumber(ARGV[4]))) do
  local packed = call('HGET', K.parts, group)
  if packed then
    call('ZADD', K.partsat, int(now + tonumber(ARGV[5])), group)
    out[#out + 1] = group
    out[#out + 1] = packed
  else
    call('ZREM', K.partsat, group)
  end
end
return out
