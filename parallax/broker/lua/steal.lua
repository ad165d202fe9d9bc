-- A thief takes attempts that the victim has not begun: out of one stream and into the other.
-- KEYS  victim_work thief_work thief_hb counts events | n x job
-- ARGV  victim thief cap maxlen n | n x (entry attempt id)
-- REPLY n x (ok entry | started '' | gone '' | copy '' | busy '' | dead_thief '')
-- Whether it has begun is in the job's record (`begin` writes it), so the two can never both run.
local n = tonumber(ARGV[5])
local alive = redis.call('EXISTS', KEYS[3]) == 1
local room = tonumber(ARGV[3]) - redis.call('XLEN', KEYS[2])
local reply, moves = {}, {}
for i = 1, n do
  local a = 5 + (i - 1) * 3
  local entry = ARGV[a + 1]
  local word = 'ok'
  if not alive then word = 'dead_thief'
  elseif room <= 0 then word = 'busy'
  else
    local found = redis.call('XRANGE', KEYS[1], entry, entry)
    local state, holder = parsed(redis.call('HGET', KEYS[5 + i], 'at'))
    if #found == 0 then word = 'gone'
    elseif not owned(state, holder, signature_of(ARGV[1], ARGV[a + 2], entry)) then word = 'copy'
    elseif state ~= 'assigned' then word = 'started'
    else
      room = room - 1
      moves[#moves + 1] = {i, found[1][2]}
    end
  end
  reply[2 * i - 1], reply[2 * i] = word, ''
end
local events = {}
for _, move in ipairs(moves) do
  local i, fields = unpack(move)
  local a = 5 + (i - 1) * 3
  redis.call('XDEL', KEYS[1], ARGV[a + 1])
  local entry = redis.call('XADD', KEYS[2], '*', unpack(fields))
  redis.call('HSET', KEYS[5 + i], 'at',
    'assigned ' .. signature_of(ARGV[2], ARGV[a + 2], entry))
  reply[2 * i] = entry
  events[#events + 1], events[#events + 2] = ARGV[a + 3], 'stolen ' .. ARGV[2]
end
if #moves > 0 then
  redis.call('HINCRBY', KEYS[4], 'stolen', #moves)
  redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[4], '*', unpack(events))
end
return reply
