-- Moves entries that cannot be understood out of the way, with the reason and a sample.
-- KEYS  stream dead counts
-- ARGV  maxlen n | n x (entry why sample)
-- REPLY n x (ok | gone)
local n = tonumber(ARGV[2])
local reply, moved = {}, 0
for i = 1, n do
  local a = 2 + (i - 1) * 3
  if redis.call('XDEL', KEYS[1], ARGV[a + 1]) == 0 then reply[i] = 'gone'
  else
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[1], '*', 'why', ARGV[a + 2],
      'stream', KEYS[1], 'entry', ARGV[a + 1], 'sample', string.sub(ARGV[a + 3], 1, 512))
    reply[i] = 'ok'
    moved = moved + 1
  end
end
if moved > 0 then count(KEYS[3], 'malformed', moved) end
return reply
