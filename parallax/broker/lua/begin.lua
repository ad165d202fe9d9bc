-- The last look before the engine: is this attempt still wanted?
-- KEYS  work | n x job | n x body, if bodies are wanted
-- ARGV  n bodies | n x (entry signature)
-- REPLY n x (run about began) and then, if bodies are wanted, n bodies
--       n x (skip why '')         the entry is deleted: cancelled, stolen, superseded
--       n x (expired about began)  the worker writes its record with `finish`
local n, bodies = tonumber(ARGV[1]), ARGV[2] == '1'
local t = now()
local stamp = whole(t)
local reply, dropped, starts, began = {}, {}, {}, {}
for i = 1, n do
  local entry, signature, out = ARGV[1 + 2 * i], ARGV[2 + 2 * i], 3 * i - 2
  local job = KEYS[1 + i]
  local j = redis.call('HMGET', job, 'at', 'about', 'deadline')
  local word, since = 'run', stamp
  if j[1] ~= 'assigned ' .. signature then
    local state, holder, started = parsed(j[1])
    if state == 'running' and holder == signature then since = started
    else
      word = 'skip'
      j[2] = not state and 'unknown' or TERMINAL[state] and state or 'stale'
      since = ''
      dropped[#dropped + 1] = entry
    end
  elseif j[3] and t > tonumber(j[3]) then word = 'expired'
  else
    starts[#starts + 1] = job
    began[#began + 1] = 'running ' .. signature .. ' ' .. stamp
  end
  reply[out], reply[out + 1], reply[out + 2] = word, j[2], since
  if bodies then
    reply[3 * n + i] = word ~= 'skip' and redis.call('GET', KEYS[1 + n + i]) or ''
  end
end
delete_entries(KEYS[1], dropped)
for i, job in ipairs(starts) do redis.call('HSET', job, 'at', began[i]) end
return reply
