-- rewake: after limits changed, lets every limit with somebody waiting be looked at again, a page at a time.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, cursor
-- Output the next cursor; "0": done
--#include base
local refused = begin()
if refused then return refused end
local page = call('ZSCAN', K.wake, ARGV[4], 'COUNT', 200)
for i = 1, #page[2], 2 do
  if tonumber(page[2][i + 1]) > now then call('ZADD', K.wake, 'XX', int(now), page[2][i]) end
end
if page[1] == '0' then
  for _, field in ipairs(call('HKEYS', K.meta)) do
    local route = match(field, '^sleep:(.*)$')
    if route and call('HDEL', K.meta, field) == 1 then call('PUBLISH', K.bell, route) end
  end
end
return page[1]
