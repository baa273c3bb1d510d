-- lease: gives one process up to n messages of one route that it can start at once; each is charged to every limit that
-- applies, all or none. Three levels: fair over classes, fair over flows, lanes by the deadline of their heads.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, msgpack of {route, n, request, process, span_us, offers {name, weight, room},
--        seed, looks, q, ahead_us}
--        request names this call: asked again with it (a lost reply), the same messages come back
--        what a limit admits within ahead_us is leased now, charged for its own instant, and starts then
-- Output {msgpack of {again, wake_us (0: nothing known), revision, {{provider, attempt, fence, entered, deadline,
--        refused, flags, tries, bound, punctual 0/1, start_us, since_us, key_until_us}..}, ended, refused by limits
--        of kind t, c, s, p, charged_us (now, or when the request first came)}, then each one's message (opaque bytes)}
--        ended = {class \31 state \31 reason = how many ended so}
--#include base limit lane wait optout outcome bell turn
local refused_call = begin()
if refused_call then return refused_call end
local ask = unpack_msg(ARGV[4])
local route, most, request, process, span, offers, seed, looks, q =
  ask[1], ask[2], ask[3], ask[4], ask[5], ask[6], ask[7], ask[8], ask[9]
local BEHIND_US = 50000 -- how much later than the one who looks first the others look
local taken, heads, rooms = {}, {}, {}
ahead = ask[10]
local horizon, since = now + ahead, now -- since: when these messages were charged
local fence, stop, wake_at, again = nil, false, nil, false
seed = seed % 2147483646 + 1
local in_flight, refused_at, punctual = {}, {}, {}
local shares, virtual_time = {}, 'V|' .. route

local pass = {} -- its parts, in one table: Lua allows 200 locals

function pass.reply(keys)
  local list = {}
  for i = 1, #keys do
    local key = keys[i]
    local m = record(key)
    list[i] = { m[PROVIDER], m[ATTEMPT], m[FENCE], m[ENTERED], m[DEADLINE], refused_at[key] or 0, m[FLAGS], m[TRIES],
      parts(m[LANE]).bound, punctual[key] and 1 or 0, m[LEASED], max(m[ENTERED], m[SINCE] or 0),
      m[KEYED] or 0,
    }
  end
  local revision = tonumber(call('HGET', K.conf, 'revision') or 0)
  local out = { pack({ again and 1 or 0, wake_at or 0, revision, list, tally, refusals, since }) }
  if #keys > 0 then
    for i, body in ipairs(call('HMGET', K.body, unpack(keys))) do out[i + 1] = body end
  end
  return out
end

-- The same request again: what it leased and has not settled. The clock is written, as by every lease: who waits for
-- the disk waits for what its connection has written, and this may be another one (durable.py).
function pass.repeated()
  local before, last = match(call('HGET', K.batch, 'q:' .. process .. '|' .. route) or '', '^(%S+) (%d+)$')
  if before ~= request then return nil end
  local packed = last and call('HGET', K.batch, last)
  if not packed then return nil end
  local keys, held = unpack_msg(packed), {}
  load(keys)
  for _, key in ipairs(keys) do
    local m = record(key)
    if m and m[STATE] == 'leased' and int(m[FENCE]) == last then
      held[#held + 1], since = key, m[LEASED] - (m[LEAD] or 0)
    end
  end
  call('HSET', K.meta, 'hwm', int(now))
  return held
end

function pass.measure_rooms()
  local total = 0
  for _, offer in ipairs(offers) do
    offer[4] = 'p:' .. offer[1]
    local packed = call('HGET', K.conf, offer[4])
    local room = packed and unpack_msg(packed)[1] or 64
    total = total + room
    local used = tonumber(call('HGET', K.inflight, offer[4]) or 0)
    offer[3] = min(offer[3], room - used)
    local till = tonumber(match(call('HGET', K.pause, offer[4]) or '', '^(%d+)'))
    if till and (till == 0 or till > now) then offer[3] = 0 end
  end
  for _, c in ipairs(all_classes()) do
    if c[3] < 1000 then
      local used = tonumber(call('HGET', K.inflight, 'c:' .. route .. '|' .. c[1]) or 0)
      rooms[c[1]] = max(1, floor(total * c[3] / 1000)) - used
    end
  end
end

-- An offer is {name, weight, room, its limits' scope, from when on it is open, their definitions, their states}.
-- A provider with room for this message, by weight, and from when on; else nil, when a limit makes room (nil: no
-- limit is what refuses), and whose.
function pass.choose(p, cost, first_refused)
  local able, total, at, where, bound = {}, 0, nil, nil, p.bound
  for i = 1, #offers do
    local offer = offers[i]
    if offer[3] > 0 and (bound == '' or may_go(bound, offer[1])) then
      local scope = offer[4]
      if not offer[6] then offer[6], offer[7] = defined(scope), states(scope) end
      local opens = admits_at(offer[6], offer[7], cost)
      if somebody_waits ~= false and pass.comes_after(scope, p.class, first_refused) then
        opens = max(opens, tonumber(call('ZSCORE', K.wake, scope) or 0), horizon + 1000)
      end
      local turn = #offer[6] > 0 and turns.before(scope, route, bound ~= '' and first_refused or 0)
      if turn then opens = max(opens, turn, horizon + 1000) end
      if opens <= horizon then
        able[#able + 1] = offer
        offer[5] = opens
        total = total + offer[2]
      elseif not at or opens < at then
        at, where = opens, scope
      end
    end
  end
  if #able == 0 then return nil, at, where end
  seed = seed * 48271 % 2147483647 -- Park and Miller's, exact in doubles
  local point = seed / 2147483647 * total
  for i = 1, #able do
    local offer = able[i]
    point = point - offer[2]
    if point < 0 then return offer, offer[5] end
  end
  return able[#able], able[#able][5]
end

-- When to look again for what a limit admits at that instant.
function pass.before(at)
  return ahead > 0 and max(at - ahead, now + 1000) or at
end

-- The limits of a lane, as {scope, definitions, states}.
function pass.limits_of(p)
  if not p.limits then
    p.limits = {}
    for _, scope in ipairs({ 't:' .. p.tenant, 'c:' .. p.tenant .. '|' .. p.class, 's:' .. p.sender }) do
      local defs = defined(scope)
      if #defs > 0 then p.limits[#p.limits + 1] = { scope, defs, states(scope) } end
    end
  end
  return p.limits
end

-- Whether somebody waits at a limit who comes before a head that was refused first at that time (0: comes now).
local orders = {}

function pass.comes_after(scope, class, first_refused)
  local first = front(scope)
  if not first then return false end
  orders[class] = orders[class] or rank_of(class) .. pad(now)
  return first < (first_refused > 0 and rank_of(class) .. pad(first_refused) or orders[class])
end

-- The names under which the store keeps a class of this route.
function pass.names(class)
  local names = shares[class]
  if not names then
    local of = route .. '|' .. class
    names = { share = 'c:' .. of, virtual = 'V|' .. of, finish = 'F|' .. of, flows = route .. '\0' .. class .. '\0' }
    shares[class] = names
  end
  return names
end

-- What can be done with a head: 'take' offer at | 'wait' scope at | 'room' scope at.
function pass.try(p, m, first_refused)
  local scope, at, cost = nil, now, m[COST]
  local list = pass.limits_of(p)
  for i = 1, #list do
    local limit = list[i]
    local opens = admits_at(limit[2], limit[3], cost)
    if somebody_waits ~= false and pass.comes_after(limit[1], p.class, first_refused) then
      opens = max(opens, tonumber(call('ZSCORE', K.wake, limit[1]) or 0), horizon + 1)
    end
    if opens > at then
      at = opens
      if opens > horizon then scope = limit[1] end
    end
  end
  if scope then return 'wait', scope, at end
  local offer, opens, where = pass.choose(p, cost, first_refused)
  if offer then return 'take', offer, at > opens and at or opens end
  if p.bound ~= '' then return 'wait', 'p:' .. p.bound, max(opens or 0, now + 50000) end
  return 'room', where, opens
end

-- Beyond all that came before, those too that the store has lost with its last writes (a failover, a crash): they were
-- no later than their clock.
function pass.next_fence()
  local next = max(tonumber(call('HGET', K.meta, 'fence') or 0) + 1, now)
  call('HSET', K.meta, 'fence', int(next))
  return next
end

function pass.take(key, m, p, offer, at, first_refused)
  fence = fence or pass.next_fence()
  set_state(key, m, 'leased')
  m[ATTEMPT], m[FENCE], m[PROVIDER], m[LEASED] = m[ATTEMPT] + 1, fence, offer[1], at
  m[LEAD] = at - now
  refused_at[key] = first_refused
  if first_refused > 0 then m[LIMITED] = (m[LIMITED] or 0) + max(0, at - first_refused) end
  local list, tight = pass.limits_of(p), false
  for i = 1, #list do
    local limit = list[i]
    charge_states(limit[2], limit[3], m[COST], at)
    limits_changed[limit[1]] = true
    tight = tight or nearly_used(limit[2], limit[3], at)
  end
  local scope = offer[4]
  if #offer[6] > 0 then
    charge_states(offer[6], offer[7], m[COST], at)
    limits_changed[scope] = true
    turns.note(scope, route)
    tight = tight or nearly_used(offer[6], offer[7], at)
  end
  punctual[key] = tight
  offer[3] = offer[3] - 1
  if rooms[p.class] then rooms[p.class] = rooms[p.class] - 1 end
  local share = pass.names(p.class).share
  in_flight[scope] = (in_flight[scope] or 0) + 1
  in_flight[share] = (in_flight[share] or 0) + 1
  taken[#taken + 1] = key
end

-- Takes from one lane until `budget` segments are reached, something refuses, or it is empty. Returns the segments
-- taken.
function pass.serve_lane(lane, L, budget)
  local p, served, gone = parts(lane), 0, {}
  looks = looks - 1
  local what = paused_by(p)
  if what then
    leave_ready(lane, L)
    pause_lane(lane, L, what)
    return 0
  end
  local prefix = lane .. '\0'
  local members = call('ZRANGEBYLEX', K.lanes, '[' .. prefix, '(' .. prefix .. '\255', 'LIMIT', 0, budget + 1)
  local keys = {}
  for i = 1, min(#members, budget) do keys[i] = p.tenant .. '/' .. sub(members[i], #lane + 28) end
  if #keys > 0 then load(keys) end
  if opt_outs.some() then opt_outs.look_at(p, keys) end
  local verdict, offer, at
  for i = 1, #keys do
    local key = keys[i]
    if served >= budget or #taken >= most or (rooms[p.class] or 1) <= 0 then break end
    local m, first_refused = record(key), i == 1 and L[L_REFUSED] or 0
    local closed = m and opt_outs.covers(p, m[WHO] or '')
    if not m or m[STATE] ~= 'queued' then
      gone[#gone + 1] = members[i]
    elseif m[DEADLINE] <= now then
      gone[#gone + 1] = members[i]
      -- What lay behind a head that a limit refused waited there too.
      close(key, m, 'expired', L[L_REFUSED] > 0 and 'throttled_out' or unserved(m))
    elseif closed then
      gone[#gone + 1] = members[i]
      opt_outs.suppress(key, m, closed)
    else
      verdict, offer, at = pass.try(p, m, first_refused)
      if verdict ~= 'take' then break end
      pass.take(key, m, p, offer, at, first_refused)
      gone[#gone + 1] = members[i]
      served = served + m[COST]
    end
  end
  if #gone > 0 then call('ZREM', K.lanes, unpack(gone)) end
  local next = members[#gone + 1]
  if not next then
    drop_lane(lane, L)
    return served
  end
  local head, following = sub(next, #prefix + 1, #prefix + 25), keys[#gone + 1] and record(keys[#gone + 1])
  local cost = following and following[COST] or 0
  if verdict == 'wait' then
    leave_ready(lane, L)
    if #gone > 0 then change_head(lane, L, head, cost) end
    L[L_COST] = cost
    park(lane, L, offer, at)
  elseif #gone > 0 then
    set_head(lane, L, head, cost)
  end
  if verdict == 'room' then
    stop, wake_at = true, at and pass.before(at) or now + 50000
    if at then
      call('HSET', K.meta, 'full:' .. route, int(now))
      turns.note(offer, route, at)
    end
  end
  return served
end

-- One turn of a flow. Its start tag S was the least; V follows it when something is taken.
function pass.serve_flow(class, weight, member)
  local prefix = #route + #class + 3
  local start, tenant = tonumber(sub(member, prefix, prefix + 15)), sub(member, prefix + 17)
  local flow, served = tenant .. '|' .. class .. '|' .. route, 0
  while served < q and #taken < most and looks > 0 and not stop and (rooms[class] or 1) > 0 do
    local ready = first_ready_of(flow)
    if not ready then
      deactivate(flow)
      break
    end
    local lane = sub(ready, #flow + 28)
    local L = lane_state(lane)
    if L then
      served = served + pass.serve_lane(lane, L, q - served)
    else
      call('ZREM', K.ready, ready)
      first_ready[flow] = nil
    end
  end
  if served == 0 then return end
  local f = flow_tags(flow)
  local was_active = f[2] >= 0
  if was_active then call('ZREM', K.flows, flow_member(flow, f[2])) end
  f[1], f[3] = start + served * SCALE, true
  if was_active then
    f[2] = f[1]
    call('ZADD', K.flows, 0, flow_member(flow, f[2]))
  end
  local names = pass.names(class)
  set_tag(names.virtual, max(tag(names.virtual), start))
  local class_start = max(tag(virtual_time), tag(names.finish))
  set_tag(virtual_time, class_start)
  set_tag(names.finish, class_start + floor(served * SCALE / weight))
end

-- The class whose turn it is: the least start tag of those with something ready and room in their share.
function pass.next_class()
  local best, least = nil, nil
  local list = all_classes()
  for i = 1, #list do
    local c = list[i]
    local name, names = c[1], pass.names(c[1])
    if (rooms[name] or 1) <= 0 then
      if first_of(K.flows, names.flows) then wake_at = min(wake_at or now + 50000, now + 50000) end
    else
      if heads[name] == nil then heads[name] = first_of(K.flows, names.flows) or false end
      if heads[name] then
        local start = max(tag(virtual_time), tag(names.finish))
        if not least or start < least then
          best, least = c, start
        end
      end
    end
  end
  return best
end

local held = pass.repeated()
if held then return pass.reply(held) end
local moved, due_at = move_due(100)
pass.measure_rooms()
local more, without_room = wake_limits(50, offers)
local room = false
for _, offer in ipairs(offers) do room = room or offer[3] > 0 end
if paused_by({ tenant = '', class = '', sender = '', campaign = '' }) then
  stop, wake_at = true, now + 1000000
elseif not room then
  stop, wake_at = true, now + 50000
end
while not stop and #taken < most and looks > 0 do
  local c = pass.next_class()
  if not c then break end
  pass.serve_flow(c[1], c[2], heads[c[1]])
  heads[c[1]] = nil
end
again = moved >= 100 or more or looks <= 0
local limit_at = next_wake(without_room)
for _, at in ipairs({ due_at or false, limit_at and pass.before(limit_at) or false }) do
  if at then wake_at = wake_at and min(wake_at, at) or at end
end
if #taken > 0 then
  local number = int(fence)
  call('HSET', K.batch, number, pack(taken), 'q:' .. process .. '|' .. route, request .. ' ' .. number)
  call('ZADD', K.lease, int(now + span), number)
  call('HINCRBY', K.inflight, 'n:' .. number, #taken)
  for name, n in pairs(in_flight) do call('HINCRBY', K.inflight, name, n) end
end
if #taken < most then
  call('HSET', K.meta, 'hwm', int(now), 'sleep:' .. route, process)
  if not again and wake_at then
    -- One process looks when the time has come, the others only in case it does not.
    local at, who = match(call('HGET', K.meta, 'look:' .. route) or '', '^(%d+) (.*)$')
    at = tonumber(at)
    if at and who ~= process and at > now and at <= wake_at then
      wake_at = wake_at + BEHIND_US
    else
      call('HSET', K.meta, 'look:' .. route, int(wake_at) .. ' ' .. process)
    end
  end
else
  call('HSET', K.meta, 'hwm', int(now))
end
local out = pass.reply(taken)
flush()
return out
