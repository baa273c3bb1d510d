-- limit: hard limits of a scope (t:<tenant>, c:<tenant>|<class>, s:<sender>, p:<provider>), the twin of core/limit.py.
-- A definition is {segments 0/1, N, P us, b, T us, paced 0/1}; a state {segments, P, N, b, T, TAT} when paced,
-- {segments, P, N, since, 0, sum, cell, count, first, tail} when counted: cells of P/60, the newest kept apart.
local definitions, limits, limits_changed = {}, {}, {}
local rolled = {} -- counted states that are at now
local ahead = 0 -- us: what a limit admits so soon may be charged now, for its own instant; only a lease has it
local tenants = {}

local function tenant_settings(tenant)
  local got = tenants[tenant]
  if got == nil then
    local packed = call('HGET', K.conf, 't:' .. tenant)
    if packed then
      got = unpack_msg(packed)
    elseif tenant ~= '*' then
      got = tenant_settings('*')
    else
      got = { {}, {} }
    end
    tenants[tenant] = got
  end
  return got
end

local function defined(scope)
  local got = definitions[scope]
  if got ~= nil then return got end
  local kind, name = sub(scope, 1, 2), sub(scope, 3)
  if kind == 't:' then
    got = tenant_settings(name)[1]
  elseif kind == 'c:' then
    local tenant, class = match(name, '^([^|]*)|(.*)$')
    got = tenant_settings(tenant)[2][class] or {}
  else
    local packed = call('HGET', K.conf, scope)
    got = packed and unpack_msg(packed) or {}
    if kind == 'p:' then got = got[2] or {} end
  end
  definitions[scope] = got
  return got
end

local function fresh(def, known)
  if def[6] == 0 then return { def[1], def[3], def[2], now, 0, 0, 0, 0, 0, '' } end
  return { def[1], def[3], def[2], def[4], def[5], known and now + def[4] * def[5] or 0 }
end

-- A changed N, b or slack: what was promised to those who wait is rescaled, and nothing slips through (design, hard
--   limit).
-- True when it changed: the new instant must be kept, else it would move on with every look.
local function adapt(state, def)
  if def[6] == 0 or (state[3] == def[2] and state[4] == def[4] and state[5] == def[5]) then
    state[3] = def[2]
    return false
  end
  local ahead = max(state[6] - now, 0)
  local b, t = def[4], def[5]
  state[6] = now + max(b * t, ceil(ahead * t / state[5]) + t)
  state[3], state[4], state[5] = def[2], b, t
  return true
end

-- The cell of a counted limit at an instant, and the first instant at which no window reaches into a cell; both exact.
local function cell_at(period, at)
  local rest = at % period
  local cell = rest * 60 / period
  return (at - rest) / period * 60 + cell - cell % 1
end

local function leaves_at(period, cell)
  local whole = floor((cell + 1) / 60)
  return whole * period + ceil((cell + 1 - whole * 60) * period / 60) + period + keep[3]
end

-- The cell that charges now go to. One that was written ahead (a cost above N) may be there already.
local function open_cell(state, cell)
  if cell == state[7] then return end
  rolled[state] = nil
  if state[8] > 0 then state[10] = state[10] .. int(state[7]) .. ':' .. int(state[8]) .. ',' end
  state[7], state[8] = cell, 0
  state[10] = string.gsub(state[10], '(%d+):(%d+),', function(at, n)
    if tonumber(at) ~= cell then return nil end
    state[8] = state[8] + n
    return ''
  end)
end

-- Brings a counted state to now: closes the newest cell when its time is over, drops those that left the window.
local function roll(state)
  if rolled[state] then return end
  local first = cell_at(state[2], now - state[2] - keep[3])
  open_cell(state, cell_at(state[2], now))
  if first ~= state[9] then
    local tail, total = {}, state[8]
    for at, n in string.gmatch(state[10], '(%d+):(%d+),') do
      if tonumber(at) >= first then
        tail[#tail + 1] = at .. ':' .. n .. ','
        total = total + n
      end
    end
    state[6], state[9], state[10] = total, first, table.concat(tail)
  end
  rolled[state] = true
end

-- Whether a charge may still be inside a window that ends now. What is not binds nothing, tidied away or not.
local function lives(state)
  if #state == 6 then return state[6] + state[2] + keep[3] > now end
  roll(state)
  return state[6] > 0
end

-- The states of a scope, in the order of its definitions; those of definitions that are gone stay behind them.
local function states(scope)
  local got = limits[scope]
  if got then return got end
  local defs = defined(scope)
  if #defs == 0 then return defs end
  local packed = call('HGET', K.limit, scope)
  local old, alive, busy = {}, {}, false
  for i, state in ipairs(packed and unpack_msg(packed) or {}) do
    old[i], alive[i] = state, lives(state)
    busy = busy or alive[i]
  end
  got = {}
  for i = 1, #defs do
    local def = defs[i]
    local found
    for j, state in pairs(old) do
      if state[1] == def[1] and state[2] == def[3] then found = j end
    end
    if found and alive[found] then
      got[i] = old[found]
      if adapt(got[i], def) then limits_changed[scope] = true end
    else
      -- One that has only rested is no new one: it has its burst again.
      got[i] = fresh(def, busy and not found)
      if busy then limits_changed[scope] = true end
    end
    if found then old[found] = nil end
  end
  for j, state in pairs(old) do
    limits_changed[scope] = true -- of what is not in force only the counted is remembered
    if alive[j] and #state > 6 then
      state[4] = now + 1 -- what leaves meanwhile is not counted, and so never given back
      got[#got + 1] = state
    end
  end
  limits[scope] = got
  return got
end

-- When a counted state next has room for `cost`: the end of the cell whose leaving makes it.
local function counted_wake(state, cost)
  roll(state)
  local used, room = state[6], cost < state[3] and state[3] - cost or 0
  if used <= room then return now end
  local cells = { { state[7], state[8] } }
  for at, n in string.gmatch(state[10], '(%d+):(%d+),') do cells[#cells + 1] = { tonumber(at), tonumber(n) } end
  table.sort(cells, function(a, b) return a[1] < b[1] end)
  local i = 0
  while used > room and i < #cells do
    i = i + 1
    used = used - cells[i][2]
  end
  return leaves_at(state[2], cells[i][1])
end

-- The instant at which all of `list` admit `segments`; `now` or earlier: at once.
local function admits_at(defs, list, segments)
  local at = now
  for i = 1, #defs do
    local def, state, opens = defs[i], list[i], nil
    local cost = def[1] == 1 and segments or 1
    if def[6] == 1 then
      opens = state[6] + ((cost < def[2] and cost or def[2]) - def[4]) * def[5]
    else
      opens = counted_wake(state, cost)
    end
    if opens > at then at = opens end
  end
  return at
end

-- Where a charge is counted: now, but a cost above N, which leaves alone, rests for cost/N periods.
local function cell_of(state, def, cost, at)
  if cost > def[2] then at = at + ceil((cost - def[2]) * def[3] / def[2]) end
  return cell_at(state[2], at)
end

-- Charges for the instant `at`, from now on.
local function charge_states(defs, list, segments, at)
  for i = 1, #defs do
    local def, state = defs[i], list[i]
    local cost = def[1] == 1 and segments or 1
    if def[6] == 1 then
      state[6] = (state[6] > at and state[6] or at) + cost * def[5]
    else
      roll(state)
      open_cell(state, cell_of(state, def, cost, at))
      state[6], state[8] = state[6] + cost, state[8] + cost
    end
  end
end

-- Whether a quarter of a limit is used: what was charged last then has to leave in time, lest a window is over.
local function nearly_used(defs, list, at)
  for i = 1, #defs do
    local def = defs[i]
    local state = list[i]
    if def[6] == 1 and 4 * (state[6] - at) >= def[4] * def[5] then return true end
    if def[6] == 0 and 4 * state[6] >= def[2] then return true end
  end
  return false
end

-- Gives a counted charge back to its own cell, a paced one where nothing was charged before it that still counts, nor
-- after it: then the limit is as it was. `counted_us`: when it was charged, which may be ahead of its instant.
local function refund(scope, segments, charged_us, counted_us)
  for i, def in ipairs(defined(scope)) do
    local state = states(scope)[i]
    if def[6] == 1 and state[6] == charged_us + (def[1] == 1 and segments or 1) * def[5] then
      state[6] = charged_us
      limits_changed[scope] = true
    elseif def[6] == 0 and counted_us >= state[4] then
      roll(state)
      local cost = def[1] == 1 and segments or 1
      local cell = cell_of(state, def, cost, charged_us)
      if cell == state[7] then
        cost = min(cost, state[8])
        state[6], state[8] = state[6] - cost, state[8] - cost
      else
        state[10] = string.gsub(state[10], '(%d+):(%d+),', function(at, n)
          if tonumber(at) ~= cell then return nil end
          local back = min(cost, tonumber(n))
          state[6] = state[6] - back
          return at .. ':' .. int(n - back) .. ','
        end)
      end
      limits_changed[scope] = true
    end
  end
end

local function copy_states(list)
  local out = {}
  for i, state in ipairs(list) do out[i] = { unpack(state) } end
  return out
end

local function flush_limits()
  for scope in pairs(limits_changed) do hset(K.limit, scope, pack(limits[scope])) end
  limits_changed = {}
end
