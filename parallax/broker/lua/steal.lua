-- Moves attempts that their worker has not begun to an idle one: out of one stream, into the other.
-- KEYS  leader victim_work thief_work thief_hb counts events workers | n x job
-- ARGV  token victim thief cap maxlen n epoch | n x (id attempt model)
-- REPLY fenced | ok, n x (ok entry | started '' | gone '' | copy '' | busy '' | dead_thief '' | foreign '')
-- Whether it has begun is in the job's record (`begin` writes it), so the two can never both run.
-- A move that was made before is `ok` again. What is moved bears the epoch of who moved it, as if it
-- had been dispatched now: within a stream epochs never fall. What a thief serves is what it has
-- registered by now: a job that asks for another model is not moved ('' = any).
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'fenced'} end
local victim, thief, n = ARGV[2], ARGV[3], tonumber(ARGV[6])
local alive = redis.call('EXISTS', KEYS[4]) == 1
local room = tonumber(ARGV[4]) - redis.call('XLEN', KEYS[3])
local reply, moves = {'ok'}, {}

-- A registration is our own JSON, without spaces; names of models have no quotes and no commas.
local function serves(model)
  if model == '' then return true end
  local registration = redis.call('HGET', KEYS[7], thief) or ''
  local named = string.match(registration, '"models":"([^"]*)"') or ''
  if named == '' then named = string.match(registration, '"engine":"([^"]*)"') or '' end
  return string.find(',' .. named .. ',', ',' .. model .. ',', 1, true) ~= nil
end

for i = 1, n do
  local state, holder = parsed(redis.call('HGET', KEYS[7 + i], 'at'))
  local who, attempt, entry = split(holder)
  local word, detail = 'ok', ''
  if attempt ~= ARGV[6 + 3 * i] or not HELD[state] then word = 'copy'
  elseif who == thief then detail = entry
  elseif who ~= victim then word = 'copy'
  elseif state ~= 'assigned' then word = 'started'
  elseif not alive then word = 'dead_thief'
  elseif not serves(ARGV[7 + 3 * i]) then word = 'foreign'
  elseif room <= 0 then word = 'busy'
  else
    local found = redis.call('XRANGE', KEYS[2], entry, entry)[1]
    if not found then word = 'gone'
    else
      room = room - 1
      moves[#moves + 1] = {i, entry, found[2]}
    end
  end
  reply[2 * i], reply[2 * i + 1] = word, detail
end
expect('stream', KEYS[6])
local events = {}
for _, move in ipairs(moves) do
  local i, taken, fields = unpack(move)
  redis.call('XDEL', KEYS[2], taken)
  fields[2] = string.gsub(fields[2], '^([^ ]+ [^ ]+ [^ ]+ )[^ ]+', '%1' .. ARGV[7])
  local entry = redis.call('XADD', KEYS[3], '*', unpack(fields))
  redis.call('HSET', KEYS[7 + i], 'at',
    'assigned ' .. signature_of(thief, ARGV[6 + 3 * i], entry))
  reply[2 * i + 1] = entry
  events[#events + 1], events[#events + 2] = ARGV[5 + 3 * i], 'stolen ' .. thief
end
tell(KEYS[6], events, ARGV[5])
if #moves > 0 then count(KEYS[5], 'stolen', #moves) end
return reply
