-- push: what the verbs of status webhooks share: the members of K.push, the order of entries, the gaps.
-- A member is receiver \0 due µs \0 entry \0 tries \0 first try µs (0: none yet), and is replaced whenever one of these
-- changes, so that who holds an old one holds nothing. A gap, in K.gap, is `start cursor upto`: the events of [start,
-- upto] come to the receiver by push_fill, which has come to the cursor ('-': to the end); upto '+' is open.
local function order(entry)
  local ms, seq = match(entry, '^(%d+)-(%d+)$')
  return pad(tonumber(ms)) .. string.rep('0', 20 - #seq) .. seq
end

local function time_of(entry) -- in µs: those of one ms in their order
  local ms, seq = match(entry, '^(%d+)-(%d+)$')
  return ms * 1000 + min(tonumber(seq), 999)
end

local function member(receiver, due, entry, tries, first)
  return receiver .. '\0' .. pad(due) .. '\0' .. entry .. '\0' .. tries .. '\0' .. first
end

local function held(receiver)
  return call('ZLEXCOUNT', K.push, '[' .. receiver .. '\0', '(' .. receiver .. '\1')
end

local function gap_of(receiver)
  local start, cursor, upto = match(call('HGET', K.gap, receiver) or '', '^(%S+) (%S+) (%S+)$')
  return start and { start, cursor, upto }
end
