-- Registers a worker, or renews its heartbeat.
-- KEYS  hb workers
-- ARGV  worker incarnation ttl_ms registration
-- REPLY ok | new | taken
-- Renewal is a PEXPIRE: on a full server nobody is declared dead; and who was paused comes back.
local current = redis.call('GET', KEYS[1])
if current == ARGV[2] then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  -- Somebody took the registration for junk, or wrote over it.
  if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then
    redis.call('HSET', KEYS[2], ARGV[1], ARGV[4])
  end
  return {'ok'}
end
if current then return {'taken'} end
redis.call('DEL', KEYS[1])  -- it is not there: rule 3
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[4])
return {'new'}
