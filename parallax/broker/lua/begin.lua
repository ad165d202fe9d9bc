-- The last look before the engine: is this attempt still wanted?
-- KEYS  work events | n x job | n x body, if bodies are wanted
-- ARGV  worker maxlen n bodies | n x (entry signature)
-- REPLY n x (run about began) and then, if bodies are wanted, n bodies; one that has none is empty
--       n x (skip why '')         the entry is deleted: cancelled, stolen, superseded
--       n x (expired about began)  the worker writes its record with `finish`
local n, bodies = tonumber(ARGV[3]), ARGV[4] == '1'
local t = now()
local stamp = whole(t)
local reply, dropped, starts, began = {}, {}, {}, {}
for i = 1, n do
  local entry, signature, out = ARGV[3 + 2 * i], ARGV[4 + 2 * i], 3 * i - 2
  local job = KEYS[2 + i]
  local j = redis.call('HMGET', job, 'at', 'about', 'deadline', 'prefix', 'trace')
  local field, state, holder, started = 'at', 'assigned', signature, ''
  if j[1] ~= 'assigned ' .. signature then
    state, holder, started = parsed(j[1])
    if holder ~= signature then
      local other, other_holder, other_started = hedge_of(job)
      if other_holder == signature then field, state, started = 'hedge', other, other_started
      else holder = nil end
    end
  end
  local word, since = 'run', stamp
  if state == 'running' and holder then since = started
  elseif state ~= 'assigned' or not holder then
    word, since = 'skip', ''
    -- Read once more by a worker that was thought dead, a computed prompt stays where it is.
    if state ~= 'prefilled' or not holder then dropped[#dropped + 1] = {entry, j[2]} end
    j[2] = not state and 'unknown' or TERMINAL[state] and state or 'stale'
  elseif past(j[3], t) then word = 'expired'
  else
    starts[#starts + 1] = {job, field}
    began[#began + 1] = 'running ' .. signature .. ' ' .. stamp
  end
  if j[4] and j[2] and word ~= 'skip' then
    -- The spec ends with no prefix, its block and its bytes, and with the job's model if it has one.
    j[2] = string.gsub(j[2], '%[%],%d+,%d+(,?[^%[%]]*)%]$', function(model)
      return j[4] .. (model == '' and '' or ',0' .. model) .. ']'
    end)
  end
  -- The worker reads of a trace what the record keeps apart: after the bytes of the body.
  if j[5] and j[2] and word ~= 'skip' and string.match(j[5], '^[%x-]+$') then
    j[2] = string.gsub(j[2], '^%d+ [^ ]+ [^ ]+ [^ ]+', '%0/' .. j[5], 1)
  end
  reply[out], reply[out + 1], reply[out + 2] = word, j[2], since
  if bodies then
    local size = word == 'run' and string.match(j[2] or '', '^%d+ [^ ]+ [^ ]+ (%d+)')
    reply[3 * n + i] = size and size ~= '0' and redis.call('GET', KEYS[2 + n + i]) or ''
  end
end
make_way(KEYS[2])
local events = {}
for _, entry in ipairs(dropped) do drop(KEYS[1], entry[1], ARGV[1], entry[2], events) end
tell(KEYS[2], events, ARGV[2])
for i, start in ipairs(starts) do redis.call('HSET', start[1], start[2], began[i]) end
return reply
