-- Takes or keeps the lease of the leader.
-- KEYS  leader epoch
-- ARGV  candidate ttl_ms
-- REPLY acquired token | held token
-- The token is "candidate|epoch". The epoch never falls below the server's clock, so that it grows
-- even when its counter was lost; a TTL too long after a step of that clock is cut back.
local current = redis.call('GET', KEYS[1])
if current then
  local mine = string.sub(current, 1, #ARGV[1] + 1) == ARGV[1] .. '|'
    and string.match(current, '|%d+$')
  local left = redis.call('PTTL', KEYS[1])
  if mine or left > tonumber(ARGV[2]) or left == -1 then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
  end
  return {mine and 'acquired' or 'held', current}
end
local epoch = math.max((counter(redis.call('GET', KEYS[2])) or 0) + 1, now())
local token = ARGV[1] .. '|' .. whole(epoch)
redis.call('DEL', KEYS[1])  -- it is not there: rule 3, a full server gets a new leader too
redis.call('SET', KEYS[2], whole(epoch))
redis.call('SET', KEYS[1], token, 'PX', ARGV[2])
return {'acquired', token}
