-- bell: wakes who sleeps on a route, when something of it became ready. It names the process that went to sleep last:
-- that one looks at once, the others a little later, in case it does not; else each message would wake all.
local function ring(route)
  local who = call('HGET', K.meta, 'sleep:' .. route)
  if not who then return end
  call('HDEL', K.meta, 'sleep:' .. route)
  call('PUBLISH', K.bell, route .. '\t' .. who)
end

local function ring_ready()
  local rung = {}
  for lane, L in pairs(lanes) do
    if L and L[L_STATUS] == 'r' and not rung[parts(lane).route] then
      rung[parts(lane).route] = true
      ring(parts(lane).route)
    end
  end
end
