-- Deletes keys of a wrong type, with a dead letter each, so that what belongs there finds room.
-- KEYS  dead counts | n x key
-- ARGV  maxlen | n x type
-- REPLY 2 + n x (ok | removed)
local kinds, reply, removed = {'stream', 'hash'}, {}, 0
for i = 1, #KEYS do
  local kind = kinds[i] or ARGV[i - 1]
  local found = misplaced(KEYS[i], kind)
  reply[i] = found and 'removed' or 'ok'
  if found then
    local sample = found == 'string' and redis.call('GETRANGE', KEYS[i], 0, 511) or ''
    redis.call('DEL', KEYS[i])
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'why',
      'a ' .. found .. ' where a ' .. kind .. ' must be', 'stream', KEYS[i], 'sample', sample)
    removed = removed + 1
  end
end
if removed > 0 then count(KEYS[2], 'malformed', removed) end
return reply
