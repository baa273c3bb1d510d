-- sweep: ends what is over, whatever it waits for, and tidies up. Every part is bounded by `most`.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, msgpack of {most, {provider = settle_us}, dead_routes {route..}, early_us,
--        events_max, events_us, dead_max}
-- Output msgpack of {again 0/1, counts {expired, unleased, unconfirmed, purged, resumed, forgotten, miscounted,
--        withdrawn},
--        {class \31 state \31 reason = how many ended so}}
--#include base limit lane wait optout outcome bell
local refused = begin()
if refused then return refused end
local ask = unpack_msg(ARGV[4])
local most, settle_us, dead_routes, early_us = ask[1], ask[2], {}, ask[4]
for _, route in ipairs(ask[3]) do dead_routes[route] = true end
local ended = {}
local n = { expired = 0, unleased = 0, unconfirmed = 0, purged = 0, resumed = 0, forgotten = 0, withdrawn = 0 }
local pass = {} -- its parts
local WITHDRAW_LANES, WITHDRAWN_US = 200, 2592000000000 -- 30 d: no attempt is unknown for longer
local MARKS = 200 -- that lanes are paused by, looked at in a pass
local RECOUNT_US, RECOUNT_LEASES, RECOUNT_MESSAGES = 10000000, 500, 2000

local function why_expired(L, p, m)
  if L[L_STATUS] == 'p' or paused_by(p) then return 'paused' end
  if L[L_STATUS] == 'w' then
    -- A limit whose time has come holds nobody: on a route that nobody serves nobody looks.
    local opened = dead_routes[p.route] and tonumber(call('ZSCORE', K.wake, L[L_SCOPE]) or now) <= now
    return (opened or sub(L[L_SCOPE], 1, 2) == 'p:') and 'provider_down' or 'throttled_out'
  end
  if dead_routes[p.route] then return 'provider_down' end
  return unserved(m)
end

-- Heads whose deadline has passed, in lanes that wait, are paused, or that nobody serves.
function pass.expire_heads()
  for _, lane in ipairs(call('ZRANGEBYSCORE', K.dline, '-inf', int(now), 'LIMIT', 0, most)) do
    local p, prefix = parts(lane), lane .. '\0'
    local L = lane_state(lane)
    local members = call('ZRANGEBYLEX', K.lanes, '[' .. prefix, '[' .. prefix .. pad(now) .. '\255', 'LIMIT', 0, most)
    local keys = {}
    for i, member in ipairs(members) do keys[i] = p.tenant .. '/' .. sub(member, #lane + 28) end
    if #keys > 0 then load(keys) end
    for _, key in ipairs(keys) do
      local m = record(key)
      if m and m[STATE] == 'queued' then
        if withdrawal.covers(p, m[ENTERED]) then
          withdrawal.let_go(key, m)
        else
          close(key, m, 'expired', L and why_expired(L, p, m) or 'expired')
        end
      end
      n.expired = n.expired + 1
    end
    if #members > 0 then call('ZREM', K.lanes, unpack(members)) end
    if L then
      advance(lane)
    else
      zset(K.dline, lane, false)
    end
    if n.expired >= most then return end
  end
end

-- Leases that ended unsettled: an attempt may have left. A parked receipt says more.
function pass.end_leases()
  for _, number in ipairs(call('ZRANGEBYSCORE', K.lease, '-inf', int(now), 'LIMIT', 0, max(1, floor(most / 10)))) do
    local packed = call('HGET', K.batch, number)
    local keys = packed and unpack_msg(packed) or {}
    if #keys > 0 then load(keys) end
    for _, key in ipairs(keys) do
      local m = record(key)
      if m and m[STATE] == 'leased' and int(m[FENCE]) == number then
        release(m)
        held.begin(m)
        set_state(key, m, 'unknown')
        m[NOS], m[FAILS], m[UNSETTLED] = 0, 0, (m[UNSETTLED] or 0) + 1
        zset(K.unsure, key, now + (settle_us[m[PROVIDER]] or 5000000))
        local why = { 'provider', m[PROVIDER], 'attempt', m[ATTEMPT], 'detail', 'the lease ended unsettled' }
        emit(key, m, 'unknown', why)
        apply_parked(key, m)
        n.unleased = n.unleased + 1
      end
    end
    call('ZREM', K.lease, number)
    call('HDEL', K.batch, number)
    ended[#ended + 1] = 'n:' .. number
  end
end

-- What is in flight, counted anew from the leases, in case a script once failed half way. Not while it is too much for
-- one pass. Returns how many counts were wrong.
function pass.recount()
  if now < tonumber(call('HGET', K.meta, 'recount') or 0) then return 0 end
  call('HSET', K.meta, 'recount', now + RECOUNT_US)
  if call('ZCARD', K.lease) > RECOUNT_LEASES then return 0 end
  local fences, fence_of, keys = call('ZRANGE', K.lease, 0, -1), {}, {}
  for i, packed in ipairs(#fences > 0 and call('HMGET', K.batch, unpack(fences)) or {}) do
    for _, key in ipairs(packed and unpack_msg(packed) or {}) do
      keys[#keys + 1] = key
      fence_of[#keys] = fences[i]
    end
  end
  if #keys > RECOUNT_MESSAGES then return 0 end
  if #keys > 0 then load(keys) end
  local held, wrong = {}, 0
  for i, key in ipairs(keys) do
    local m, fence = record(key), fence_of[i]
    if m and m[STATE] == 'leased' and int(m[FENCE]) == fence then
      for _, name in ipairs({ 'p:' .. m[PROVIDER], 'c:' .. m[ROUTE] .. '|' .. m[CLASS], 'n:' .. fence }) do
        held[name] = (held[name] or 0) + 1
      end
    end
  end
  local counted = call('HGETALL', K.inflight)
  for i = 1, #counted, 2 do
    if tonumber(counted[i + 1]) == held[counted[i]] then
      held[counted[i]] = nil
    elseif not held[counted[i]] then
      call('HDEL', K.inflight, counted[i])
      wrong = wrong + 1
    end
  end
  for name, n in pairs(held) do
    call('HSET', K.inflight, name, n)
    wrong = wrong + 1
  end
  return wrong
end

function pass.end_waits()
  local keys = call('ZRANGEBYSCORE', K.await, '-inf', int(now), 'LIMIT', 0, most)
  if #keys > 0 then load(keys) end
  for _, key in ipairs(keys) do
    local m = record(key)
    if m and (m[STATE] == 'submitted' or m[STATE] == 'unknown') then
      finish(key, m, 'unconfirmed', held.unanswered(m))
      n.unconfirmed = n.unconfirmed + 1
    else
      zset(K.await, key, false)
    end
  end
end

-- The texts of messages that ended so long ago, before their records go. Returns how many.
function pass.erase()
  local keys = call('ZRANGEBYSCORE', K.bodyat, '-inf', int(now), 'LIMIT', 0, most)
  if #keys > 0 then
    call('HDEL', K.body, unpack(keys))
    call('ZREM', K.bodyat, unpack(keys))
  end
  return #keys
end

function pass.purge()
  local keys = call('ZRANGEBYSCORE', K.ended, '-inf', int(now), 'LIMIT', 0, most)
  if #keys == 0 then return end
  load(keys)
  for _, key in ipairs(keys) do
    local m = record(key)
    if m then
      if (m[WHO] or '') ~= '' then call('ZREM', K.who, who_member(key, m)) end
      local said = opt_outs.said_by(m)
      if said and call('HGET', K.last, said) == key then call('HDEL', K.last, said) end
      for _, taken in ipairs(m[TAKEN]) do
        if taken[3] ~= '' then call('HDEL', K.ref, taken[2] .. '/' .. taken[3]) end
      end
    end
  end
  call('HDEL', K.msg, unpack(keys))
  call('HDEL', K.body, unpack(keys))
  call('ZREM', K.bodyat, unpack(keys))
  call('ZREM', K.ended, unpack(keys))
  n.purged = #keys
end

-- Of the oldest withdrawal that is not done, some of what it covers: first what is due later, then what lies in lanes,
-- so that nothing can come from behind. Looks at `most` messages and WITHDRAW_LANES lanes. Its cursor is in K.meta.
function pass.withdraw_some()
  local what = call('ZRANGE', K.withdrawing, 0, 0)[1]
  if not what then return end
  local tenant, class, campaign = match(what, '^t:(.*)$'), match(what, '^c:(.*)$'), nil
  if sub(what, 1, 3) == 'tc:' then tenant, class = match(what, '^tc:([^|]*)|(.*)$') end
  if sub(what, 1, 2) == 'k:' then tenant, campaign = match(what, '^k:([^|]*)|(.*)$') end
  local stage, cursor = match(call('HGET', K.meta, 'w:' .. what) or 'd', '^(.)(.*)$')
  local left = most

  -- Lets go what of these members is covered, and takes it out of its zset. Returns how many.
  local function drop(zset_key, members, keys)
    if #keys == 0 then return 0 end
    load(keys)
    local gone = {}
    for i, key in ipairs(keys) do
      local m = record(key)
      if m and m[STATE] == 'queued' and withdrawal.covers(parts(m[LANE]), m[ENTERED]) then
        gone[#gone + 1] = members[i]
        m[DUE] = 0
        withdrawal.let_go(key, m)
      end
    end
    if #gone > 0 then call('ZREM', zset_key, unpack(gone)) end
    n.withdrawn = n.withdrawn + #gone
    return #gone
  end

  local function bounds(prefix)
    local from = cursor ~= '' and '(' .. cursor or prefix == '' and '-' or '[' .. prefix
    return from, prefix == '' and '+' or '(' .. prefix .. '\255'
  end

  if stage == 'd' then
    local from, to = bounds(class and class .. '\0' or '')
    local members, keys = call('ZRANGEBYLEX', K.due, from, to, 'LIMIT', 0, left), {}
    for i, member in ipairs(members) do keys[i] = match(member, '^%Z*%z%Z*%z(.*)$') end
    drop(K.due, members, keys)
    cursor = members[left] or ''
    if cursor == '' then stage = 'l' end
    left = left - #members
  end
  local lanes_left = WITHDRAW_LANES
  while stage == 'l' and left > 0 and lanes_left > 0 do
    local from, to = bounds(tenant and tenant .. '|' .. (class and class .. '|' or '') or '')
    local member = call('ZRANGEBYLEX', K.lanes, from, to, 'LIMIT', 0, 1)[1]
    if not member then
      stage = ''
      break
    end
    lanes_left = lanes_left - 1
    local lane = match(member, '^(%Z*)')
    local p, after = parts(lane), lane .. '\0\255'
    if (not class or p.class == class) and (not campaign or p.campaign == campaign) then
      local members, keys = call('ZRANGEBYLEX', K.lanes, '[' .. member, '(' .. after, 'LIMIT', 0, left), {}
      for i, one in ipairs(members) do keys[i] = p.tenant .. '/' .. sub(one, #lane + 28) end
      if drop(K.lanes, members, keys) > 0 then advance(lane) end
      after = members[left] or after
      left = left - #members
    end
    cursor = after
  end
  if stage == '' then
    call('ZREM', K.withdrawing, what)
    call('HDEL', K.meta, 'w:' .. what)
    lift_mark('x' .. what)
  else
    call('HSET', K.meta, 'w:' .. what, stage .. cursor)
  end
  withdrawal.unfinished = nil
end

-- Withdrawals that can cover nothing any more; a campaign's stays until it is lifted.
function pass.forget_withdrawals()
  local cursor = call('HGET', K.meta, 'cursor:withdrawn') or '0'
  local page = call('HSCAN', K.withdrawn, cursor, 'COUNT', 20)
  call('HSET', K.meta, 'cursor:withdrawn', page[1])
  for i = 1, #page[2], 2 do
    local what, at = page[2][i], tonumber(match(page[2][i + 1], '^(%d+)'))
    if sub(what, 1, 2) ~= 'k:' and at + WITHDRAWN_US <= now and not call('ZSCORE', K.withdrawing, what) then
      call('HDEL', K.withdrawn, what)
    end
  end
end

-- Whether a mark still holds the lanes that it paused; one whose time is over goes.
function pass.holds(what)
  if sub(what, 1, 1) == 'x' then return call('ZSCORE', K.withdrawing, sub(what, 2)) and true or false end
  local till = tonumber(match(call('HGET', K.pause, what) or '', '^(%d+)'))
  if till and till > 0 and till <= now then
    call('HDEL', K.pause, what)
    till = nil
  end
  return till ~= nil
end

-- Lanes whose pause is over or lifted become ready, whatever paused them; some marks a pass, and once one was lifted
-- pass upon pass, until all have been looked at.
function pass.resume()
  local from = call('HGET', K.meta, 'cursor:paused') or '-'
  for _ = 1, MARKS do
    local member = n.resumed < most and call('ZRANGEBYLEX', K.paused, from, '+', 'LIMIT', 0, 1)[1]
    if not member then break end
    local what = match(member, '^(%Z*)')
    if not pass.holds(what) then
      local prefix = what .. '\0'
      local to, left = '(' .. prefix .. '\255', most - n.resumed
      for _, one in ipairs(call('ZRANGEBYLEX', K.paused, '[' .. prefix, to, 'LIMIT', 0, left)) do
        local lane = sub(one, #prefix + 1)
        local L = lane_state(lane)
        call('ZREM', K.paused, one)
        if L and L[L_STATUS] == 'p' then make_ready(lane, L) end
        n.resumed = n.resumed + 1
      end
    end
    from = n.resumed < most and '(' .. what .. '\0\255' or '[' .. what .. '\0'
  end
  if call('ZRANGEBYLEX', K.paused, from, '+', 'LIMIT', 0, 1)[1] then
    call('HSET', K.meta, 'cursor:paused', from)
  else
    call('HDEL', K.meta, 'cursor:paused', 'lifted')
  end
end

-- Receipts that nothing claimed, finish tags that the virtual time has passed, limits that no longer bind anything.
function pass.forget()
  local old = call('ZRANGEBYSCORE', K.earlyat, '-inf', int(now - early_us), 'LIMIT', 0, most)
  if #old > 0 then
    call('HDEL', K.early, unpack(old))
    call('ZREM', K.earlyat, unpack(old))
    n.forgotten = #old
  end
  local cursor = call('HGET', K.meta, 'cursor:flow') or '0'
  local page = call('HSCAN', K.flow, cursor, 'COUNT', 50)
  call('HSET', K.meta, 'cursor:flow', page[1])
  for i = 1, #page[2], 2 do
    local f = flow_tags(page[2][i])
    local _, class, route = match(page[2][i], '^([^|]*)|([^|]*)|(.*)$')
    local name = 'V|' .. route .. '|' .. class
    if f[2] < 0 then
      -- A busy period is over when nothing is ready: the virtual time then passes every finish tag (Goyal's SFQ).
      local idle = not first_of(K.flows, route .. '\0' .. class .. '\0')
      if idle then set_tag(name, max(tag(name), f[1])) end
      if f[1] <= tag(name) then
        hset(K.flow, page[2][i], false)
        f[3] = false
      end
    end
  end
  cursor = call('HGET', K.meta, 'cursor:pause') or '0'
  page = call('HSCAN', K.pause, cursor, 'COUNT', 20)
  call('HSET', K.meta, 'cursor:pause', page[1])
  for i = 1, #page[2], 2 do
    local till = tonumber(match(page[2][i + 1], '^(%d+)'))
    if till > 0 and till <= now then
      call('HDEL', K.pause, page[2][i])
      lift_mark(page[2][i])
    end
  end
  cursor = call('HGET', K.meta, 'cursor:batch') or '0'
  page = call('HSCAN', K.batch, cursor, 'MATCH', 'q:*', 'COUNT', 50)
  call('HSET', K.meta, 'cursor:batch', page[1])
  for i = 1, #page[2], 2 do
    if call('HEXISTS', K.batch, match(page[2][i + 1], '(%d+)$')) == 0 then call('HDEL', K.batch, page[2][i]) end
  end
  cursor = call('HGET', K.meta, 'cursor:limit') or '0'
  page = call('HSCAN', K.limit, cursor, 'COUNT', 20)
  call('HSET', K.meta, 'cursor:limit', page[1])
  for i = 1, #page[2], 2 do
    local live = false
    for _, state in ipairs(unpack_msg(page[2][i + 1])) do live = live or lives(state) end
    if not live and not limits[page[2][i]] then call('HDEL', K.limit, page[2][i]) end
  end
end

local miscounted = pass.recount()
pass.expire_heads()
pass.end_leases()
pass.end_waits()
local erased = pass.erase()
pass.purge()
pass.withdraw_some()
pass.resume()
local moved = move_due(most)
pass.forget()
pass.forget_withdrawals()
call('XTRIM', K.events, 'MAXLEN', '~', ask[5])
call('XTRIM', K.dead, 'MAXLEN', '~', ask[7])
call('XTRIM', K.events, 'MINID', '~', int(floor((now - ask[6]) / 1000)))
flush()
flush_released()
if #ended > 0 then call('HDEL', K.inflight, unpack(ended)) end
ring_ready()
local again = n.expired >= most or n.unconfirmed >= most or n.purged >= most or n.resumed >= most or moved >= most
  or n.unleased >= most or erased >= most or call('EXISTS', K.withdrawing) == 1
  or call('HEXISTS', K.meta, 'lifted') == 1
local counts = { n.expired, n.unleased, n.unconfirmed, n.purged, n.resumed, n.forgotten, miscounted, n.withdrawn }
return pack({ again and 1 or 0, counts, tally })
