-- admit: takes a batch of checked entries of one inbox: messages into lanes or the due set, cancels, rejections.
-- KEYS   every kind of keys.py, then the inbox stream (may be '' when the batch did not come from one)
-- ARGV   now_us, wall_us, step_us, batch (msgpack: a list of entries), then for each `send` its message (opaque bytes)
--        send   {'send', key, print, class, route, lane, deadline_us, not_before_us, cost, echo, replaces key or '',
--        entry id, recipient hashed}
--        cancel {'cancel', key, entry id}
--        reject {'reject', event fields, count, entry id, key or '', print}, and `count` opaque arguments: the dead
--        entry's fields. One with the key and the print of a message that was taken is its repeat, and no more
-- Output one word per entry, then msgpack of {class \31 state \31 reason = how many ended so}:
--        taken, due, cancelled (a cancel had come first, or all of its kind was withdrawn), suppressed (its recipient
--        has opted out), repeated, rejected;
--        conflict: the id was used with other content; nothing was done, the caller rejects it
--        for a cancel: cancelled, leaving, left, unknown; for an entry that another call has handled: handled
-- Repeated, it changes nothing: messages by their key, the rest by what XACK says.
--#include base limit lane wait optout outcome bell
local refused = begin()
if refused then return refused end
local inbox = KEYS[#KEYS]

local function acknowledge(entry_id)
  if inbox == '' or entry_id == '' then return true end
  local fresh = call('XACK', inbox, 'smsd', entry_id) == 1
  call('XDEL', inbox, entry_id)
  return fresh
end

local function reject(e, from, to)
  local old = e[5] ~= '' and record(e[5])
  if old and old[STATE] ~= 'tomb' and old[PRINT] == e[6] then return 'repeated' end
  call('XADD', K.events, '*', 'at', now_ms, unpack(e[2]))
  call('XADD', K.dead, '*', 'at', now_ms, unpack(ARGV, from, to))
  return 'rejected'
end

-- What became of the message that this one replaces, as its event says it.
local REPLACED = { cancelled = 'cancelled', leaving = 'left', left = 'left', unknown = 'unknown' }

-- When the entry was written, as its id has it: a withdrawal covers what still lay in the inbox. An id that somebody
-- made up and that is no time (below 1973 in ms, as core/fields.py has it) counts from now.
local function written_at(entry_id)
  local ms = tonumber(match(entry_id, '^(%d+)%-%d+$'))
  return ms and ms >= 100000000000 and min(now, ms * 1000) or now
end

local function send(e, body, number)
  local key, class = e[2], e[4]
  local old = record(key)
  local tomb = old and old[STATE] == 'tomb'
  if old and not tomb then return old[PRINT] == e[3] and 'repeated' or 'conflict' end
  local m = new_record(class, e[5], e[6], e[7], number, e[9], e[3], e[10])
  records[key] = m
  m[WHO] = e[13]
  zset(K.who, who_member(key, m), 0)
  local extra = {}
  if e[11] ~= '' and e[11] ~= key then extra = { 'replaced', REPLACED[cancel(e[11])] } end
  if tomb then zset(K.ended, key, false) end
  if tomb or withdrawal.some() and withdrawal.covers(parts(e[6]), written_at(e[12])) then
    set_state(key, m, 'queued')
    finish(key, m, 'cancelled', { 'reason', 'cancelled', unpack(extra) })
    return 'cancelled'
  end
  local closed = opt_outs.some() and opt_outs.covers(parts(e[6]), e[13])
  if closed then
    set_state(key, m, 'queued')
    finish(key, m, 'suppressed', { 'reason', 'opted_out', 'detail', closed, unpack(extra) })
    return 'suppressed'
  end
  hset(K.body, key, body)
  if e[8] > now then
    put_due(key, m, e[8])
    m[SINCE] = m[DUE]
    extra[#extra + 1] = 'due'
    extra[#extra + 1] = int(floor(m[DUE] / 1000))
    emit(key, m, 'queued', extra)
    return 'due'
  end
  enqueue(key, m)
  emit(key, m, 'queued', extra)
  return 'taken'
end

local function withdraw_by_entry(e)
  if not acknowledge(e[3]) then return 'handled' end
  local key = e[2]
  local word = cancel(key)
  if word == 'left' then
    local m = record(key)
    if m[STATE] ~= 'unknown' then emit(key, m, m[STATE], { 'reason', 'cancel_too_late' }) end
  end
  return word
end

local batch = unpack_msg(ARGV[4])
local keys, out, done, sends = {}, {}, {}, 0
for i = 1, #batch do
  local e = batch[i]
  local key = e[1] == 'reject' and e[5] or e[2]
  if key ~= '' then keys[#keys + 1] = key end
  if e[1] == 'send' then
    sends = sends + 1
    if e[11] ~= '' then keys[#keys + 1] = e[11] end
  end
end
if #keys > 0 then load(keys) end
if sends > 0 and opt_outs.some() then
  local people = {}
  for i = 1, #batch do
    local e = batch[i]
    if e[1] == 'send' then people[#people + 1], people[#people + 2] = parts(e[6]), e[13] end
  end
  opt_outs.look(people)
end
local number = sends > 0 and call('HINCRBY', K.meta, 'arrivals', sends) - sends or 0
local at = 4
for i = 1, #batch do
  local e = batch[i]
  if e[1] == 'send' then
    at, number = at + 1, number + 1
    out[i] = send(e, ARGV[at], number)
    if e[12] ~= '' and out[i] ~= 'conflict' then done[#done + 1] = e[12] end
  elseif e[1] == 'cancel' then
    out[i] = withdraw_by_entry(e)
  else
    out[i] = acknowledge(e[4]) and reject(e, at + 1, at + e[3]) or 'handled'
    at = at + e[3]
  end
end
if inbox ~= '' and #done > 0 then
  call('XACK', inbox, 'smsd', unpack(done))
  call('XDEL', inbox, unpack(done))
end
flush()
ring_ready()
out[#out + 1] = pack(tally)
return out
