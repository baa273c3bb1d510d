-- part: keeps one part of a text until the others are there.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, msgpack of {group, number of the part, of how many, provider_id, body, how long the
--        others are waited for in us, most (groups that are kept), provider/provider_id ('': no repeat can be told)}
-- Output {kept, repeated (its text was written), whole (all are here) or alone (no room for another group, or it is of
--        another text under the same group), msgpack of {of how many, {{number, provider_id, body}..}} where whole}
-- Repeated, it changes nothing.
--#include base
local refused = begin()
if refused then return refused end
local ask = unpack_msg(ARGV[4])
local group, number, total, id, body = ask[1], ask[2], ask[3], ask[4], ask[5]
if tonumber(ask[8] ~= '' and call('ZSCORE', K.heard, ask[8]) or 0) > now then return { 'repeated', '' } end
local packed = call('HGET', K.parts, group)
if not packed and call('HLEN', K.parts) >= ask[7] then return { 'alone', '' } end
local text = packed and unpack_msg(packed) or { total, {} }
local known
for _, one in ipairs(text[2]) do
  if one[1] == number then known = one end
end
if known and (known[2] ~= id or known[3] ~= body) then return { 'alone', '' } end
if not known then text[2][#text[2] + 1] = { number, id, body } end
packed = pack(text)
call('HSET', K.parts, group, packed)
call('ZADD', K.partsat, 'NX', int(now + ask[6]), group)
if #text[2] < text[1] then return { 'kept', '' } end
return { 'whole', packed }
