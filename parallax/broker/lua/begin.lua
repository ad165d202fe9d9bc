-- The last look before the engine: is this attempt still wanted?
-- KEYS  work | n x job | bodies
-- ARGV  n worker | n x (id entry attempt body#)
-- REPLY n x (run spec truth reply waited_ms tenant body)
--       n x (skip why '' '' '' '' '')     the entry is deleted: cancelled, stolen, superseded
--       n x (expired spec ...)            the worker writes its record with `finish`
local n = tonumber(ARGV[1])
local t = now()
local stamp = whole(t)
local WIDTH = 7
local reply, starts, dropped = {}, {}, {}
for i = 1, n do
  local a = 2 + (i - 1) * 4
  local entry = ARGV[a + 2]
  local j = redis.call('HMGET', KEYS[1 + i], 'state', 'entry', 'worker', 'attempt', 'spec',
    'truth', 'reply', 'accepted', 'deadline', 'tenant', 'started')
  local word, spec = 'run', j[5]
  if not j[1] then word, spec = 'skip', 'unknown'
  elseif TERMINAL[j[1]] then word, spec = 'skip', j[1]
  elseif not owned(j, entry, ARGV[2]) or j[4] ~= ARGV[a + 3] then word, spec = 'skip', 'stale'
  elseif j[1] == 'assigned' then
    if j[9] ~= '' and t > tonumber(j[9]) then word = 'expired' else starts[#starts + 1] = i end
  end
  local out = (i - 1) * WIDTH
  reply[out + 1], reply[out + 2] = word, spec
  if word == 'skip' then
    dropped[#dropped + 1] = entry
    for f = 3, WIDTH do reply[out + f] = '' end
  else
    local began = j[1] == 'running' and tonumber(j[11]) or t
    reply[out + 3], reply[out + 4] = j[6], j[7]
    reply[out + 5], reply[out + 6] = whole(math.max(0, began - tonumber(j[8]))), j[10]
    reply[out + 7] = ''
    if ARGV[a + 4] ~= '' then
      reply[out + 7] = redis.call('GET', KEYS[1 + n + tonumber(ARGV[a + 4])]) or ''
    end
  end
end
delete_entries(KEYS[1], dropped)
for _, i in ipairs(starts) do
  redis.call('HSET', KEYS[1 + i], 'state', 'running', 'started', stamp)
end
return reply
