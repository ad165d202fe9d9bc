-- Gives the lease up, if it is ours.
-- KEYS  leader
-- ARGV  token
-- REPLY ok | fenced
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'fenced'} end
redis.call('DEL', KEYS[1])
return {'ok'}
