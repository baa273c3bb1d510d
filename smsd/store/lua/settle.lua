-- settle: writes what attempts came to, the very next write after their answers; also what a look-up found out.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, msgpack list of {key, fence, kind, attempt, provider, ...}, by kind:
--        under a lease:      accepted {provider_id, segment_ids} | back {} | retry {at_us, counted 0/1, waited, extra}
--                            fail {reason, extra} | elsewhere {providers, extra} | unknown {look_at_us, extra}
--                            moved {route, extra} | resend {providers, extra} (its idempotency key was over)
--        while `unknown`:    found {provider_id, receipts} | look {at_us, noes, failures} | clear {doubt 0/1, extra}
--                            resend {providers, extra, key_until_us (0: any time)} | hold {extra}
--        extra = event fields as a flat list; receipts = {{status, reason, error_code, raw}..}
-- Output one word per entry, then msgpack of {class \31 state \31 reason = how many ended so}:
--        the state that the message is in now, or `late` (another lease, or a state that has
-- moved on),
--        or `gone` (no such message). A late outcome never touches another's lease; its provider id is kept.
--#include base limit lane wait optout outcome bell
local refused = begin()
if refused then return refused end

local function refund_all(key, m)
  local p = parts(m[LANE])
  local scopes = { 't:' .. p.tenant, 'c:' .. p.tenant .. '|' .. p.class, 's:' .. p.sender, 'p:' .. m[PROVIDER] }
  for _, scope in ipairs(scopes) do
    if #defined(scope) > 0 then
      refund(scope, m[COST], m[LEASED], m[LEASED] - (m[LEAD] or 0))
      if first_of(K.wait, scope .. '\0') then wake_by(scope, now) end
    end
  end
end

-- The lane of the same flow, sender and campaign that only `bound` may serve.
local function bind(m, bound)
  m[LANE] = match(m[LANE], '^(.*|)[^|]*$') .. bound
end

local function fail(key, m, reason, extra)
  if reason == 'opted_out' then opt_outs.learn(key, m, m[PROVIDER]) end
  if stands(key, m) then return end
  if withdrawal.wanted_back(m) and not has(m, MAYBE) then
    return finish(key, m, 'cancelled', { 'reason', 'cancelled' })
  end
  if has(m, MAYBE) then return held.earlier(key, m, { 'reason', reason, unpack(extra) }) end
  finish(key, m, 'failed', { 'reason', reason, unpack(extra) })
end

-- Whoever takes this message up does not live to tell: after so many times it goes no more, and is kept for a look.
local UNSETTLED_MAX = 3

local function bury(key, m)
  local tenant, id = match(key, '^([^/]*)/(.*)$')
  local detail = 'its lease ended unsettled ' .. m[UNSETTLED] .. ' times in a row'
  if has(m, MAYBE) then detail = detail .. '; an attempt may have left' end
  call('XADD', K.dead, '*', 'at', now_ms, 'reason', 'internal', 'detail', detail, 'tenant', tenant,
    'class', m[CLASS], 'id', id, 'message', call('HGET', K.body, key) or '')
end

local leased = {}

-- The ids of an attempt: one, or one for each segment.
function segment.keep_ids(key, m, e)
  local ids = e[3] == 'accepted' and e[7] or {}
  if #ids > 0 then segment.count(m, e[4], 1 + #ids) end
  for i = 1, #ids do
    local id = ids[i]
    remember_id(key, m, e[4], e[5], id)
  end
  apply_early(key, m, e[4], e[5], e[6])
  for i = 1, #ids do
    local id = ids[i]
    apply_early(key, m, e[4], e[5], id)
  end
end

function leased.accepted(key, m, e)
  submit(key, m, e[4], e[5], e[6])
  segment.keep_ids(key, m, e)
end

-- Not a byte left: no attempt is counted, and nothing is told.
function leased.back(key, m)
  refund_all(key, m)
  m[ATTEMPT] = m[ATTEMPT] - 1
  if #m[TAKEN] > 0 or withdrawal.wanted_back(m) or m[DEADLINE] <= now then return go_back(key, m, 0, {}) end
  enqueue(key, m)
end

-- Not a byte left, and another route serves it from now on, whatever bound it before.
function leased.moved(key, m, e)
  refund_all(key, m)
  m[ATTEMPT] = m[ATTEMPT] - 1
  local p = parts(m[LANE])
  m[ROUTE], m[LANE] = e[6], table.concat({ p.tenant, p.class, e[6], p.sender, p.campaign, '' }, '|')
  go_back(key, m, 0, e[7])
end

function leased.retry(key, m, e)
  m[TRIES] = m[TRIES] + e[7]
  m[WAITED] = e[8]
  go_back(key, m, e[6], e[9])
end

function leased.fail(key, m, e)
  fail(key, m, e[6], e[7])
end

function leased.elsewhere(key, m, e)
  m[TRIES] = m[TRIES] + 1
  bind(m, e[6])
  go_back(key, m, 0, e[7])
end

-- Not a byte left: the key under which the attempt before was to be told again is over; by the policy it goes, flagged.
function leased.resend(key, m, e)
  refund_all(key, m)
  m[ATTEMPT] = m[ATTEMPT] - 1
  mark(m, DOUBLE)
  m[KEYED] = 0
  bind(m, e[6])
  go_back(key, m, 0, e[7])
end

function leased.unknown(key, m, e)
  held.begin(m)
  set_state(key, m, 'unknown')
  m[NOS], m[FAILS] = 0, 0
  zset(K.unsure, key, e[6])
  emit(key, m, 'unknown', e[7])
end

local unknown = {}

-- Of two alike that two processes looked for at once, both may have found the same one: the second looks again.
function unknown.found(key, m, e)
  local refs, name = pending_h[K.ref] or {}, e[5] .. '/' .. e[6]
  local known = refs[name] or call('HGET', K.ref, name)
  if known and match(known, '^%d+%.(.*)$') ~= key then return zset(K.unsure, key, now) end
  submit(key, m, e[4], e[5], e[6])
  apply_early(key, m, e[4], e[5], e[6])
  for _, r in ipairs(e[7]) do apply_receipt(key, m, { e[4], e[5], e[6], r[1], r[2], r[3], r[4] }) end
end

function unknown.look(key, m, e)
  m[NOS], m[FAILS] = e[7], e[8]
  changed[key] = true
  zset(K.unsure, key, e[6])
end

local function unmaybe(m)
  if has(m, MAYBE) and not has(m, RESENT) then m[FLAGS] = m[FLAGS] - MAYBE end
end

function unknown.clear(key, m, e)
  unmaybe(m)
  if (m[UNSETTLED] or 0) >= UNSETTLED_MAX then
    bury(key, m)
    return fail(key, m, 'internal', e[7])
  end
  if e[6] == 1 then mark(m, DOUBLE) end
  m[KEYED] = 0
  m[TRIES] = m[TRIES] + 1
  go_back(key, m, 0, e[7])
end

-- Under the provider's own key (which binds it) the second request is the first one told again: no doubt to be flagged.
function unknown.resend(key, m, e)
  if (m[UNSETTLED] or 0) >= UNSETTLED_MAX then
    if call('ZSCORE', K.unsure, key) then bury(key, m) end -- else it is held already, and this is a repeat
    return held.hold(key, m)
  end
  if e[6] == '' then mark(m, DOUBLE) end
  m[KEYED] = e[8] or 0
  mark(m, RESENT)
  m[TRIES] = m[TRIES] + 1
  if e[6] ~= '' then bind(m, e[6]) end
  go_back(key, m, 0, e[7])
end

function unknown.hold(key, m, e)
  held.hold(key, m)
end

unknown.accepted = leased.accepted

function unknown.fail(key, m, e)
  unmaybe(m)
  fail(key, m, e[6], e[7])
end

-- A late "not taken" or give-back of the attempt that we were unsure about.
local function late_no(key, m, e)
  unmaybe(m)
  go_back(key, m, 0, {})
end

unknown.back, unknown.retry, unknown.elsewhere, unknown.moved = late_no, late_no, late_no, late_no

-- A settle that no longer holds the lease. The id is kept; a resend that still waits is not needed any more. A store
-- that has lost its last writes (a failover, a crash) knows nothing of the attempt, and may have let another one begin.
local function late(key, m, e)
  if e[3] ~= 'accepted' and e[3] ~= 'found' then return 'late' end
  if m[STATE] == 'queued' then
    m[ATTEMPT] = max(m[ATTEMPT], e[4])
    leased.accepted(key, m, e)
    return m[STATE]
  end
  if m[STATE] == 'leased' and e[4] >= m[ATTEMPT] then mark(m, DOUBLE) end
  remember_id(key, m, e[4], e[5], e[6])
  segment.keep_ids(key, m, e)
  return 'late'
end

local entries, keys, out = unpack_msg(ARGV[4]), {}, {}
for i = 1, #entries do
  local e = entries[i]
  keys[i] = e[1]
end
load(keys)
for i = 1, #entries do
  local e = entries[i]
  local key = e[1]
  local m = record(key)
  if not m then
    out[i] = 'gone'
  elseif m[STATE] == 'leased' and m[FENCE] == e[2] and leased[e[3]] then
    release(m)
    m[UNSETTLED] = 0
    leased[e[3]](key, m, e)
    apply_parked(key, m)
    out[i] = m[STATE]
  elseif m[STATE] == 'unknown' and m[ATTEMPT] == e[4] and (e[2] == 0 or e[2] == m[FENCE]) and unknown[e[3]] then
    unknown[e[3]](key, m, e)
    out[i] = m[STATE]
  else
    out[i] = late(key, m, e)
  end
end
flush()
flush_released()
ring_ready()
out[#out + 1] = pack(tally)
return out
