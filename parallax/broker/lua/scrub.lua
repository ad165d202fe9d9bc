-- Deletes entries that no longer belong to their job, so that they do not hold capacity for ever.
-- KEYS  stream counts | n x job
-- ARGV  n | n x (entry signature)
-- REPLY n x (removed | kept | gone)
local n = tonumber(ARGV[1])
local reply, dropped = {}, {}
for i = 1, n do
  local entry, signature = ARGV[2 * i], ARGV[2 * i + 1]
  local state, holder = parsed(redis.call('HGET', KEYS[2 + i], 'at'))
  if #redis.call('XRANGE', KEYS[1], entry, entry) == 0 then reply[i] = 'gone'
  elseif owned(state, holder, signature) then reply[i] = 'kept'
  else
    reply[i] = 'removed'
    dropped[#dropped + 1] = entry
  end
end
delete_entries(KEYS[1], dropped)
if #dropped > 0 then redis.call('HINCRBY', KEYS[2], 'scrubbed', #dropped) end
return reply
