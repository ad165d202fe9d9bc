-- Renews the lease, of the leader or of the autoscaler. PEXPIRE only: it works on a full server.
-- KEYS  leader/scaler
-- ARGV  token ttl_ms
-- REPLY ok | fenced
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'fenced'} end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {'ok'}
