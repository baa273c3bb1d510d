-- part_drop: forgets a text's parts once the text is written, unless another part has come meanwhile.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, group, the parts as they were written (msgpack)
-- Output 1 where they are forgotten, else 0
--#include base
local refused = begin()
if refused then return refused end
if call('HGET', K.parts, ARGV[4]) ~= ARGV[5] then return 0 end
call('HDEL', K.parts, ARGV[4])
call('ZREM', K.partsat, ARGV[4])
return 1
