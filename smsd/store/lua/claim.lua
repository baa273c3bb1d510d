-- claim: gives a process messages of unknown outcome whose time to be looked at has come; others see them again later.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, most, hold_us (how long the claim keeps others away)
-- Output {msgpack list of {key, provider, attempt, leased_us, deadline_us, noes, failures, flags, tries, entered},
-- message..}
--#include base
local refused = begin()
if refused then return refused end
local keys = call('ZRANGEBYSCORE', K.unsure, '-inf', int(now), 'LIMIT', 0, tonumber(ARGV[4]))
local list, asked = {}, {}
if #keys > 0 then load(keys) end
for _, key in ipairs(keys) do
  local m = record(key)
  if m and m[STATE] == 'unknown' then
    call('ZADD', K.unsure, int(now + ARGV[5]), key)
    list[#list + 1] = {
      key, m[PROVIDER], m[ATTEMPT], m[LEASED], m[DEADLINE], m[NOS], m[FAILS], m[FLAGS], m[TRIES], m[ENTERED],
    }
    asked[#asked + 1] = key
  else
    call('ZREM', K.unsure, key)
  end
end
local out = { pack(list) }
if #asked > 0 then
  for i, body in ipairs(call('HMGET', K.body, unpack(asked))) do out[i + 1] = body end
end
return out
