-- withdraw: cancels all that a mark covers, or lifts the mark. It holds at once; what follows from it is the sweeps'.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, what ('t:T', 'c:C', 'tc:T|C': what was taken before; 'k:T|NAME': what comes later
--        too), lift 0/1, who, reason, most (marks that may be kept)
-- Output 1 when something changed, else 0; an error FULL when there are too many marks
--#include base
local refused = begin()
if refused then return refused end
local what = ARGV[4]
call('HDEL', K.meta, 'w:' .. what)
if ARGV[5] == '1' then
  call('ZREM', K.withdrawing, what)
  local had = call('HDEL', K.withdrawn, what)
  lift_mark('x' .. what)
  call('PUBLISH', K.bell, 'pause')
  return had
end
if call('HEXISTS', K.withdrawn, what) == 0 and call('HLEN', K.withdrawn) >= tonumber(ARGV[8]) then
  return redis.error_reply('FULL there are ' .. ARGV[8] .. ' withdrawals: lift those of campaigns that are over')
end
call('HSET', K.withdrawn, what, int(now) .. ' ' .. ARGV[6] .. ' ' .. ARGV[7])
call('ZADD', K.withdrawing, int(now), what)
call('PUBLISH', K.bell, 'pause')
return 1
