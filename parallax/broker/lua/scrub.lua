-- Deletes entries that no longer belong to their job, so that they do not hold capacity for ever.
-- KEYS  stream counts events | n x job
-- ARGV  worker maxlen n | n x (entry signature)
-- REPLY n x (removed | kept | gone)
local n = tonumber(ARGV[3])
local reply, events, removed = {}, {}, 0
expect('stream', KEYS[3])
for i = 1, n do
  local entry, signature = ARGV[2 + 2 * i], ARGV[3 + 2 * i]
  local j = redis.call('HMGET', KEYS[3 + i], 'at', 'about')
  local state, holder = parsed(j[1])
  local _, other = second(KEYS[3 + i])
  if owned(state, holder, signature) or other == signature then
    reply[i] = #redis.call('XRANGE', KEYS[1], entry, entry) == 1 and 'kept' or 'gone'
  elseif drop(KEYS[1], entry, ARGV[1], j[2], events) then
    reply[i] = 'removed'
    removed = removed + 1
  else reply[i] = 'gone' end
end
tell(KEYS[3], events, ARGV[2])
if removed > 0 then count(KEYS[2], 'scrubbed', removed) end
return reply
