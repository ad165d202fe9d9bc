-- Forgets accounts that say nothing: those at or below the level from which everybody without an
-- account starts, and what is no finite number.
-- KEYS  leader ledger
-- ARGV  token | n x tenant
-- REPLY fenced | ok, n x (forgotten | kept | gone)
-- The level stands in the same hash under the empty name; without one nothing is forgotten.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'fenced'} end
local level = tonumber(redis.call('HGET', KEYS[2], '') or 'none')
local reply = {'ok'}
for i = 2, #ARGV do
  local text = redis.call('HGET', KEYS[2], ARGV[i])
  local account = tonumber(text or 'none')
  reply[i] = 'kept'
  if not text then reply[i] = 'gone'
  elseif level and ARGV[i] ~= '' and not (account and account > level and account < math.huge) then
    redis.call('HDEL', KEYS[2], ARGV[i])
    reply[i] = 'forgotten'
  end
end
return reply
