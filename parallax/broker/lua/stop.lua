-- Tells workers to stop attempts whose job another attempt has decided.
-- KEYS  leader | n x ctl
-- ARGV  token ttl maxlen n | n x (id attempt)
-- REPLY fenced | ok
-- An order names the attempt, so that it cannot hit a later one; a second order finds nothing.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'fenced'} end
for i = 1, tonumber(ARGV[4]) do
  local ctl = KEYS[1 + i]
  make_way(ctl)
  redis.call('XADD', ctl, 'MAXLEN', '~', ARGV[3], '*', 'cancel', ARGV[3 + 2 * i],
    'attempt', ARGV[4 + 2 * i])
  redis.call('PEXPIRE', ctl, ARGV[2])
end
return {'ok'}
