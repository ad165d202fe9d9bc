-- Tells everybody who looks what the leader sees; it is gone some time after the last leader.
-- KEYS  leader figures
-- ARGV  token document ttl_ms
-- REPLY fenced | ok
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'fenced'} end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return {'ok'}
