-- lane: lanes, flows and the places where lanes wait. Every move between ready, waiting, paused and empty is here.
-- A lane is tenant|class|route|sender|campaign|providers; its first three parts name its flow. L, a lane's state, is
-- packed as LaneState in record.py has it.
local SCALE = 5040 -- of the fair tags: 1/weight is whole for weights to 10; tags stay below 2^53 for years
local lanes, lanes_changed, flows, virtual, fronts = {}, {}, {}, {}, {}
local first_ready = {} -- flow -> its first member of K.ready, false: none, nil: look
local parts_of, arrivals, classes = {}, {}, nil

local function parts(lane)
  local p = parts_of[lane]
  if not p then
    local t, c, r, s, k, b = match(lane, '^([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)$')
    p = { tenant = t, class = c, route = r, sender = s, campaign = k, bound = b, flow = t .. '|' .. c .. '|' .. r }
    parts_of[lane] = p
  end
  return p
end

-- {name, weight, share of the route's room in 1/1000} of each class, heavier first, as the config published them.
local function all_classes()
  if not classes then
    local packed = call('HGET', K.conf, 'classes')
    classes = packed and unpack_msg(packed) or {}
  end
  return classes
end

-- What an order at a limit begins with: the heavier class first.
local ranks = {}

local function rank_of(class)
  if not ranks[class] then
    ranks[class] = '998'
    for _, c in ipairs(all_classes()) do
      if c[1] == class then ranks[class] = fmt('%03d', 999 - c[2]) end
    end
  end
  return ranks[class]
end

local function lane_state(lane)
  local L = lanes[lane]
  if L == nil then
    local packed = call('HGET', K.lane, lane)
    L = packed and unpack_row(packed, 1) or false
    lanes[lane] = L
  end
  return L
end

local function first_of(key, prefix)
  return call('ZRANGEBYLEX', key, '[' .. prefix, '(' .. prefix .. '\255', 'LIMIT', 0, 1)[1]
end

-- The virtual time or finish tag kept under `name` ('V|route|class', 'V|route', 'F|route|class').
local function tag(name)
  local v = virtual[name]
  if not v then
    v = { tonumber(call('HGET', K.tags, name) or 0), false }
    virtual[name] = v
  end
  return v[1]
end

local function set_tag(name, value)
  virtual[name] = { value, true }
end

-- A flow's {finish tag, start tag or -1 when nothing of it is ready}.
local function flow_tags(flow)
  local f = flows[flow]
  if not f then
    local finish, start = match(call('HGET', K.flow, flow) or '0 -1', '^(%S+) (%S+)$')
    f = { tonumber(finish), tonumber(start), false }
    flows[flow] = f
  end
  return f
end

local function flow_member(flow, start)
  local tenant, class, route = match(flow, '^([^|]*)|([^|]*)|(.*)$')
  return route .. '\0' .. class .. '\0' .. pad(start) .. '\0' .. tenant
end

local function activate(flow)
  local f = flow_tags(flow)
  if f[2] >= 0 then return end
  local _, class, route = match(flow, '^([^|]*)|([^|]*)|(.*)$')
  f[2], f[3] = max(tag('V|' .. route .. '|' .. class), f[1]), true
  call('ZADD', K.flows, 0, flow_member(flow, f[2]))
end

local function deactivate(flow)
  local f = flow_tags(flow)
  if f[2] < 0 then return end
  call('ZREM', K.flows, flow_member(flow, f[2]))
  f[2], f[3] = -1, true
end

local function make_ready(lane, L)
  L[L_STATUS], L[L_SCOPE] = 'r', ''
  lanes_changed[lane] = true
  local flow = parts(lane).flow
  call('ZADD', K.ready, 0, flow .. '\0' .. L[L_HEAD] .. '\0' .. lane)
  first_ready[flow] = nil
  activate(flow)
end

local function first_ready_of(flow)
  if first_ready[flow] == nil then first_ready[flow] = first_of(K.ready, flow .. '\0') or false end
  return first_ready[flow]
end

local function leave_ready(lane, L)
  local flow = parts(lane).flow
  call('ZREM', K.ready, flow .. '\0' .. L[L_HEAD] .. '\0' .. lane)
  first_ready[flow] = nil
  if not first_ready_of(flow) then deactivate(flow) end
end

local somebody_waits -- anywhere; nil: look

-- The order of whoever waits first at a scope, and its member; nil when nobody does. A hold whose time is over is
-- dropped on the way.
local function front(scope)
  if somebody_waits == nil then somebody_waits = call('EXISTS', K.wait) == 1 end
  if not somebody_waits then return nil end
  local known = fronts[scope]
  while known == nil do
    local member = first_of(K.wait, scope .. '\0')
    local rest = member and sub(member, #scope + 2)
    local till = rest and match(rest, '^%d+%z!(%d+)')
    if not member then
      known = false
    elseif not till or tonumber(till) > now then
      known = { sub(rest, 1, 19), member }
    else
      call('ZREM', K.wait, member)
    end
  end
  fronts[scope] = known
  if known then return known[1], known[2] end
end

local function wake_by(scope, at)
  local known = call('ZSCORE', K.wake, scope)
  if not known or at < tonumber(known) then call('ZADD', K.wake, int(at), scope) end
end

local function order_of(lane, L)
  return rank_of(parts(lane).class) .. pad(L[L_REFUSED])
end

local function drop_holds(L)
  for _, member in ipairs(L[L_HOLDS]) do
    local scope = match(member, '^(%Z*)')
    call('ZREM', K.wait, member)
    fronts[scope] = nil
    if first_of(K.wait, scope .. '\0') then wake_by(scope, now) end
  end
  L[L_HOLDS] = {}
end

-- Whether a place at a limit is kept until `at`: for a second, or while the limit would let two such messages through.
local KEPT_US = 1000000

local function keeps(scope, cost, at)
  if at <= now + KEPT_US then return true end
  for _, def in ipairs(defined(scope)) do
    if at <= now + floor(2 * (def[1] == 1 and cost or 1) * def[3] / def[2]) then return true end
  end
  return false
end

-- A lane that a limit let through and that `scope` refuses until `at` keeps its place at the former until then, unless
-- those behind it would wait for too long: they are looked at now, and it comes back with its age.
local function keep_places(lane, L, scope, at)
  local passed = { L[L_VIA] }
  for _, member in ipairs(L[L_HOLDS]) do
    call('ZREM', K.wait, member)
    passed[#passed + 1] = match(member, '^(%Z*)')
  end
  L[L_VIA], L[L_HOLDS] = '', {}
  local order = order_of(lane, L)
  for _, via in ipairs(passed) do
    if via ~= '' then fronts[via] = nil end
    if via ~= '' and via ~= scope and keeps(via, L[L_COST], at) then
      local member = via .. '\0' .. order .. '\0!' .. pad(at) .. '\0' .. lane
      call('ZADD', K.wait, 0, member)
      somebody_waits = true
      L[L_HOLDS][#L[L_HOLDS] + 1] = member
    elseif via ~= '' and via ~= scope and first_of(K.wait, via .. '\0') then
      wake_by(via, now)
    end
  end
end

-- Of one flow one place at a limit: that of its waiting lane with the earliest deadline, never later than one it had.
local function take_place(scope, flow, order)
  local had = call('HGET', K.place, scope .. '\0' .. flow)
  if had and had <= order then return end
  if had then call('ZREM', K.wait, scope .. '\0' .. had .. '\0' .. flow) end
  call('ZADD', K.wait, 0, scope .. '\0' .. order .. '\0' .. flow)
  somebody_waits = true
  call('HSET', K.place, scope .. '\0' .. flow, order)
  fronts[scope] = nil
end

local function give_place(scope, flow)
  local had = call('HGET', K.place, scope .. '\0' .. flow)
  if not had then return end
  call('ZREM', K.wait, scope .. '\0' .. had .. '\0' .. flow)
  call('HDEL', K.place, scope .. '\0' .. flow)
  fronts[scope] = nil
  if not first_of(K.wait, scope .. '\0') then call('ZREM', K.wake, scope) end
end

local refusals = { t = 0, c = 0, s = 0, p = 0 } -- by the kind of the limit, for the caller's metrics

-- A lane, ready no more, whose head a limit refused goes to wait there until `at`, at the earliest.
local function park(lane, L, scope, at)
  if L[L_REFUSED] == 0 then L[L_REFUSED] = now end
  L[L_STATUS], L[L_SCOPE] = 'w', scope
  refusals[sub(scope, 1, 1)] = refusals[sub(scope, 1, 1)] + 1
  keep_places(lane, L, scope, at)
  lanes_changed[lane] = true
  local flow = parts(lane).flow
  call('ZADD', K.park, 0, scope .. '\0' .. flow .. '\0' .. L[L_HEAD] .. '\0' .. lane)
  take_place(scope, flow, order_of(lane, L))
  wake_by(scope, at)
end

-- Whether another lane of its flow waits on at that limit.
local function unpark(lane, L)
  local prefix = L[L_SCOPE] .. '\0' .. parts(lane).flow .. '\0'
  call('ZREM', K.park, prefix .. L[L_HEAD] .. '\0' .. lane)
  return first_of(K.park, prefix) ~= nil
end

local function pause_lane(lane, L, what)
  L[L_STATUS], L[L_SCOPE] = 'p', what
  lanes_changed[lane] = true
  call('ZADD', K.paused, 0, what .. '\0' .. lane)
end

local function drop_lane(lane, L)
  if L[L_STATUS] == 'r' then
    leave_ready(lane, L)
  elseif L[L_STATUS] == 'w' then
    if not unpark(lane, L) then give_place(L[L_SCOPE], parts(lane).flow) end
    if first_of(K.wait, L[L_SCOPE] .. '\0') then wake_by(L[L_SCOPE], now) end
  else
    call('ZREM', K.paused, L[L_SCOPE] .. '\0' .. lane)
  end
  drop_holds(L)
  zset(K.dline, lane, false)
  hset(K.lane, lane, false)
  lanes[lane], lanes_changed[lane] = false, nil
end

-- The lane's head is another message now: its first refusal and its kept places are the old head's.
local function change_head(lane, L, head, cost)
  drop_holds(L)
  L[L_HEAD], L[L_REFUSED], L[L_VIA], L[L_COST] = head, L[L_STATUS] == 'w' and now or 0, '', cost
  lanes_changed[lane] = true
  zset(K.dline, lane, tonumber(sub(head, 1, 16)))
end

-- The same, and the indexes follow.
local function set_head(lane, L, head, cost)
  local flow = parts(lane).flow
  if L[L_STATUS] == 'r' then
    call('ZREM', K.ready, flow .. '\0' .. L[L_HEAD] .. '\0' .. lane)
    call('ZADD', K.ready, 0, flow .. '\0' .. head .. '\0' .. lane)
    first_ready[flow] = nil
  elseif L[L_STATUS] == 'w' then
    call('ZREM', K.park, L[L_SCOPE] .. '\0' .. flow .. '\0' .. L[L_HEAD] .. '\0' .. lane)
    call('ZADD', K.park, 0, L[L_SCOPE] .. '\0' .. flow .. '\0' .. head .. '\0' .. lane)
    wake_by(L[L_SCOPE], now)
  end
  change_head(lane, L, head, cost)
end

local function head_of(m)
  return pad(m[DEADLINE]) .. fmt('%09x', m[ARRIVAL])
end

local function lane_member(key, m, head)
  return m[LANE] .. '\0' .. head .. '\0' .. match(key, '/(.*)$')
end

-- Puts a message into its lane. Written at once for one; admit gathers many and calls flush_arrivals.
local function enqueue(key, m)
  m[DUE] = 0
  if m[STATE] ~= 'queued' then set_state(key, m, 'queued') end
  changed[key] = true
  local lane, head, n = m[LANE], head_of(m), #arrivals
  arrivals[n + 1], arrivals[n + 2] = 0, lane_member(key, m, head)
  local L = lane_state(lane)
  if not L then
    L = { 'r', head, '', 0, '', {}, m[COST] }
    lanes[lane] = L
    make_ready(lane, L)
    zset(K.dline, lane, m[DEADLINE])
  elseif head < L[L_HEAD] then
    set_head(lane, L, head, m[COST])
  end
end

local function flush_arrivals()
  call_in_chunks('ZADD', K.lanes, arrivals)
  arrivals = {}
end

-- After heads were taken out of K.lanes: the next one leads, or the lane is gone.
local function advance(lane)
  local L = lane_state(lane)
  if not L then return end
  flush_arrivals()
  local member = first_of(K.lanes, lane .. '\0')
  if not member then
    drop_lane(lane, L)
  else
    local head = sub(member, #lane + 2, #lane + 26)
    if head ~= L[L_HEAD] then set_head(lane, L, head, 0) end
  end
end

local function due_member(key, m)
  return m[CLASS] .. '\0' .. pad(m[DUE]) .. '\0' .. key
end

local function put_due(key, m, at)
  if m[STATE] ~= 'queued' then set_state(key, m, 'queued') end
  m[DUE] = min(at, m[DEADLINE])
  changed[key] = true
  call('ZADD', K.due, 0, due_member(key, m))
end

-- Takes a queued message out of wherever it waits (lane or due set).
local function withdraw(key, m)
  if m[DUE] > 0 then
    call('ZREM', K.due, due_member(key, m))
    m[DUE] = 0
    return
  end
  flush_arrivals()
  local head = head_of(m)
  call('ZREM', K.lanes, lane_member(key, m, head))
  local L = lane_state(m[LANE])
  if L and L[L_HEAD] == head then advance(m[LANE]) end
end

local function flush_lanes()
  flush_arrivals()
  for lane in pairs(lanes_changed) do
    if lanes[lane] then hset(K.lane, lane, pack(lanes[lane])) end
  end
  lanes_changed = {}
  for flow, f in pairs(flows) do
    if f[3] then hset(K.flow, flow, int(f[1]) .. ' ' .. int(f[2])) end
    f[3] = false
  end
  for name, v in pairs(virtual) do
    if v[2] then hset(K.tags, name, int(v[1])) end
    v[2] = false
  end
end

local function flush()
  flush_lanes()
  flush_limits()
  flush_records()
end
