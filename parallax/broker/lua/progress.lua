-- Reports first tokens to the scheduler, and tokens of running attempts to those who watch them.
-- KEYS  events | n x out
-- ARGV  worker maxlen out_ttl out_maxlen n m | n x (id attempt kind tokens) | m x (id attempt)
-- REPLY ok
-- Only hints: an entry names its attempt, so that a reader can keep to one.
local n, m = tonumber(ARGV[5]), tonumber(ARGV[6])
local events = {}
for i = 1, m do
  local a = 6 + n * 4 + (i - 1) * 2
  events[#events + 1] = ARGV[a + 1]
  events[#events + 1] = 'began ' .. ARGV[1] .. ' ' .. ARGV[a + 2]
end
make_way(KEYS[1])
tell(KEYS[1], events, ARGV[2])
for i = 1, n do
  local a = 6 + (i - 1) * 4
  redis.call('XADD', KEYS[1 + i], 'MAXLEN', '~', ARGV[4], '*', ARGV[a + 1],
    ARGV[a + 3] .. ' {"attempt":' .. ARGV[a + 2] .. ',"output_tokens":' .. ARGV[a + 4] .. '}')
  redis.call('PEXPIRE', KEYS[1 + i], ARGV[3])
end
return {'ok'}
