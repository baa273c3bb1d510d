-- optout: who does not want texts. The list is K.optout: t:tenant or s:sender, \0, the recipient hashed -> a (all) or m
-- (marketing), then msgpack of {number, at_ms, source, provider}; K.optlist has its fields in order. In one table, for
-- Lua allows 200 locals. What is closed and when is the twin of core/optout.py.
local opt_outs = { any = nil, marketing = nil }

-- Closes a scope for one recipient of a tenant or sender; a wider one that is closed stays, and so does a number that
-- was known. Returns whether the scope changed.
function opt_outs.close(field, scope, number, at_ms, source, provider)
  local was, value = call('HGET', K.optout, field) or '', { number, at_ms, source, provider }
  local old = sub(was, 1, 1)
  local stays = old == 'a' or old == scope
  if old ~= '' then
    local known = unpack_msg(sub(was, 2))
    if stays and (known[1] ~= '' or number == '') then return false end
    if number == '' then value[1] = known[1] end
    if stays then scope, value = old, { number, known[2], known[3], known[4] } end
  end
  call('HSET', K.optout, field, scope .. pack(value))
  call('ZADD', K.optlist, 0, field)
  opt_outs.any = nil
  return not stays
end

-- Returns the scope that was closed ('a', 'm'), '' where none was.
function opt_outs.open(field)
  local old = sub(call('HGET', K.optout, field) or '', 1, 1)
  if old ~= '' then
    call('HDEL', K.optout, field)
    call('ZREM', K.optlist, field)
  end
  return old
end

-- A provider says that the recipient has opted out of what this sender sends. The number goes with the body: of a
-- message whose body is erased the entry has none.
function opt_outs.learn(key, m, provider)
  if provider == 'sandbox' or (m[WHO] or '') == '' then return end
  local body = call('HGET', K.body, key)
  local number = body and unpack_msg(body)[3] or ''
  opt_outs.close('s:' .. parts(m[LANE]).sender .. '\0' .. m[WHO], 'a', number, tonumber(now_ms), 'provider', provider)
end

-- Whether anybody has opted out: for most there is no list, and then nothing is looked up.
function opt_outs.some()
  if opt_outs.any == nil then opt_outs.any = call('HLEN', K.optout) > 0 end
  return opt_outs.any
end

-- What two values of the list keep from leaving in a class, as an event says it; false: nothing.
function opt_outs.closed(p, of_tenant, of_sender)
  if opt_outs.marketing == nil then
    opt_outs.marketing = {}
    for _, c in ipairs(all_classes()) do opt_outs.marketing[c[1]] = c[5] == 1 end
  end
  for i, value in ipairs({ of_tenant or '', of_sender or '' }) do
    local scope = sub(value, 1, 1)
    if scope == 'a' or scope == 'm' and opt_outs.marketing[p.class] then
      return (scope == 'a' and 'all of this ' or 'marketing of this ') .. (i == 1 and 'tenant' or 'sender')
    end
  end
  return false
end

-- Reads at once what the list has of these: parts of a lane, recipient hashed, parts, recipient, ..
function opt_outs.look(people)
  local ask, whose = {}, {}
  for i = 1, #people, 2 do
    local p, who = people[i], people[i + 1]
    p.closed = p.closed or {}
    if p.closed[who] == nil then
      p.closed[who] = false
      local n = #ask
      ask[n + 1], ask[n + 2] = 't:' .. p.tenant .. '\0' .. who, 's:' .. p.sender .. '\0' .. who
      whose[n + 1], whose[n + 2] = p, who
    end
  end
  for from = 1, #ask, 400 do
    local found = call('HMGET', K.optout, unpack(ask, from, min(from + 399, #ask)))
    for i = 1, #found, 2 do
      if found[i] or found[i + 1] then
        local p = whose[from + i - 1]
        p.closed[whose[from + i]] = opt_outs.closed(p, found[i], found[i + 1])
      end
    end
  end
end

-- The same for messages of one lane, which are loaded.
function opt_outs.look_at(p, keys)
  local people = {}
  for _, key in ipairs(keys) do
    local m = record(key)
    if m then people[#people + 1], people[#people + 2] = p, m[WHO] or '' end
  end
  opt_outs.look(people)
end

-- What keeps a message to a recipient, looked at before, from leaving, as its event says it; nil or false: nothing.
function opt_outs.covers(p, who)
  return p.closed and p.closed[who]
end

-- Ends a queued message, taken out of where it waited: never sent again where an attempt may have left.
function opt_outs.suppress(key, m, what)
  local extra = { 'reason', 'opted_out', 'detail', what }
  if has(m, MAYBE) then return held.earlier(key, m, extra) end
  finish(key, m, 'suppressed', extra)
end

-- Where the index of conversations has a message: nil for a sender that nobody can answer.
function opt_outs.said_by(m)
  local who = m[WHO] or ''
  local sender = who ~= '' and match(m[LANE], '^[^|]*|[^|]*|[^|]*|([^|]*)')
  if not sender or string.find(sender, '%a') then return nil end
  return sender .. '\0' .. who
end
