-- Deletes entries that no longer belong to their job, so that they do not hold capacity for ever.
-- KEYS  stream counts events | n x job
-- ARGV  worker maxlen n grace_ms | n x (entry signature)
-- REPLY n x (removed | kept | gone)
-- What a worker runs of a job that has just ended it is about to stop, and to say what it consumed.
local t = now()
local function just_ended(at, state, grace)
  local finished = TERMINAL[state or ''] and tonumber(string.match(at, ' (%d+)$'))
  return finished and t >= finished and t - finished < grace
end

-- Of a job that was ended while it ran, nobody knows what was consumed; what another attempt has
-- made useless waits here, most likely.
local function unknown(state, holder, started)
  local ran = holder == 'system' and started ~= '' and started ~= '0'
  if not TERMINAL[state or ''] or ran then return 'lost' end
  return 'dropped'
end

local n = tonumber(ARGV[3])
local reply, events, removed = {}, {}, 0
expect('stream', KEYS[3])
for i = 1, n do
  local entry, signature = ARGV[3 + 2 * i], ARGV[4 + 2 * i]
  local j = redis.call('HMGET', KEYS[3 + i], 'at', 'about')
  local state, holder, started = parsed(j[1])
  local _, other = hedge_of(KEYS[3 + i])
  if owned(state, holder, signature) or other == signature
    or just_ended(j[1], state, tonumber(ARGV[4])) then
    reply[i] = #redis.call('XRANGE', KEYS[1], entry, entry) == 1 and 'kept' or 'gone'
  elseif drop(KEYS[1], entry, ARGV[1], j[2], events, unknown(state, holder, started)) then
    reply[i] = 'removed'
    removed = removed + 1
  else reply[i] = 'gone' end
end
tell(KEYS[3], events, ARGV[2])
if removed > 0 then count(KEYS[2], 'scrubbed', removed) end
return reply
