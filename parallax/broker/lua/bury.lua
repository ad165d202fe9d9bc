-- Forgets a worker that is gone and holds nothing any more.
-- KEYS  leader/hb hb work ctl stat workers
-- ARGV  token worker
-- REPLY fenced | alive | busy | ok
-- With an empty token a worker buries itself when it leaves (its heartbeat goes first).
if ARGV[1] ~= '' then
  if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'fenced'} end
  if redis.call('EXISTS', KEYS[2]) == 1 then return {'alive'} end
end
if redis.call('XLEN', KEYS[3]) > 0 then return {'busy'} end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
redis.call('HDEL', KEYS[6], ARGV[2])
return {'ok'}
