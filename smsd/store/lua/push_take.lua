-- push_take: gives a process pushes that are due, up to its room for each receiver; others leave them alone meanwhile.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, msgpack list of {receiver, room}, lease_us
-- Output msgpack list, in the order asked, of {due after that, kept in all, list of members}
--#include base push
local refused = begin()
if refused then return refused end
local lease = tonumber(ARGV[5])
local out = {}
for i, ask in ipairs(unpack_msg(ARGV[4])) do
  local receiver, room, mine = ask[1], ask[2], {}
  local from, to = '[' .. receiver .. '\0', '(' .. receiver .. '\0' .. pad(now + 1)
  local shut = call('HEXISTS', K.shut, receiver) == 1
  if not shut then
    for _, old in ipairs(call('ZRANGEBYLEX', K.push, from, to, 'LIMIT', 0, room)) do
      local entry, tries, first = match(old, '^%Z*%z%d+%z(%Z*)%z(%d+)%z(%d+)$')
      local new = member(receiver, now + lease, entry, tries, first == '0' and int(now) or first)
      call('ZREM', K.push, old)
      call('ZADD', K.push, 0, new)
      mine[#mine + 1] = new
    end
  end
  out[i] = { shut and 0 or call('ZLEXCOUNT', K.push, from, to), held(receiver), mine }
end
return pack(out)
