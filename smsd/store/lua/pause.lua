-- pause: sets or lifts the mark that pauses everything, a tenant, class, sender, campaign or provider.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, what ('all', 't:T', 'c:C', 's:S', 'k:T|NAME', 'p:P'), until_us (0: until resumed;
--        -1: resume), who (no blanks), reason, over 0/1 (0: one that is in force stays as it is)
-- Output 1 when something changed, else 0. Lanes follow when they are next looked at; sweeps make resumed lanes ready.
--#include base
local refused = begin()
if refused then return refused end
local had = call('HGET', K.pause, ARGV[4])
local till, rest = match(had or '', '^(%d+) %d+ (.*)$')
local wish = ARGV[6] .. ' ' .. ARGV[7]
if ARGV[5] == '-1' then
  if not had then return 0 end
  call('HDEL', K.pause, ARGV[4])
  lift_mark(ARGV[4])
else
  if till == ARGV[5] and rest == wish then return 0 end
  if ARGV[8] == '0' and till and (till == '0' or tonumber(till) > now) then return 0 end
  call('HSET', K.pause, ARGV[4], ARGV[5] .. ' ' .. int(now) .. ' ' .. wish)
end
call('PUBLISH', K.bell, 'pause')
return 1
