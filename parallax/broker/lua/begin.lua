-- The last look before the engine: is this attempt still wanted?
-- KEYS  work | n x job | bodies
-- ARGV  n | n x (entry signature body#)
-- REPLY n x (run spec ticket waited_ms body)
--       n x (skip why '' '' '')       the entry is deleted: cancelled, stolen, superseded
--       n x (expired spec ticket waited_ms body)  the worker writes its record with `finish`
local n = tonumber(ARGV[1])
local t = now()
local stamp = whole(t)
local WIDTH = 5
local reply, dropped, starts = {}, {}, {}
for i = 1, n do
  local a, out = 1 + (i - 1) * 3, (i - 1) * WIDTH
  local job = KEYS[1 + i]
  local j = redis.call('HMGET', job, 'state', 'holder', 'deadline', 'spec', 'ticket', 'accepted')
  local word = 'run'
  if not j[1] or not owned(j[1], j[2], ARGV[a + 2]) then
    local why = not j[1] and 'unknown' or TERMINAL[j[1]] and j[1] or 'stale'
    reply[out + 1], reply[out + 2] = 'skip', why
    reply[out + 3], reply[out + 4], reply[out + 5] = '', '', ''
    dropped[#dropped + 1] = ARGV[a + 1]
  else
    local began = t
    if j[1] == 'running' then began = tonumber(redis.call('HGET', job, 'started'))
    elseif j[3] and t > tonumber(j[3]) then word = 'expired'
    else starts[#starts + 1] = job end
    reply[out + 1], reply[out + 2], reply[out + 3] = word, j[4], j[5]
    reply[out + 4] = whole(math.max(0, began - tonumber(j[6])))
    reply[out + 5] = ''
    if ARGV[a + 3] ~= '' then
      reply[out + 5] = redis.call('GET', KEYS[1 + n + tonumber(ARGV[a + 3])]) or ''
    end
  end
end
delete_entries(KEYS[1], dropped)
for _, job in ipairs(starts) do
  redis.call('HSET', job, 'state', 'running', 'started', stamp)
end
return reply
