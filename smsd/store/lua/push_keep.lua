-- push_keep: takes events off the group that reads them: each is kept for those receivers that want it, then
-- acknowledged, all in one step. What somebody else has acknowledged is left alone, so that a repeat changes nothing.
-- KEYS   every kind of keys.py
-- ARGV   now_us, wall_us, step_us, msgpack list of {entry, list of {receiver, 1 if the caller pushes it at once}},
--        group, lease_us (how long others leave alone what the caller pushes), most (kept for one receiver; what comes
--        then is a gap, and read from the stream again later)
-- Output per entry and receiver, in their order: the member that the caller is to push, or ''
--#include base push
local refused = begin()
if refused then return refused end
local group, lease, most = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
local state = {} -- receiver -> {how many are kept, gap, shut}

local function of(receiver)
  local s = state[receiver]
  if not s then
    s = { held(receiver), gap_of(receiver), call('HEXISTS', K.shut, receiver) == 1 }
    state[receiver] = s
  end
  return s
end

local function open_gap(receiver, s, gap)
  s[2] = gap
  call('HSET', K.gap, receiver, table.concat(gap, ' '))
end

local function keep_for(receiver, entry, mine)
  local s = of(receiver)
  local gap = s[2]
  local at = order(entry)
  if gap and at >= order(gap[1]) and (gap[3] == '+' or at <= order(gap[3])) then return '' end
  if s[3] or s[1] >= most then
    if not gap or gap[2] == '-' then
      open_gap(receiver, s, { entry, entry, '+' })
      return ''
    elseif s[1] >= 2 * most then -- it is still being read, and reaches to this one: rather some twice than ever more
      if at < order(gap[1]) then -- what a reader that died had read is claimed late
        open_gap(receiver, s, { entry, entry, gap[3] })
      else
        open_gap(receiver, s, { gap[1], gap[2], '+' })
      end
      return ''
    end
  end
  s[1] = s[1] + 1
  mine = mine == 1 and not s[3] -- who is shut is told nothing, also where another reader has begun the gap behind this
  local kept = mine and member(receiver, now + lease, entry, 0, int(now))
    or member(receiver, time_of(entry), entry, 0, 0)
  call('ZADD', K.push, 0, kept)
  return mine and kept or ''
end

local out = {}
for _, row in ipairs(unpack_msg(ARGV[4])) do
  local new = call('XACK', K.events, group, row[1]) == 1
  for _, want in ipairs(row[2]) do
    out[#out + 1] = new and keep_for(want[1], row[1], want[2]) or ''
  end
end
return out
