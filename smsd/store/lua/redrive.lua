-- redrive: puts dead entries back into the inbox that they came from, each in the step that takes it off the dead.
-- KEYS   every kind of keys.py, then the inbox stream
-- ARGV   now_us, wall_us, step_us, ids of dead entries of that inbox
-- Output one word per id: redriven; gone (somebody else has redriven or purged it); other (it is not of that inbox)
-- The entry gets a new id; its fields are those that were written, in their order, also such as come twice.
--#include base
local inbox, out = KEYS[#KEYS], {}
for i = 4, #ARGV do
  local entry = call('XRANGE', K.dead, ARGV[i], ARGV[i])[1]
  local stream, fields = '', {}
  for at = 1, entry and #entry[2] or 0, 2 do
    local name, value = entry[2][at], entry[2][at + 1]
    if name == 'stream' then stream = value end
    if sub(name, 1, 3) == 'in.' then
      fields[#fields + 1] = sub(name, 4)
      fields[#fields + 1] = value
    end
  end
  if not entry then
    out[#out + 1] = 'gone'
  elseif stream ~= inbox or #fields == 0 then
    out[#out + 1] = 'other'
  else
    call('XADD', inbox, '*', unpack(fields))
    call('XDEL', K.dead, ARGV[i])
    out[#out + 1] = 'redriven'
  end
end
return out
