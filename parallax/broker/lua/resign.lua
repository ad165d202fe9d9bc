-- Gives the lease up, of the leader or of the autoscaler, if it is ours.
-- KEYS  leader/scaler
-- ARGV  token
-- REPLY ok | fenced
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'fenced'} end
redis.call('DEL', KEYS[1])
return {'ok'}
