-- consumers: forgets consumers of one stream's group that are dead: idle for long, and with nothing pending.
-- One step, since a consumer that is forgotten with entries pending takes them with it: nobody would see them again.
-- KEYS   the stream
-- ARGV   group, least idle time in ms, the most to forget, then names to look at; without names all are looked at
-- Output how many were forgotten
local group, idle_ms, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local wanted, forgotten = {}, 0
for i = 4, #ARGV do wanted[ARGV[i]] = true end
for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], group)) do
  local consumer = {}
  for i = 1, #row, 2 do consumer[row[i]] = row[i + 1] end
  local named = #ARGV < 4 or wanted[consumer.name]
  if forgotten < most and named and consumer.pending == 0 and consumer.idle >= idle_ms then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], group, consumer.name)
    forgotten = forgotten + 1
  end
end
return forgotten
