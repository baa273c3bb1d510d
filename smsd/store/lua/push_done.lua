-- push_done: what pushes came to: over, or due again. Who lost a push meanwhile, for its lease ended, changes nothing.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, msgpack list of {member, due_us (0: over), tries}
-- Output how many were still the caller's
--#include base push
local refused = begin()
if refused then return refused end
local mine = 0
for _, row in ipairs(unpack_msg(ARGV[4])) do
  if call('ZREM', K.push, row[1]) == 1 then
    mine = mine + 1
    if row[2] > 0 then
      local receiver, entry, first = match(row[1], '^(%Z*)%z%d+%z(%Z*)%z%d+%z(%d+)$')
      call('ZADD', K.push, 0, member(receiver, row[2], entry, row[3], first))
    end
  end
end
return mine
