-- push_who: for whom something is kept that is due, from receiver to receiver, however much each has. Changes nothing.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, receiver behind which to begin ('': at the first), most (receivers looked at)
-- Output {where to go on ('': that was all), receivers..}
--#include base push
local refused = begin()
if refused then return refused end
local from, due, out = ARGV[4] == '' and '-' or '[' .. ARGV[4] .. '\1', pad(now), { '' }
for _ = 1, tonumber(ARGV[5]) do
  local first = call('ZRANGEBYLEX', K.push, from, '+', 'LIMIT', 0, 1)[1]
  if not first then
    out[1] = ''
    return out
  end
  local receiver, at = match(first, '^(%Z*)%z(%d+)')
  if at <= due then out[#out + 1] = receiver end
  from = '[' .. receiver .. '\1'
  out[1] = receiver
end
return out
