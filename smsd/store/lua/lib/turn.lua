-- turn: routes take turns at the limit of a provider that several of them use, for each looks by itself: a route whose
-- next message that limit refused is noted, and messages of other routes wait until it has had its turn.
-- K.meta turns:p:<provider> is a packed list of {route, since, opens, till}: when it was refused first, when the limit
-- opens for its message, and how long it is waited for. Each look of that route renews it.
local turns = { known = {}, LATE_US = 50000, LOOK_US = 1200000 } -- a route looks at least every second

-- Those at a provider that are still waited for.
function turns.of(scope)
  local list = turns.known[scope]
  if not list then
    list = {}
    local packed = call('HGET', K.meta, 'turns:' .. scope)
    for _, one in ipairs(packed and unpack_msg(packed) or {}) do
      if one[4] > now then list[#list + 1] = one end
    end
    turns.known[scope] = list
  end
  return list
end

-- When the limit opens for a message of another route that was refused before this one; nil: nobody comes first.
-- since: when this message was first refused at it (0: not yet); what its route has waited for counts for it.
function turns.before(scope, route, since)
  local list, first = turns.of(scope), nil
  if #list == 0 then return nil end
  if since == 0 then since = now end
  for i = 1, #list do
    local one = list[i]
    if one[1] == route then
      since = min(since, one[2])
    elseif not first or one[2] < first[2] then
      first = one
    end
  end
  return first and first[2] < since and first[3] or nil
end

-- The route has had its turn, or (opens) waits for it.
function turns.note(scope, route, opens)
  local list = turns.of(scope)
  if not opens and #list == 0 then return end
  local others, since = {}, now
  for i = 1, #list do
    if list[i][1] == route then since = list[i][2] else others[#others + 1] = list[i] end
  end
  if not opens and #others == #list then return end
  if opens then
    others[#others + 1] = { route, since, opens, max(now, min(opens, now + turns.LOOK_US)) + turns.LATE_US }
  end
  turns.known[scope] = others
  call('HSET', K.meta, 'turns:' .. scope, pack(others))
end
