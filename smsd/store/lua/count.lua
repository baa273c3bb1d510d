-- count: how many messages are queued under a name, as far as one bounded walk comes. Changes nothing.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, 'lanes' or 'due', where to begin and where to end (bounds of ZRANGEBYLEX), tenant,
--        class, campaign ('': any), most (lanes or members looked at)
-- Output {how many, where to go on ('': that was all)}
--#include base
local from, to, tenant, class, campaign, most = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9], tonumber(ARGV[10])

local function wanted(lane)
  local t, c, k = match(lane, '^([^|]*)|([^|]*)|[^|]*|[^|]*|([^|]*)|')
  return (tenant == '' or t == tenant) and (class == '' or c == class) and (campaign == '' or k == campaign)
end

local n = 0
if ARGV[4] == 'lanes' then -- from lane to lane, whatever lies in each
  for _ = 1, most do
    local first = call('ZRANGEBYLEX', K.lanes, from, to, 'LIMIT', 0, 1)[1]
    if not first then return { n, '' } end
    local lane = sub(first, 1, string.find(first, '\0', 1, true) - 1)
    if wanted(lane) then n = n + call('ZLEXCOUNT', K.lanes, '[' .. lane .. '\0', '(' .. lane .. '\1') end
    from = '[' .. lane .. '\1'
  end
  return { n, from }
end

local found = call('ZRANGEBYLEX', K.due, from, to, 'LIMIT', 0, most)
local mine = {}
for _, member in ipairs(found) do
  local key = match(member, '^%Z*%z%Z*%z(.*)$')
  if tenant == '' or sub(key, 1, #tenant + 1) == tenant .. '/' then mine[#mine + 1] = key end
end
if campaign == '' then
  n = #mine
elseif #mine > 0 then
  for _, packed in ipairs(call('HMGET', K.msg, unpack(mine))) do
    if packed and wanted(unpack_msg(packed)[LANE]) then n = n + 1 end
  end
end
return { n, #found == most and '(' .. found[#found] or '' }
