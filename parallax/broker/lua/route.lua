-- The leader's commit: dispatches, account balances and the events they rest on, in one step.
-- KEYS  leader open events ledger | W x (work hb) | T x in | n x job
-- ARGV  token epoch trim_to L W T n | L x (tenant account) | W x (worker cap)
--       | n x (id entry tenant# worker# estimate)
-- REPLY fenced | ok, n x (ok attempt | stale state | orphan '' | expired '' | noworker '' | busy '')
-- Events with ids below `trim_to` are dropped ('' = none): the balances already contain them, so
-- a new leader neither loses nor repeats one.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'fenced'} end
local L, W, T, n = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local workers, streams = 4, 4 + 2 * W
local jobs = streams + T
local caps, first, WIDTH = 7 + 2 * L, 7 + 2 * L + 2 * W, 5
local t = now()
local stamp = whole(t)

local alive, room = {}, {}
for w = 1, W do
  alive[w] = redis.call('EXISTS', KEYS[workers + 2 * w]) == 1
  room[w] = tonumber(ARGV[caps + 2 * w]) - redis.call('XLEN', KEYS[workers + 2 * w - 1])
end

local reply, moves, gone = {'ok'}, {}, {}
for i = 1, n do
  local a = first + (i - 1) * WIDTH
  local entry, k, w = ARGV[a + 2], tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4])
  local j = redis.call('HMGET', KEYS[jobs + i], 'state', 'entry', 'attempt', 'deadline')
  local word, detail = 'ok', ''
  if not j[1] then word = 'orphan'
  elseif j[1] ~= 'queued' or j[2] ~= entry then word, detail = 'stale', j[1]
  elseif j[4] ~= '' and t > tonumber(j[4]) then word = 'expired'
  elseif not alive[w] then word = 'noworker'
  elseif room[w] <= 0 then word = 'busy'
  else
    room[w] = room[w] - 1
    detail = whole(tonumber(j[3]) + 1)
    moves[#moves + 1] = i
  end
  if word == 'ok' or word == 'stale' then
    gone[k] = gone[k] or {}
    table.insert(gone[k], entry)
  end
  reply[2 * i], reply[2 * i + 1] = word, detail
end

for k, entries in pairs(gone) do delete_entries(KEYS[streams + k], entries) end
if ARGV[3] ~= '' then redis.call('XTRIM', KEYS[3], 'MINID', ARGV[3]) end
local scores = {}
for _, i in ipairs(moves) do
  local a = first + (i - 1) * WIDTH
  local w, attempt = tonumber(ARGV[a + 4]), reply[2 * i + 1]
  local worker = ARGV[caps + 2 * w - 1]
  local entry = redis.call('XADD', KEYS[workers + 2 * w - 1], '*', 'j', ARGV[a + 1], 'a', attempt,
    'c', ARGV[a + 5], 'e', ARGV[2])
  redis.call('HSET', KEYS[jobs + i], 'state', 'assigned', 'worker', worker, 'entry', entry,
    'attempt', attempt, 'routed', stamp)
  scores[#scores + 1], scores[#scores + 2] = stamp, ARGV[a + 1]
end
each_chunk(scores, 1000, function(...) redis.call('ZADD', KEYS[2], 'XX', ...) end)
if L > 0 then redis.call('HSET', KEYS[4], unpack(ARGV, 8, 7 + 2 * L)) end
return reply
