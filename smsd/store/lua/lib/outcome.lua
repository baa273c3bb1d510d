-- outcome: what an attempt came to, and the monotonic table of receipts. The table is the twin of core/receipt.py.

-- A place in the lease's batch is over: counts of what is in flight and of the batch go down with it.
local released = { providers = {}, fences = {}, classes = {} } -- classes: of each route

local function release(m)
  local provider, fence, route, class = m[PROVIDER], m[FENCE], m[ROUTE], m[CLASS]
  local classes = released.classes[route] or {}
  classes[class] = (classes[class] or 0) + 1
  released.classes[route] = classes
  released.providers[provider] = (released.providers[provider] or 0) + 1
  released.fences[fence] = (released.fences[fence] or 0) + 1
end

-- Returns whether none is left.
local function fewer_in_flight(name, n)
  local last = call('HINCRBY', K.inflight, name, -n) <= 0
  if last then call('HDEL', K.inflight, name) end
  return last
end

local function flush_released()
  for provider, n in pairs(released.providers) do fewer_in_flight('p:' .. provider, n) end
  for route, classes in pairs(released.classes) do
    for class, n in pairs(classes) do fewer_in_flight('c:' .. route .. '|' .. class, n) end
  end
  for fence, n in pairs(released.fences) do
    fence = int(fence)
    if fewer_in_flight('n:' .. fence, n) then
      call('HDEL', K.batch, fence)
      call('ZREM', K.lease, fence)
    end
  end
  released = { providers = {}, fences = {}, classes = {} }
end

local function place_of(m, attempt)
  for i = 1, #m[TAKEN] do
    local taken = m[TAKEN][i]
    if taken[1] == attempt then return taken end
  end
  return nil
end

function segment.count(m, attempt, segments)
  for i = 1, #m[TAKEN] do
    local taken = m[TAKEN][i]
    if taken[1] == attempt and (taken[5] or 1) < segments then taken[5] = segments end
  end
end

-- Of an undelivered with its reason and the vendor's code, for it may be another attempt that the message ends by.
function segment.tell(taken, status, reason, error_code)
  taken[4] = status
  if status == 'undelivered' then taken[5], taken[6], taken[7] = taken[5] or 1, reason, error_code end
end

function segment.place_of(m, attempt, provider_id)
  for i = 1, #m[TAKEN] do
    local taken = m[TAKEN][i]
    if taken[1] == attempt and taken[3] == provider_id then return taken end
  end
  return place_of(m, attempt)
end

function segment.all_delivered(m, attempt, segments)
  for i = 1, #m[TAKEN] do
    local taken = m[TAKEN][i]
    if taken[1] == attempt and taken[4] == 'delivered' then segments = segments - 1 end
  end
  return segments <= 0
end

-- The provider's id is never thrown away, whatever became of the lease.
local function remember_id(key, m, attempt, provider, provider_id)
  local taken = place_of(m, attempt)
  if taken and taken[3] == provider_id and taken[2] == provider then return end
  if provider_id ~= '' then hset(K.ref, provider .. '/' .. provider_id, int(attempt) .. '.' .. key) end
  if not taken then
    m[TAKEN][#m[TAKEN] + 1] = { attempt, provider, provider_id, '' }
  elseif taken[3] == '' and taken[2] == provider then
    taken[3] = provider_id
  elseif provider_id ~= '' then
    -- A second id of one attempt leads here too, and has to go with the record.
    local known = false
    for _, t in ipairs(m[TAKEN]) do known = known or (t[2] == provider and t[3] == provider_id) end
    if not known then
      local own = (taken[5] or 1) > 1
      m[TAKEN][#m[TAKEN] + 1] = { attempt, provider, provider_id, own and '' or taken[4], taken[5] }
    end
  end
  changed[key] = true
end

local function submit(key, m, attempt, provider, provider_id)
  if m[STATE] == 'queued' then withdraw(key, m) end
  remember_id(key, m, attempt, provider, provider_id)
  mark(m, MAYBE)
  if m[STATE] == 'unknown' then zset(K.unsure, key, false) end
  set_state(key, m, 'submitted')
  m[SUBMITTED] = now
  local said = opt_outs.said_by(m)
  if said then hset(K.last, said, key) end
  zset(K.await, key, now + receipt_timeout(m[CLASS]))
  emit(key, m, 'submitted', { 'provider', provider, 'provider_id', provider_id, 'attempt', int(attempt) })
  withdrawal.too_late(key, m)
end

-- Into the history, once for each segment that has receipts of its own.
local function note(key, m, receipt, segments)
  local line = table.concat({ '\treceipt', 'status', receipt[4], 'attempt', receipt[1], 'raw', receipt[7] }, '\t')
  if segments > 1 and receipt[3] ~= '' then line = line .. '\tsegment\t' .. receipt[3] end
  if string.find(m[HIST] .. '\n', line .. '\n', 1, true) then return 'repeated' end
  m[HIST] = (m[HIST] == '' and '' or m[HIST] .. '\n') .. now_ms .. line
  changed[key] = true
  return nil
end

-- Whether another attempt may have been taken, of which no receipt has come. Under one idempotency key several have one
-- id, and one receipt.
local function others_open(m, attempt, provider, provider_id)
  for i = 1, #m[TAKEN] do
    local taken = m[TAKEN][i]
    local same = provider_id ~= '' and taken[3] == provider_id and taken[2] == provider
    if taken[1] ~= attempt and segment.is_open(m, taken) and not same then return true end
  end
  return m[STATE] == 'unknown' and m[ATTEMPT] ~= attempt and not has(m, held.EARLIER)
end

-- receipt = {attempt, provider, provider_id, status, reason, error_code, raw, parts}; parts: of how many segments with
-- receipts of their own it is one, 0 where the vendor does not say. Returns what became of it, for the counters.
local function apply_receipt(key, m, receipt)
  local attempt, status, state = receipt[1], receipt[4], m[STATE]
  local taken = place_of(m, attempt)
  local whose = taken and taken[2] or attempt == m[ATTEMPT] and m[PROVIDER] or receipt[2]
  if attempt < 1 or attempt > m[ATTEMPT] or whose ~= receipt[2] then return 'orphan' end
  if state == 'leased' then
    for i = 1, #m[PARKED] do
      local known = m[PARKED][i]
      if known[1] == attempt and known[3] == receipt[3] and known[4] == status then return 'repeated' end
    end
    -- Two for each of the segments that a message may have, and some more.
    if #m[PARKED] >= 24 then return 'dropped' end
    m[PARKED][#m[PARKED] + 1] = receipt
    changed[key] = true
    return 'parked'
  end
  local final, segments = status == 'delivered' or status == 'undelivered', receipt[8] or 1
  if segments == 0 then
    segments = taken and (taken[5] or 1) or m[COST]
  elseif taken then
    segments = math.max(segments, taken[5] or 1)
  end
  if segments > 1 then
    segment.count(m, attempt, segments)
  elseif taken and taken[4] == status then
    return 'repeated'
  end
  remember_id(key, m, attempt, receipt[2], receipt[3])
  taken, changed[key] = place_of(m, attempt), true
  if segments > 1 then
    segment.count(m, attempt, segments)
    taken = segment.place_of(m, attempt, receipt[3])
    if taken[4] == status then return 'repeated' end
    if final and taken[4] ~= 'delivered' then segment.tell(taken, status, receipt[5], receipt[6]) end
  elseif final and taken[4] ~= 'delivered' then
    for i = 1, #m[TAKEN] do
      local t = m[TAKEN][i]
      if t[1] == attempt then segment.tell(t, status, receipt[5], receipt[6]) end
    end
  end
  if not final or (status == 'delivered' and segments > 1 and not segment.all_delivered(m, attempt, segments)) then
    local open = state == 'unknown' or (state == 'queued' and has(m, MAYBE))
    if open and not segment.undelivered(m, attempt) then submit(key, m, attempt, receipt[2], receipt[3]) end
    return note(key, m, receipt, segments) or 'noted'
  end
  if state == status then return 'repeated' end
  local open = FINAL[state] or others_open(m, attempt, receipt[2], receipt[3])
  local ends = status == 'delivered' or state == 'unconfirmed' or not open
  local word = not ends and (note(key, m, receipt, segments) or FINAL[state] and 'contradicting' or 'noted')
  -- Not from one that is told again: the person may have opened meanwhile what it closed.
  if receipt[5] == 'opted_out' and (ends or word == 'noted') then opt_outs.learn(key, m, receipt[2]) end
  if word then return word end
  if state == 'queued' then withdraw(key, m) end
  local extra = { 'provider', receipt[2], 'provider_id', place_of(m, attempt)[3], 'attempt', int(attempt) }
  for i, name in ipairs({ 'reason', 'error_code' }) do
    if receipt[4 + i] ~= '' then
      extra[#extra + 1] = name
      extra[#extra + 1] = receipt[4 + i]
    end
  end
  if FINAL[state] then
    extra[#extra + 1] = 'late'
    extra[#extra + 1] = '1'
  end
  finish(key, m, status, extra)
  return FINAL[state] and 'late' or status
end

local function apply_parked(key, m)
  if #m[PARKED] == 0 or m[STATE] == 'leased' then return end
  local parked = m[PARKED]
  m[PARKED] = {}
  for _, receipt in ipairs(parked) do apply_receipt(key, m, receipt) end
end

local early_known -- how many receipts wait for their ids, read once

-- Receipts that came under the provider's id before we knew it.
local function apply_early(key, m, attempt, provider, provider_id)
  early_known = early_known or call('HLEN', K.early)
  if provider_id == '' or early_known == 0 then return end
  local name = provider .. '/' .. provider_id
  local packed = call('HGET', K.early, name)
  if not packed then return end
  call('HDEL', K.early, name)
  call('ZREM', K.earlyat, name)
  for _, receipt in ipairs(unpack_msg(packed)) do
    receipt[1] = attempt
    apply_receipt(key, m, receipt)
  end
end

-- Withdraws a message as far as it still can be.
-- Returns the word for `replaced` and for the answer to a cancel: cancelled, leaving, left or unknown.
local function cancel(key)
  local m = record(key)
  if not m then
    m = new_record('', '', '', 0, 0, 0, '', '')
    m[STATE] = 'tomb'
    records[key], changed[key] = m, true
    zset(K.ended, key, now + keep[1])
    return 'unknown'
  end
  local state = m[STATE]
  if state == 'tomb' then return 'unknown' end
  if state == 'cancelled' then return 'cancelled' end
  if state == 'queued' then
    withdraw(key, m)
    return withdrawal.let_go(key, m) and 'cancelled' or 'left'
  elseif state == 'leased' or state == 'unknown' then
    mark(m, CANCEL)
    changed[key] = true
    return 'leaving'
  end
  return 'left'
end
