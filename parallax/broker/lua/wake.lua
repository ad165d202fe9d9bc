-- Makes tenants active whose streams have entries nobody rang for (written by hand, or repaired).
-- KEYS  active bell | n x in
-- ARGV  n x tenant
-- REPLY n x (rung | active | quiet)
-- `active` is who has entries and was rung for before; a bell can be lost, so the caller reads it too.
local reply = {}
make_way(KEYS[2])
for i = 1, #ARGV do
  reply[i] = 'quiet'
  if redis.call('TYPE', KEYS[2 + i]).ok == 'stream' and redis.call('XLEN', KEYS[2 + i]) > 0 then
    reply[i] = 'active'
    if redis.call('SISMEMBER', KEYS[1], ARGV[i]) == 0 then
      ring(KEYS[1], KEYS[2], ARGV[i])
      reply[i] = 'rung'
    end
  end
end
return reply
