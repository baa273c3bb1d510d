-- receipt: merges delivery receipts by the monotonic table of core/receipt.py.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, most (bound of receipts kept early), msgpack list of
--        {key or '', attempt, provider, provider_id, status, reason, error_code, raw, parts}; key and attempt come from
--        our reference; parts as lib/outcome.lua has it
-- Output one word per receipt: delivered, undelivered, late, noted, parked, repeated, contradicting, orphan, early,
--        dropped; then msgpack of {{class \31 state \31 reason = how many ended so}, {provider = {us from its taking
--        a message to the receipt that ended it, ..}}}
-- Repeated, it changes nothing.
--#include base limit lane wait optout outcome bell
local refused = begin()
if refused then return refused end
local most = tonumber(ARGV[4])

local function keep_early(r)
  local name = r[3] .. '/' .. r[4]
  if r[4] == '' then return 'orphan' end
  local packed = call('HGET', K.early, name)
  local list = packed and unpack_msg(packed) or {}
  for i = 1, #list do
    local known = list[i]
    if known[4] == r[5] then return 'repeated' end
  end
  if #list >= 4 or (not packed and call('HLEN', K.early) >= most) then return 'dropped' end
  list[#list + 1] = { 0, r[3], r[4], r[5], r[6], r[7], r[8], r[9] }
  call('HSET', K.early, name, pack(list))
  call('ZADD', K.earlyat, int(now), name)
  return 'early'
end

local list, out, keys, took = unpack_msg(ARGV[5]), {}, {}, {}
for i = 1, #list do
  local r = list[i]
  if r[1] ~= '' then keys[#keys + 1] = r[1] end
end
if #keys > 0 then load(keys) end
for i = 1, #list do
  local r = list[i]
  if r[1] == '' and r[4] ~= '' then
    local refs, name = pending_h[K.ref] or {}, r[3] .. '/' .. r[4]
    local known = refs[name] or call('HGET', K.ref, name)
    if known then
      local attempt, key = match(known, '^(%d+)%.(.*)$')
      r[1], r[2] = key, tonumber(attempt)
    end
  end
  local m = r[1] ~= '' and record(r[1])
  if m and m[STATE] ~= 'tomb' then
    out[i] = apply_receipt(r[1], m, { r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9] })
    if (out[i] == r[5] or out[i] == 'late') and m[SUBMITTED] > 0 then
      local list = took[r[3]] or {}
      took[r[3]], list[#list + 1] = list, now - m[SUBMITTED]
    end
  else
    out[i] = keep_early(r)
  end
end
flush()
out[#out + 1] = pack({ tally, took })
return out
