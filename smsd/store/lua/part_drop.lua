-- part_drop: forgets a text's parts once the text is written, unless the group is another text's by now; a repeat of
-- one of them is then known as such.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, group, the parts as they were written (msgpack), provider, how long one is a repeat
--        in us
-- Output 1 where they are forgotten, else 0
--#include base
local refused = begin()
if refused then return refused end
if call('HGET', K.parts, ARGV[4]) ~= ARGV[5] then return 0 end
call('HDEL', K.parts, ARGV[4])
call('ZREM', K.partsat, ARGV[4])
call('ZREMRANGEBYSCORE', K.heard, '-inf', int(now))
for _, one in ipairs(unpack_msg(ARGV[5])[2]) do
  if one[2] ~= '' then call('ZADD', K.heard, int(now + tonumber(ARGV[7])), ARGV[6] .. '/' .. one[2]) end
end
return 1
