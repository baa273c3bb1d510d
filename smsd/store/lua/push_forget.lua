-- push_forget: drops what is kept for receivers that are there no more, in bounded steps, and the group of readers
-- where there is none. Only for a caller who has the config in force; tenants' own receivers are those of K.hook.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, hash of the caller's config, group, most (receivers looked at, and pushes of each
--        that are dropped at once), receiver behind which to begin ('': at the first), receivers of the config..
-- Output {where to go on ('': that was all), how many pushes, gaps and marks were dropped}
--#include base push
local refused = begin()
if refused then return refused end
if call('HGET', K.conf, 'hash') ~= ARGV[4] then return { '', 0 } end
local named, dropped, most = {}, 0, tonumber(ARGV[6])
for i = 8, #ARGV do named[ARGV[i]] = true end

local function known(receiver)
  local tenant = match(receiver, '^tenant:(.*)$')
  return named[receiver] or (tenant and call('HEXISTS', K.hook, tenant) == 1)
end

local from, last = ARGV[7] == '' and '-' or '[' .. ARGV[7] .. '\1', ''
for _ = 1, most do -- from receiver to receiver, whatever is kept for each
  local first = call('ZRANGEBYLEX', K.push, from, '+', 'LIMIT', 0, 1)[1]
  if not first then
    last = ''
    break
  end
  local receiver = match(first, '^%Z*')
  last = receiver
  from = '[' .. receiver .. '\1'
  if not known(receiver) then
    local gone = call('ZRANGEBYLEX', K.push, '[' .. receiver .. '\0', '(' .. receiver .. '\1', 'LIMIT', 0, most)
    for _, one in ipairs(gone) do call('ZREM', K.push, one) end
    dropped = dropped + #gone
  end
end
for _, kind in ipairs({ K.gap, K.shut }) do
  for _, field in ipairs(call('HKEYS', kind)) do
    if not known(match(field, '^[^|]*')) then dropped = dropped + call('HDEL', kind, field) end
  end
end
if #ARGV == 7 and call('EXISTS', K.hook) == 0 and call('EXISTS', K.events) == 1 then
  dropped = dropped + call('XGROUP', 'DESTROY', K.events, ARGV[5])
end
return { last, dropped }
