-- Re-queues open jobs that are nowhere: their stream was deleted, trimmed, or its worker is unknown.
-- KEYS  leader open counts active bell | n x (job in work hb)
-- ARGV  token grace_ms n | n x (id tenant)
-- REPLY fenced | ok, n x (ok entry | present '' | young '' | done state | vanished '')
-- `grace` must exceed the time a healthy recovery takes: this is the net below the net.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'fenced'} end
local n = tonumber(ARGV[3])
local t = now()
local reply = {'ok'}
local plan = {}
for i = 1, n do
  local k, id = 5 + (i - 1) * 4, ARGV[3 + 2 * i - 1]
  local j = redis.call('HMGET', KEYS[k + 1], 'state', 'entry', 'attempt', 'spec', 'accepted',
    'deadline')
  local score = tonumber(redis.call('ZSCORE', KEYS[2], id) or '0')
  local word, detail = 'ok', ''
  if not j[1] then word = 'vanished'
  elseif TERMINAL[j[1]] then word, detail = 'done', j[1]
  elseif t >= score and t - score < tonumber(ARGV[2]) then word = 'young'
  else
    local stream = KEYS[k + 2]
    if j[1] ~= 'queued' then stream = KEYS[k + 3] end
    local held = redis.call('TYPE', stream).ok == 'stream'
      and #redis.call('XRANGE', stream, j[2], j[2]) == 1
    if held and (j[1] == 'queued' or redis.call('EXISTS', KEYS[k + 4]) == 1) then
      word = 'present'
    end
    plan[i] = {j, held and stream}
  end
  reply[2 * i], reply[2 * i + 1] = word, detail
end
for i = 1, n do
  local k, id, tenant = 5 + (i - 1) * 4, ARGV[3 + 2 * i - 1], ARGV[3 + 2 * i]
  local word = reply[2 * i]
  if word == 'vanished' or word == 'done' then
    redis.call('ZREM', KEYS[2], id)
    if word == 'vanished' then redis.call('HINCRBY', KEYS[3], 'vanished', 1) end
  elseif word == 'present' then
    redis.call('ZADD', KEYS[2], 'XX', t, id)
    if plan[i][1][1] == 'queued' then ring(KEYS[4], KEYS[5], tenant) end
  elseif word == 'ok' then
    local j, held = unpack(plan[i])
    if held then redis.call('XDEL', held, j[2]) end
    local entry = enqueue(KEYS[k + 2], id, {j[4], j[5], j[6]}, j[3])
    redis.call('HSET', KEYS[k + 1], 'state', 'queued', 'entry', entry)
    redis.call('ZADD', KEYS[2], 'XX', t, id)
    redis.call('HINCRBY', KEYS[3], 'repaired', 1)
    ring(KEYS[4], KEYS[5], tenant)
    reply[2 * i + 1] = entry
  end
end
return reply
