-- Reports tokens of running attempts to those who watch them.
-- KEYS  n x out
-- ARGV  out_ttl out_maxlen n | n x (id attempt kind tokens)
-- REPLY ok
-- Only a hint: an entry names its attempt, so that a reader can keep to one.
for i = 1, tonumber(ARGV[3]) do
  local a = 3 + (i - 1) * 4
  redis.call('XADD', KEYS[i], 'MAXLEN', '~', ARGV[2], '*', ARGV[a + 1],
    ARGV[a + 3] .. ' {"attempt":' .. ARGV[a + 2] .. ',"output_tokens":' .. ARGV[a + 4] .. '}')
  redis.call('PEXPIRE', KEYS[i], ARGV[1])
end
return {'ok'}
