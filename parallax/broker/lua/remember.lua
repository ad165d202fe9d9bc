-- Keeps what the leader has learnt.
-- KEYS  leader memory
-- ARGV  token memory
-- REPLY fenced | ok
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'fenced'} end
redis.call('SET', KEYS[2], ARGV[2])
return {'ok'}
