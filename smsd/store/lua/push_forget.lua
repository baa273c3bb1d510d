-- push_forget: drops what is kept for receivers that the config in force does not name, in bounded steps, and the group
-- of readers where it names none. Only for a caller who has that config.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, hash of the caller's config, group, most (pushes dropped at once), receivers..
-- Output how many pushes, gaps and marks were dropped
--#include base push
local refused = begin()
if refused then return refused end
if call('HGET', K.conf, 'hash') ~= ARGV[4] then return 0 end
local known, dropped, most = {}, 0, tonumber(ARGV[6])
for i = 7, #ARGV do known[ARGV[i]] = true end
local from = '-'
for _ = 1, #ARGV do -- from receiver to receiver, whatever is kept for each
  local first = call('ZRANGEBYLEX', K.push, from, '+', 'LIMIT', 0, 1)[1]
  if not first then break end
  local receiver = match(first, '^%Z*')
  from = '[' .. receiver .. '\1'
  if not known[receiver] then
    local gone = call('ZRANGEBYLEX', K.push, '[' .. receiver .. '\0', '(' .. receiver .. '\1', 'LIMIT', 0, most)
    for _, one in ipairs(gone) do call('ZREM', K.push, one) end
    dropped = dropped + #gone
  end
end
for _, kind in ipairs({ K.gap, K.shut }) do
  for _, field in ipairs(call('HKEYS', kind)) do
    if not known[match(field, '^[^|]*')] then dropped = dropped + call('HDEL', kind, field) end
  end
end
if #ARGV == 6 and call('EXISTS', K.events) == 1 then
  dropped = dropped + call('XGROUP', 'DESTROY', K.events, ARGV[5])
end
return dropped
