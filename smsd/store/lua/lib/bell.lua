-- bell: wakes processes that sleep on a route, when something of it became ready or room became free.
local function ring(route)
  if call('HDEL', K.meta, 'sleep:' .. route) == 1 then call('PUBLISH', K.bell, route) end
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
