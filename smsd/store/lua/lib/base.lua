-- base: the clock, the cache of records, the one way to change a state and to end a message.
-- Included first by every verb. K.<kind> is a declared key, an upper-case index a place in a record (m[STATE]) or in a
-- lane's state (L[L_HEAD]); both are filled in by smsd/store/scripts.py from keys.py and record.py. Records are read
-- once and written by flush().
-- What runs for each message counts its loops by number (a turn of ipairs costs ten times as much), writes no number by
-- `..` (a printf of a double) and grows no table.
local call, pack, unpack_msg, unpack_from = redis.call, cmsgpack.pack, cmsgpack.unpack, cmsgpack.unpack_limit
local fmt, match, sub, find = string.format, string.match, string.sub, string.find
local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
local KEYS, tonumber, unpack, pairs = KEYS, tonumber, unpack, pairs -- globals take three times as long to find

local now = 0 -- µs, the shard's clock
local now_ms -- the same in ms, as text
local keep -- {record_us, bodies_us (1: to the end only), slack_us}: retention and the pacing's slack
local records, changed = {}, {} -- key -> record; keys to write
local backlog = {}
local pending_z, pending_h = {}, {} -- writes that nothing in a script reads back: one call per key at the end

local FINAL = {
  delivered = '1', undelivered = '1', unconfirmed = '1', failed = '1', expired = '1', rejected = '1', suppressed = '1',
  cancelled = '1',
}
local CANCEL, DOUBLE, MAYBE, RESENT = 1, 2, 4, 8 -- flags of a record; MAYBE: an attempt may have left

local DIGITS = { '1', '2', '3', '4', '5', '6', '7', '8', '9' }

-- Whole numbers below 2^53 as text; redis.call writes them so by itself.
local function int(x)
  return DIGITS[x] or fmt('%d', x)
end

local function pad(x)
  return fmt('%016d', x)
end

local function has(m, flag)
  local flags = m[FLAGS]
  return flags >= flag and floor(flags / flag) % 2 == 1
end

local function mark(m, flag)
  if not has(m, flag) then m[FLAGS] = m[FLAGS] + flag end
end

-- Sets `now` from ARGV[1] ("0": the server's TIME) under a high-water mark. ARGV[2] is the caller's wall clock, ARGV[3]
-- the difference that is still believed (0: any). Returns an error reply when the two clocks disagree, else nil.
local function begin()
  -- Lua's heap may grow to ten times what lives in it, some 8 MB, before it is looked through: a twentieth of all CPU.
  collectgarbage('setpause', 1000)
  local t = call('TIME')
  local server = t[1] * 1000000 + t[2]
  now = tonumber(ARGV[1])
  if now == 0 then
    local step = tonumber(ARGV[3])
    if step > 0 and math.abs(server - ARGV[2]) > step then
      return redis.error_reply('CLOCK the store is at ' .. int(server) .. ' us, the process at ' .. ARGV[2])
    end
    now = server
  end
  now = max(now, tonumber(call('HGET', K.meta, 'hwm') or 0))
  now_ms = int(now / 1000)
  keep = call('HGET', K.conf, 'keep')
  keep = keep and unpack_msg(keep) or { 259200000000, 1, 20000 }
end

-- Sets a member's score in a zset, or (false) removes it, when the script ends.
local function zset(key, member, score)
  local list = pending_z[key]
  if not list then
    list = {}
    pending_z[key] = list
  end
  list[member] = score
end

-- Sets a field of a hash, or (false) removes it, when the script ends.
local function hset(key, field, value)
  local list = pending_h[key]
  if not list then
    list = {}
    pending_h[key] = list
  end
  list[field] = value
end

-- A mark is over: where lanes are paused by it, the sweeps look at all such marks, without a rest.
local function lift_mark(what)
  if call('ZLEXCOUNT', K.paused, '[' .. what .. '\0', '(' .. what .. '\0\255') == 0 then return end
  call('HDEL', K.meta, 'cursor:paused')
  call('HSET', K.meta, 'lifted', 1)
end

local function call_in_chunks(command, key, args)
  for i = 1, #args, 400 do call(command, key, unpack(args, i, min(i + 399, #args))) end
end

local function flush_pending()
  for key, list in pairs(pending_z) do
    local add, gone = {}, {}
    for member, score in pairs(list) do
      if score then
        add[#add + 1] = score
        add[#add + 1] = member
      else
        gone[#gone + 1] = member
      end
    end
    call_in_chunks('ZADD', key, add)
    call_in_chunks('ZREM', key, gone)
  end
  for key, list in pairs(pending_h) do
    local add, gone = {}, {}
    for field, value in pairs(list) do
      if value then
        add[#add + 1] = field
        add[#add + 1] = value
      else
        gone[#gone + 1] = field
      end
    end
    call_in_chunks('HSET', key, add)
    call_in_chunks('HDEL', key, gone)
  end
  pending_z, pending_h = {}, {}
end

local function row(_, ...)
  return { ... }
end

-- An array whose head has so many bytes, as a table of just its size: one that cmsgpack makes grows with each value.
local function unpack_row(packed, head)
  return row(unpack_from(packed, 255, head))
end

local function unpack_record(packed)
  if string.byte(packed) ~= 220 then error('not a record') end -- 220: the head of an array of 16 and more
  return unpack_row(packed, 3)
end

local function load(keys)
  local ask = {}
  for i = 1, #keys do
    local key = keys[i]
    if records[key] == nil then
      records[key] = false
      ask[#ask + 1] = key
    end
  end
  if #ask == 0 then return end
  local found = call('HMGET', K.msg, unpack(ask))
  for i = 1, #ask do
    local key = ask[i]
    if found[i] then records[key] = unpack_record(found[i]) end
  end
end

local function record(key)
  if records[key] == nil then load({ key }) end
  return records[key]
end

-- In the order of record.py. The state is set by whoever makes it.
local function new_record(class, route, lane, deadline, arrival, cost, print, echo)
  return {
    1, '', 0, class, route, lane, deadline, arrival, 0, cost, 0, 0, '', 0, print, now, 0, 0, echo,
    {}, {}, 0, 0, '', '', 0, 0, '', 0, 0, 0, 0,
  }
end

-- Where the index of recipients has a message.
local function who_member(key, m)
  local tenant, id = match(key, '^([^/]*)/(.*)$')
  return tenant .. '\0' .. m[WHO] .. '\0' .. id
end

-- What every event of a message repeats: a packed array; in records of stores that are older text, split by \31.
local function echo_of(m)
  if (string.byte(m[ECHO]) or 0) >= 128 then return select(2, unpack_from(m[ECHO], 255, 1)) end
  local list = {}
  for x in string.gmatch(m[ECHO], '[^\31]+') do list[#list + 1] = x end
  return unpack(list)
end

-- What XADD gets for an event, the same table each time: what all events have, from 19 on what those of this message
-- repeat, then what is told of this one.
local event = {
  'v', '1', 'event_id', '', 'id', '', 'tenant', '', 'class', '', 'seq', '', 'state', '', 'final', '', 'at', '',
}

local function emit(key, m, state, extra)
  local slash, seq, more = find(key, '/', 1, true), m[SEQ] + 1, #extra
  m[SEQ] = seq
  seq = int(seq)
  event[4], event[6], event[8] = key .. '/' .. seq, sub(key, slash + 1), sub(key, 1, slash - 1)
  event[10], event[12], event[14], event[16], event[18] = m[CLASS], seq, state, FINAL[state] or '0', now_ms
  local n = 32
  event[19], event[20], event[21], event[22], event[23], event[24], event[25], event[26], event[27], event[28],
    event[29], event[30], event[31], event[32] = echo_of(m)
  while event[n] == nil do n = n - 2 end
  for i = 1, more do event[n + i] = extra[i] end
  n = n + more
  if has(m, DOUBLE) then
    event[n + 1], event[n + 2] = 'possible_duplicate', '1'
    n = n + 2
  end
  if seq ~= '1' or more > 0 then
    local line = now_ms .. '\t' .. state
    if more > 0 then line = line .. '\t' .. table.concat(extra, '\t') end
    m[HIST] = m[HIST] == '' and line or m[HIST] .. '\n' .. line
  end
  call('XADD', K.events, '*', unpack(event, 1, n))
  changed[key] = true
end

-- The only place where a record's state changes; keeps the backlog's count.
local function set_state(key, m, state)
  local class = m[CLASS]
  if m[STATE] == 'queued' then backlog[class] = (backlog[class] or 0) - 1 end
  if state == 'queued' then backlog[class] = (backlog[class] or 0) + 1 end
  m[STATE] = state
  changed[key] = true
end

local tally = {} -- class \31 state \31 reason -> messages that ended so, for the caller's metrics

local function finish(key, m, state, extra)
  local before = m[STATE]
  local reason = ''
  for i = 1, #extra - 1, 2 do
    if extra[i] == 'reason' then reason = extra[i + 1] end
  end
  local name = m[CLASS] .. '\31' .. state .. '\31' .. reason
  tally[name] = (tally[name] or 0) + 1
  if before == 'submitted' or before == 'unknown' then zset(K.await, key, false) end
  if before == 'unknown' then zset(K.unsure, key, false) end
  set_state(key, m, state)
  emit(key, m, state, extra)
  if not FINAL[before] then
    zset(K.ended, key, now + keep[1])
    if keep[2] == 1 then
      hset(K.body, key, false)
    elseif keep[2] > 1 and keep[2] < keep[1] then
      zset(K.bodyat, key, now + keep[2])
    end
  end
end

local function flush_records()
  local written = {}
  for key in pairs(changed) do
    local n = #written
    written[n + 1], written[n + 2] = key, pack(records[key])
  end
  call_in_chunks('HSET', K.msg, written)
  changed = {}
  flush_pending()
  for class, n in pairs(backlog) do
    if n ~= 0 then call('HINCRBY', K.meta, 'n:' .. class, n) end
  end
  backlog = {}
end
