-- sweep: ends what is over, whatever it waits for, and tidies up. Every part is bounded by `most`.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, msgpack of {most, {provider = settle_us}, dead_routes {route..}, early_us,
--        events_max, events_us}
-- Output msgpack of {again 0/1, counts {expired, unleased, unconfirmed, purged, resumed, forgotten, miscounted},
--        {class \31 state \31 reason = how many ended so}}
--#include base limit lane wait outcome bell
local refused = begin()
if refused then return refused end
local ask = unpack_msg(ARGV[4])
local most, settle_us, dead_routes, early_us = ask[1], ask[2], {}, ask[4]
for _, route in ipairs(ask[3]) do dead_routes[route] = true end
local ended = {}
local expired, unleased, unconfirmed, purged, resumed, forgotten = 0, 0, 0, 0, 0, 0
local RECOUNT_US, RECOUNT_LEASES, RECOUNT_MESSAGES = 10000000, 500, 2000

local function why_expired(L, p, m)
  if L[L_STATUS] == 'p' or paused_by(p) then return 'paused' end
  if L[L_STATUS] == 'w' then
    return sub(L[L_SCOPE], 1, 2) == 'p:' and 'provider_down' or 'throttled_out'
  end
  if dead_routes[p.route] then return 'provider_down' end
  return m[WAITED] ~= '' and m[WAITED] or 'expired'
end

-- Heads whose deadline has passed, in lanes that wait, are paused, or that nobody serves.
local function expire_heads()
  for _, lane in ipairs(call('ZRANGEBYSCORE', K.dline, '-inf', int(now), 'LIMIT', 0, most)) do
    local p, prefix = parts(lane), lane .. '\0'
    local L = lane_state(lane)
    local members = call('ZRANGEBYLEX', K.lanes, '[' .. prefix, '[' .. prefix .. pad(now) .. '\255', 'LIMIT', 0, most)
    local keys = {}
    for i, member in ipairs(members) do keys[i] = p.tenant .. '/' .. sub(member, #lane + 28) end
    if #keys > 0 then load(keys) end
    for _, key in ipairs(keys) do
      local m = record(key)
      if m and m[STATE] == 'queued' then close(key, m, 'expired', L and why_expired(L, p, m) or 'expired') end
      expired = expired + 1
    end
    if #members > 0 then call('ZREM', K.lanes, unpack(members)) end
    if L then
      advance(lane)
    else
      zset(K.dline, lane, false)
    end
    if expired >= most then return end
  end
end

-- Leases that ended unsettled: an attempt may have left. A parked receipt says more.
local function end_leases()
  for _, number in ipairs(call('ZRANGEBYSCORE', K.lease, '-inf', int(now), 'LIMIT', 0, max(1, floor(most / 10)))) do
    local packed = call('HGET', K.batch, number)
    local keys = packed and unpack_msg(packed) or {}
    if #keys > 0 then load(keys) end
    for _, key in ipairs(keys) do
      local m = record(key)
      if m and m[STATE] == 'leased' and int(m[FENCE]) == number then
        release(m)
        mark(m, MAYBE)
        set_state(key, m, 'unknown')
        m[NOS], m[FAILS], m[UNSETTLED] = 0, 0, (m[UNSETTLED] or 0) + 1
        zset(K.unsure, key, now + (settle_us[m[PROVIDER]] or 5000000))
        local why = { 'provider', m[PROVIDER], 'attempt', m[ATTEMPT], 'detail', 'the lease ended unsettled' }
        emit(key, m, 'unknown', why)
        apply_parked(key, m)
        unleased = unleased + 1
      end
    end
    call('ZREM', K.lease, number)
    call('HDEL', K.batch, number)
    ended[#ended + 1] = 'n:' .. number
  end
end

-- What is in flight, counted anew from the leases, in case a script once failed half way. Not while it is too much for
-- one pass. Returns how many counts were wrong.
local function recount()
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

local function end_waits()
  local keys = call('ZRANGEBYSCORE', K.await, '-inf', int(now), 'LIMIT', 0, most)
  if #keys > 0 then load(keys) end
  for _, key in ipairs(keys) do
    local m = record(key)
    if m and (m[STATE] == 'submitted' or m[STATE] == 'unknown') then
      finish(key, m, 'unconfirmed', { 'reason', 'no_receipt' })
      unconfirmed = unconfirmed + 1
    else
      zset(K.await, key, false)
    end
  end
end

local function purge()
  local keys = call('ZRANGEBYSCORE', K.ended, '-inf', int(now), 'LIMIT', 0, most)
  if #keys == 0 then return end
  load(keys)
  for _, key in ipairs(keys) do
    local m = record(key)
    if m then
      for _, taken in ipairs(m[TAKEN]) do
        if taken[3] ~= '' then call('HDEL', K.ref, taken[2] .. '/' .. taken[3]) end
      end
    end
  end
  call('HDEL', K.msg, unpack(keys))
  call('HDEL', K.body, unpack(keys))
  call('ZREM', K.ended, unpack(keys))
  purged = #keys
end

-- Lanes whose pause is over or lifted become ready, whatever paused them; a few marks a pass.
local function resume()
  local from = call('HGET', K.meta, 'cursor:paused') or '-'
  for _ = 1, 20 do
    local member = call('ZRANGEBYLEX', K.paused, from, '+', 'LIMIT', 0, 1)[1]
    if not member then
      call('HDEL', K.meta, 'cursor:paused')
      return
    end
    local what = match(member, '^(%Z*)')
    local till = tonumber(match(call('HGET', K.pause, what) or '', '^(%d+)'))
    if till and till > 0 and till <= now then
      call('HDEL', K.pause, what)
      till = nil
    end
    if not till then
      local prefix = what .. '\0'
      for _, one in ipairs(call('ZRANGEBYLEX', K.paused, '[' .. prefix, '(' .. prefix .. '\255', 'LIMIT', 0, most)) do
        local lane = sub(one, #prefix + 1)
        local L = lane_state(lane)
        call('ZREM', K.paused, one)
        if L and L[L_STATUS] == 'p' then make_ready(lane, L) end
        resumed = resumed + 1
      end
    end
    from = '(' .. what .. '\0\255'
  end
  call('HSET', K.meta, 'cursor:paused', from)
end

-- Receipts that nothing claimed, finish tags that the virtual time has passed, limits that no longer bind anything.
local function forget()
  local old = call('ZRANGEBYSCORE', K.earlyat, '-inf', int(now - early_us), 'LIMIT', 0, most)
  if #old > 0 then
    call('HDEL', K.early, unpack(old))
    call('ZREM', K.earlyat, unpack(old))
    forgotten = #old
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
    if till > 0 and till <= now then call('HDEL', K.pause, page[2][i]) end
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

local miscounted = recount()
expire_heads()
end_leases()
end_waits()
purge()
resume()
local moved = move_due(most)
forget()
call('XTRIM', K.events, 'MAXLEN', '~', ask[5])
call('XTRIM', K.dead, 'MAXLEN', '~', 100000)
call('XTRIM', K.events, 'MINID', '~', int(floor((now - ask[6]) / 1000)))
flush()
flush_released()
if #ended > 0 then call('HDEL', K.inflight, unpack(ended)) end
ring_ready()
local again = expired >= most or unconfirmed >= most or purged >= most or resumed >= most or moved >= most
  or unleased >= most
return pack({ again and 1 or 0, { expired, unleased, unconfirmed, purged, resumed, forgotten, miscounted }, tally })
