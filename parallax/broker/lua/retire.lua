-- Takes tenants with nothing left to read out of `active`, and their empty streams away.
-- KEYS  active | n x in
-- ARGV  n x tenant
-- REPLY n x (retired | busy)
local reply = {}
for i = 1, #ARGV do
  local kind = redis.call('TYPE', KEYS[1 + i]).ok
  if kind == 'none' or (kind == 'stream' and redis.call('XLEN', KEYS[1 + i]) == 0) then
    redis.call('DEL', KEYS[1 + i])
    redis.call('SREM', KEYS[1], ARGV[i])
    reply[i] = 'retired'
  else reply[i] = 'busy' end
end
return reply
