-- wait: what leaves a place of waiting when its time has come: limits that admit again, due messages, ends of pauses;
-- and the ways on for a message whose attempt was surely not taken, or may have been. All loops are bounded by
-- arguments.
local pauses = nil

-- Withdrawals: everything of a tenant, a class or a campaign is cancelled. In one table, for Lua allows 200 locals.
local withdrawal = { marks = nil, unfinished = nil }

-- The marks that can cover a lane; the fourth is its campaign's.
function withdrawal.of(p)
  local marks = { 't:' .. p.tenant, 'c:' .. p.class, 'tc:' .. p.tenant .. '|' .. p.class }
  if p.campaign ~= '' then marks[4] = 'k:' .. p.tenant .. '|' .. p.campaign end
  return marks
end

-- Whether there is any mark: mostly there is none, and then nothing is looked up.
function withdrawal.some()
  if withdrawal.marks == nil then withdrawal.marks = call('HLEN', K.withdrawn) > 0 and {} end
  return withdrawal.marks ~= false
end

-- Whether what lies in a lane and was taken at `entered` is cancelled. A campaign's mark covers what comes later too.
function withdrawal.covers(p, entered)
  if not withdrawal.some() then return false end
  local known = withdrawal.marks
  for i, what in ipairs(withdrawal.of(p)) do
    if known[what] == nil then
      known[what] = tonumber(match(call('HGET', K.withdrawn, what) or '', '^(%d+)')) or false
    end
    if known[what] and (i == 4 or entered <= known[what]) then return true end
  end
  return false
end

-- The mark of one that is not done with the lane yet, as a pause: until then nothing of it leaves.
function withdrawal.busy(p)
  if withdrawal.unfinished == nil then withdrawal.unfinished = call('EXISTS', K.withdrawing) == 1 and {} end
  local known = withdrawal.unfinished
  if not known then return nil end
  for _, what in ipairs(withdrawal.of(p)) do
    if known[what] == nil then known[what] = call('ZSCORE', K.withdrawing, what) or false end
    if known[what] then return 'x' .. what end
  end
  return nil
end

-- The mark that pauses a lane ('t:', 'c:', 's:' a tenant, class, sender; 'k:' a campaign; 'all'), or nil.
local function paused_by(p)
  local busy = withdrawal.busy(p)
  if busy then return busy end
  if pauses == nil then pauses = call('HLEN', K.pause) > 0 and {} end
  if not pauses then return nil end
  local marks = { 'all', 't:' .. p.tenant, 'c:' .. p.class, 's:' .. p.sender }
  if p.campaign ~= '' then marks[5] = 'k:' .. p.tenant .. '|' .. p.campaign end
  for _, what in ipairs(marks) do
    if pauses[what] == nil then
      local till = tonumber(match(call('HGET', K.pause, what) or '', '^(%d+)'))
      pauses[what] = till ~= nil and (till == 0 or till > now)
    end
    if pauses[what] then return what end
  end
  return nil
end

local function receipt_timeout(class)
  for _, c in ipairs(all_classes()) do
    if c[1] == class then return c[4] end
  end
  return 172800000000
end

-- EARLIER is one more flag of a record: what may have left is an attempt before the last, which was surely not taken.
local held = { EARLIER = 16 }

-- An outcome that nothing more can be asked about: held until a receipt, or until it ends as unconfirmed.
function held.hold(key, m)
  set_state(key, m, 'unknown')
  zset(K.unsure, key, false)
  zset(K.await, key, max(now, min(m[DEADLINE], m[LEASED] + receipt_timeout(m[CLASS]))))
end

-- The same for an attempt before the last; told unless it stands as unknown already.
function held.earlier(key, m, extra)
  local told = m[STATE] == 'unknown'
  held.hold(key, m)
  mark(m, held.EARLIER)
  if not told then emit(key, m, 'unknown', extra) end
end

-- The last attempt may have left.
function held.begin(m)
  mark(m, MAYBE)
  if has(m, held.EARLIER) then m[FLAGS] = m[FLAGS] - held.EARLIER end
end

-- What an end without a receipt tells: whom to ask, where that is known. It is the attempt that was taken, the last if
-- there are several, else the one that stands as unknown.
function held.unanswered(m)
  local one
  for i = 1, #m[TAKEN] do
    local taken = m[TAKEN][i]
    if not one or taken[1] > one[1] then one = taken end
  end
  if not one and m[STATE] == 'unknown' and not has(m, held.EARLIER) then one = { m[ATTEMPT], m[PROVIDER], '' } end
  local extra = { 'reason', 'no_receipt' }
  if one then extra = { 'reason', 'no_receipt', 'provider', one[2], 'attempt', int(one[1]) } end
  if one and one[3] ~= '' then extra[7], extra[8] = 'provider_id', one[3] end
  return extra
end

-- Ends a message that leaves no more: what may have left is unconfirmed, never expired or cancelled.
local function close(key, m, state, reason)
  if has(m, MAYBE) then
    finish(key, m, 'unconfirmed', held.unanswered(m))
  else
    finish(key, m, state, { 'reason', reason })
  end
end

-- Why a message expires that lay ready: what its last attempt waited for, else whether a provider's limit has held its
-- route back since it came.
local function unserved(m)
  if m[WAITED] ~= '' then return m[WAITED] end
  local full = tonumber(call('HGET', K.meta, 'full:' .. m[ROUTE]) or 0)
  return full >= max(m[ENTERED], m[SINCE] or 0) and 'throttled_out' or 'expired'
end

-- Ends a queued message, taken out of where it waited, that somebody withdrew: at once, or when it is known that no
-- attempt of it was taken. Returns whether it is over.
function withdrawal.let_go(key, m)
  mark(m, CANCEL)
  if has(m, MAYBE) then
    held.earlier(key, m, { 'reason', 'cancelled' })
    return false
  end
  finish(key, m, 'cancelled', { 'reason', 'cancelled' })
  return true
end

-- Whether a message was withdrawn while it was leaving, by its id or with all of its kind.
function withdrawal.wanted_back(m)
  if not has(m, CANCEL) and withdrawal.some() and withdrawal.covers(parts(m[LANE]), m[ENTERED]) then mark(m, CANCEL) end
  return has(m, CANCEL)
end

-- A cancel that met it while it was leaving is answered once it is known that it has left.
function withdrawal.too_late(key, m)
  if has(m, CANCEL) then emit(key, m, m[STATE], { 'reason', 'cancel_too_late' }) end
end

-- Where each segment of an attempt has an id and a receipt of its own, it has a place of its own too, and each place
-- says how many there are.
local segment = {}

-- Whether an attempt was told undelivered, as a whole or a segment of it: what comes after that proves nothing more.
function segment.undelivered(m, attempt)
  for i = 1, #m[TAKEN] do
    local taken = m[TAKEN][i]
    if taken[1] == attempt and taken[4] == 'undelivered' then return true end
  end
  return false
end

-- Whether a receipt may still come for it that matters.
function segment.is_open(m, taken)
  return taken[4] == '' and not segment.undelivered(m, taken[1])
end

-- An earlier attempt is known to have been taken while a later one was not: the message stands as submitted, or as
-- undelivered where every receipt has come.
local function stands(key, m)
  local open, over
  for i = 1, #m[TAKEN] do
    local taken = m[TAKEN][i]
    if segment.is_open(m, taken) then
      open = open or taken
    elseif taken[4] == 'undelivered' then
      over = over or taken
    end
  end
  local taken = open or over or m[TAKEN][1]
  if not taken then return false end
  local extra = { 'provider', taken[2], 'provider_id', taken[3], 'attempt', taken[1] }
  if not open then
    for i, name in ipairs({ 'reason', 'error_code' }) do
      if taken[4] == 'undelivered' and (taken[5 + i] or '') ~= '' then
        extra[#extra + 1] = name
        extra[#extra + 1] = taken[5 + i]
      end
    end
    finish(key, m, taken[4], extra)
  else
    set_state(key, m, 'submitted')
    zset(K.unsure, key, false)
    zset(K.await, key, now + receipt_timeout(m[CLASS]))
    emit(key, m, 'submitted', extra)
    withdrawal.too_late(key, m)
  end
  return true
end

-- The attempt was surely not taken: the message goes back (at `at`, if that is later), or ends if it was withdrawn.
local function go_back(key, m, at, extra)
  if stands(key, m) then return end
  if m[STATE] == 'unknown' then
    zset(K.unsure, key, false)
    zset(K.await, key, false)
  end
  if withdrawal.wanted_back(m) then
    if has(m, MAYBE) then return held.earlier(key, m, { 'reason', 'cancelled' }) end
    return finish(key, m, 'cancelled', { 'reason', 'cancelled' })
  elseif m[DEADLINE] <= now then
    return close(key, m, 'expired', m[WAITED] ~= '' and m[WAITED] or 'expired')
  elseif at > now then
    put_due(key, m, at)
    extra[#extra + 1] = 'due'
    extra[#extra + 1] = int(floor(m[DUE] / 1000))
  else
    enqueue(key, m)
  end
  emit(key, m, 'queued', extra)
end

-- The classes that have something due or not yet due: the heavier first, then those that the config names no more.
local function due_classes()
  local list, known, from = {}, {}, '-'
  for i, c in ipairs(all_classes()) do
    list[i], known[c[1]] = c[1], true
  end
  for _ = 1, #list + 20 do
    local member = call('ZRANGEBYLEX', K.due, from, '+', 'LIMIT', 0, 1)[1]
    if not member then break end
    local class = match(member, '^(%Z*)')
    if not known[class] then list[#list + 1] = class end
    from = '(' .. class .. '\0\255'
  end
  return list
end

-- Due messages enter their lanes, the heavier class first. Returns how many, and when the next is due (nil: none).
local function move_due(most)
  local moved, soonest = 0, nil
  for _, class in ipairs(due_classes()) do
    local prefix = class .. '\0'
    local members = call('ZRANGEBYLEX', K.due, '[' .. prefix, '(' .. prefix .. pad(now + 1), 'LIMIT', 0, most - moved)
    local keys = {}
    for i, member in ipairs(members) do keys[i] = sub(member, #prefix + 18) end
    load(keys)
    for _, key in ipairs(keys) do
      local m = record(key)
      if m and withdrawal.covers(parts(m[LANE]), m[ENTERED]) then
        m[DUE] = 0
        withdrawal.let_go(key, m)
      elseif m and m[DEADLINE] <= now then
        m[DUE] = 0
        close(key, m, 'expired', m[WAITED] ~= '' and m[WAITED] or 'expired')
      elseif m then
        enqueue(key, m)
      end
    end
    if #members > 0 then call('ZREM', K.due, unpack(members)) end
    moved = moved + #members
    local next = first_of(K.due, prefix)
    if next then
      local at = tonumber(sub(next, #prefix + 1, #prefix + 16))
      soonest = soonest and min(soonest, at) or at
    end
  end
  flush_arrivals()
  return moved, soonest
end

local function head_cost(lane, L)
  if (L[L_COST] or 0) > 0 then return L[L_COST] end
  local member = first_of(K.lanes, lane .. '\0')
  local m = member and record(parts(lane).tenant .. '/' .. sub(member, #lane + 28))
  return m and m[COST] or 1
end

-- Wakes from the front of one limit what it can admit now, whether or not those woken before have used it: a wake is a
-- chance, no reservation. The woken lane is at least as old as its flow's place; what else of the flow waits goes to
-- the end, so that flows take turns at a limit. Returns how many it woke.
local function wake_scope(scope, most)
  local defs, woken = defined(scope), 0
  local trial = copy_states(states(scope))
  while true do
    local order, member = front(scope)
    if not order then
      call('ZREM', K.wake, scope)
      return woken
    end
    local name = sub(member, #scope + 22)
    local till = match(name, '^!(%d+)')
    if till or woken >= most then
      call('ZADD', K.wake, till or int(now), scope)
      return woken
    end
    local parked = first_of(K.park, scope .. '\0' .. name .. '\0')
    local lane = parked and sub(parked, #scope + #name + 29)
    local L = lane and lane_state(lane)
    local what, cost
    if lane then
      what, cost = paused_by(parts(lane)), head_cost(lane, L)
      local at = what and now or admits_at(defs, trial, cost)
      if at > now + ahead then
        call('ZADD', K.wake, int(at), scope)
        return woken
      end
      if not what then charge_states(defs, trial, cost, at) end
    end
    call('ZREM', K.wait, member)
    call('HDEL', K.place, scope .. '\0' .. name)
    fronts[scope] = nil
    if lane then
      if unpark(lane, L) then take_place(scope, name, sub(order, 1, 3) .. pad(now)) end
      L[L_REFUSED] = min(L[L_REFUSED], tonumber(sub(order, 4)))
      if what then
        pause_lane(lane, L, what)
      else
        L[L_VIA] = scope
        make_ready(lane, L)
      end
      woken = woken + 1
    end
  end
end

-- Whether a provider is one of those that a message is bound to.
local function may_go(bound, name)
  return find(',' .. bound .. ',', ',' .. name .. ',', 1, true) ~= nil
end

-- Looks at limits whose time has come, but not for lanes that only providers without room may serve. offers: {name,
-- weight, room}. Returns whether more is due than `most` let through, and those that were left out.
local function wake_limits(most, offers)
  local woken, without_room = 0, { count = 0 }
  for _, scope in ipairs(call('ZRANGEBYSCORE', K.wake, '-inf', int(now + ahead), 'LIMIT', 0, most)) do
    local room = most
    if sub(scope, 1, 2) == 'p:' and front(scope) then
      room = 0
      for _, offer in ipairs(offers) do
        if may_go(sub(scope, 3), offer[1]) then room = room + max(0, offer[3]) end
      end
    end
    if room > 0 then
      woken = woken + wake_scope(scope, min(room, max(1, most - woken)))
    else
      without_room[scope], without_room.count = true, without_room.count + 1
    end
  end
  return woken >= most, without_room
end

-- When the next limit is to be looked at: those that were left out after a while, so as to see whether there is room.
local function next_wake(without_room)
  local list = call('ZRANGE', K.wake, 0, without_room.count, 'WITHSCORES')
  local soonest = without_room.count > 0 and now + 50000 or nil
  for i = 1, #list, 2 do
    local at = tonumber(list[i + 1])
    if not without_room[list[i]] then return soonest and min(soonest, at) or at end
  end
  return soonest
end
