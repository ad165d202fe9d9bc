-- The leader's commit: dispatches, account balances and the events they rest on, in one step.
-- KEYS  leader events ledger | W x (work hb) | T x in | n x job
-- ARGV  token epoch trim_to L W T n | L x (tenant account) | W x (worker cap)
--       | n x (id entry tenant# worker# attempt estimate)
-- REPLY fenced | ok, n x (ok | stale | orphan | expired | noworker | busy)
-- `attempt` counts from 1. Events with ids below `trim_to` are dropped ('' = none): the balances
-- already contain them, so a new leader neither loses nor repeats one.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'fenced'} end
local epoch = ARGV[2]
local L, W, T, n = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local workers, streams = 3, 3 + 2 * W
local jobs = streams + T
local caps, first, WIDTH = 7 + 2 * L, 7 + 2 * L + 2 * W, 6
local t = now()

local alive, room = {}, {}
for w = 1, W do
  alive[w] = redis.call('EXISTS', KEYS[workers + 2 * w]) == 1
  room[w] = tonumber(ARGV[caps + 2 * w]) - redis.call('XLEN', KEYS[workers + 2 * w - 1])
end

local reply, gone = {'ok'}, {}
for i = 1, n do
  local a = first + (i - 1) * WIDTH
  local entry, w = ARGV[a + 2], tonumber(ARGV[a + 4])
  local j = redis.call('HMGET', KEYS[jobs + i], 'at', 'deadline')
  local word = 'ok'
  if not j[1] then word = 'orphan'
  elseif j[1] ~= 'queued queue/' .. (ARGV[a + 5] - 1) .. '/' .. entry then word = 'stale'
  elseif j[2] and t > tonumber(j[2]) then word = 'expired'
  elseif not alive[w] then word = 'noworker'
  elseif room[w] <= 0 then word = 'busy'
  else room[w] = room[w] - 1 end
  if word == 'ok' or word == 'stale' then
    local k = tonumber(ARGV[a + 3])
    local list = gone[k]
    if not list then list = {} gone[k] = list end
    list[#list + 1] = entry
  end
  reply[1 + i] = word
end

for k, entries in pairs(gone) do delete_entries(KEYS[streams + k], entries) end
if ARGV[3] ~= '' then redis.call('XTRIM', KEYS[2], 'MINID', ARGV[3]) end
for i = 1, n do
  if reply[1 + i] == 'ok' then
    local a = first + (i - 1) * WIDTH
    local w, attempt = tonumber(ARGV[a + 4]), ARGV[a + 5]
    local entry = redis.call('XADD', KEYS[workers + 2 * w - 1], '*', 'j',
      ARGV[a + 1] .. ' ' .. attempt .. ' ' .. ARGV[a + 6] .. ' ' .. epoch)
    redis.call('HSET', KEYS[jobs + i], 'at',
      'assigned ' .. signature_of(ARGV[caps + 2 * w - 1], attempt, entry))
  end
end
if L > 0 then redis.call('HSET', KEYS[3], unpack(ARGV, 8, 7 + 2 * L)) end
return reply
