-- Takes members out of a set, a sorted set or a hash that no process can understand.
-- KEYS  key dead counts
-- ARGV  maxlen | n x member
-- REPLY n x (ok | gone)
local remove = ({set = 'SREM', zset = 'ZREM', hash = 'HDEL'})[redis.call('TYPE', KEYS[1]).ok]
local reply, removed = {}, 0
for i = 2, #ARGV do
  reply[i - 1] = 'gone'
  if remove and redis.call(remove, KEYS[1], ARGV[i]) == 1 then
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[1], '*', 'why', 'cannot be understood',
      'stream', KEYS[1], 'sample', string.sub(ARGV[i], 1, 512))
    reply[i - 1] = 'ok'
    removed = removed + 1
  end
end
if removed > 0 then count(KEYS[3], 'malformed', removed) end
return reply
