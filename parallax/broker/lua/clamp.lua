-- Cuts the TTL of leases back to `max`: after the server's clock stepped back it may be hours.
-- KEYS  n x lease
-- ARGV  max_ttl_ms
-- REPLY n x (ok | cut | gone)
local reply = {}
for i = 1, #KEYS do
  local left = redis.call('PTTL', KEYS[i])
  reply[i] = 'ok'
  if left == -2 then reply[i] = 'gone'
  elseif left == -1 or left > tonumber(ARGV[1]) then
    redis.call('PEXPIRE', KEYS[i], ARGV[1])
    reply[i] = 'cut'
  end
end
return reply
