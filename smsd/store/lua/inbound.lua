-- inbound: a text that a person sent, and what it closes or opens, in one step; a repeat of it changes nothing.
-- KEYS   every kind of keys.py, then the inbound stream
-- ARGV   now_us, wall_us, step_us, msgpack of {provider/provider_id ('': no repeat can be told), how long one is a
--        repeat in us, most (entries of the stream), close {{field, scope, number, source, provider}..},
--        open {field..}, event fields as a flat list, without opt_out (none: another shard has the text), the scope
--        that it opened in other shards (a, m or '')}
-- Output {taken or repeated, the scope that it opened (a, m or ''), how many entries it closed}
--#include base limit lane wait optout
local refused = begin()
if refused then return refused end
local ask = unpack_msg(ARGV[4])
local id, span, most, close_, open_, event = ask[1], ask[2], ask[3], ask[4], ask[5], ask[6]
call('ZREMRANGEBYSCORE', K.heard, '-inf', int(now))
if id ~= '' and call('ZADD', K.heard, 'NX', int(now + span), id) == 0 then return { 'repeated', '', 0 } end
local opened, closed, scope = ask[7], 0, ''
for _, e in ipairs(close_) do
  scope = e[2]
  if opt_outs.close(e[1], scope, e[3], tonumber(now_ms), e[4], e[5]) then closed = closed + 1 end
end
for _, field in ipairs(open_) do
  local was = opt_outs.open(field)
  if was == 'a' or opened == '' then opened = was end
end
if #event > 0 then
  local told = ({ a = 'all', m = 'marketing' })[scope ~= '' and scope or opened] or ''
  event[#event + 1], event[#event + 2] = 'opt_out', told
  call('XADD', KEYS[#KEYS], 'MAXLEN', '~', most, '*', unpack(event))
end
return { 'taken', opened, closed }
