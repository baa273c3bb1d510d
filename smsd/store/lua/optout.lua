-- optout: closes and opens scopes for many recipients of one shard.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, msgpack list of {field of K.optout, scope a, m, or '' to open it, number, at_ms
--        (0: now), source, provider}
-- Output one word per entry: closed, open (there was nothing to open), opened:a, opened:m, unchanged (a scope as wide
--        was closed already)
-- Repeated, it changes nothing.
--#include base limit lane wait optout
local refused = begin()
if refused then return refused end
local out = {}
for i, e in ipairs(unpack_msg(ARGV[4])) do
  if e[2] == '' then
    local was = opt_outs.open(e[1])
    out[i] = was == '' and 'open' or 'opened:' .. was
  else
    local at = e[4] > 0 and e[4] or tonumber(now_ms)
    out[i] = opt_outs.close(e[1], e[2], e[3], at, e[5], e[6]) and 'closed' or 'unchanged'
  end
end
return out
