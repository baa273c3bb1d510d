-- push_fill: keeps for a receiver the next events of a gap, and moves the gap's cursor, in one step; only where the gap
-- is as the caller has seen it, and there is room.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, receiver, field of a replay ('': the receiver's gap), the gap as it was seen, then
--        start, cursor, upto and rest (of a replay) as they are now, msgpack list of entries, 1 if that was all there
--        is, group, most
-- Output 1 when it was done
--#include base push
local refused = begin()
if refused then return refused end
local receiver, replay, seen = ARGV[4], ARGV[5] ~= '', ARGV[6]
local start, cursor, upto, rest, ended = ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[12] == '1'
local field = replay and ARGV[5] or receiver
if call('HGET', K.gap, field) ~= seen then return 0 end
if call('HEXISTS', K.shut, receiver) == 1 or held(receiver) >= tonumber(ARGV[14]) then return 0 end
for _, entry in ipairs(unpack_msg(ARGV[11])) do
  call('ZADD', K.push, 0, member(receiver, replay and now or time_of(entry), entry, 0, 0))
end
if ended and upto == '+' then -- from here on the group's readers keep what comes
  upto = '0-0'
  for _, row in ipairs(call('XINFO', 'GROUPS', K.events)) do
    local told = {}
    for i = 1, #row, 2 do told[row[i]] = row[i + 1] end
    if told.name == ARGV[13] then upto = told['last-delivered-id'] end
  end
  ended = order(cursor) > order(upto)
end
if ended and replay then
  call('HDEL', K.gap, field)
else
  call('HSET', K.gap, field, start .. ' ' .. (ended and '-' or cursor) .. ' ' .. upto .. rest)
end
return 1
