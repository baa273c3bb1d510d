-- part: keeps one part of a text until the others are there.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, msgpack of {group, number of the part, of how many, provider_id, body, how long the
--        others are waited for in us, most (groups that are kept)}
-- Output {kept, whole (all are here) or full (no room for another group), msgpack of {of how many, {{number,
--        provider_id, body}..}} where it is whole}
-- Repeated, it changes nothing.
--#include base
local refused = begin()
if refused then return refused end
local ask = unpack_msg(ARGV[4])
local group, number, total = ask[1], ask[2], ask[3]
local packed = call('HGET', K.parts, group)
if not packed and call('HLEN', K.parts) >= ask[7] then return { 'full', '' } end
local text = packed and unpack_msg(packed) or { total, {} }
local there = false
for _, one in ipairs(text[2]) do there = there or one[1] == number end
if not there then text[2][#text[2] + 1] = { number, ask[4], ask[5] } end
packed = pack(text)
call('HSET', K.parts, group, packed)
call('ZADD', K.partsat, 'NX', int(now + ask[6]), group)
if #text[2] < text[1] then return { 'kept', '' } end
return { 'whole', packed }
