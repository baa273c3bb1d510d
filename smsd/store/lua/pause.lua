-- pause: sets or lifts the mark that pauses everything, a tenant, class, sender, campaign or provider.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, what ('all', 't:T', 'c:C', 's:S', 'k:T|NAME', 'p:P'), until_us (0: until resumed;
--        -1: resume), reason, over 0/1 (0: one that is in force stays as it is)
-- Output 1 when something changed, else 0. Lanes follow when they are next looked at; sweeps make resumed lanes ready.
--#include base
local refused = begin()
if refused then return refused end
local value = ARGV[5] == '-1' and '' or ARGV[5] .. ' ' .. ARGV[6]
local had = call('HGET', K.pause, ARGV[4]) or ''
if had == value then return 0 end
local till = tonumber(match(had, '^(%d+)'))
if ARGV[7] == '0' and till and (till == 0 or till > now) then return 0 end
if value == '' then
  call('HDEL', K.pause, ARGV[4])
else
  call('HSET', K.pause, ARGV[4], value)
end
call('PUBLISH', K.bell, 'pause')
return 1
