-- Gives the entries of a dead worker back to their tenants' streams.
-- KEYS  leader hb work open counts events dead active bell | T x in | O x out | n x job
-- ARGV  token worker record_ttl out_ttl out_maxlen maxlen T O n | T x tenant
--       | n x (entry id tenant# out#)
-- REPLY fenced | alive | ok, n x (ok entry | dead attempts | done state | dropped '')
-- An attempt that had started counts against the job's limit; one that had not does not, so that
-- the bystanders of a poison job are not dead-lettered with it.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'fenced'} end
if redis.call('EXISTS', KEYS[2]) == 1 then return {'alive'} end
local T, O, n = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local streams, outs, jobs, first = 9, 9 + T, 9 + T + O, 9 + T
local stamp = whole(now())
local reply, plan, entries = {'ok'}, {}, {}
for i = 1, n do
  local a = first + (i - 1) * 4
  local j = redis.call('HMGET', KEYS[jobs + i], 'state', 'entry', 'worker', 'attempt', 'limit',
    'spec', 'accepted', 'deadline', 'reply')
  local word, detail = 'ok', ''
  if not j[1] or TERMINAL[j[1]] then word, detail = 'done', j[1] or 'unknown'
  elseif not owned(j, ARGV[a + 1], ARGV[2]) then word = 'dropped'
  elseif j[1] == 'running' and tonumber(j[4]) >= tonumber(j[5]) then word, detail = 'dead', j[4] end
  entries[i] = ARGV[a + 1]
  plan[i] = j
  reply[2 * i], reply[2 * i + 1] = word, detail
end
delete_entries(KEYS[3], entries)
local rung, back, died = {}, 0, 0
for i = 1, n do
  local a = first + (i - 1) * 4
  local id, k, j = ARGV[a + 2], tonumber(ARGV[a + 3]), plan[i]
  local word = reply[2 * i]
  if word == 'ok' then
    if j[1] == 'assigned' then redis.call('HINCRBY', KEYS[jobs + i], 'limit', 1) end
    local entry = enqueue(KEYS[streams + k], id, {j[6], j[7], j[8]}, j[4])
    redis.call('HSET', KEYS[jobs + i], 'state', 'queued', 'entry', entry)
    reply[2 * i + 1] = entry
    rung[k] = true
    back = back + 1
  elseif word == 'dead' then
    local why = '{"error":"the worker died during attempt ' .. j[4] .. '"}'
    redis.call('HSET', KEYS[jobs + i], 'state', 'dead', 'by', 'system', 'finished', stamp,
      'result', why)
    redis.call('PEXPIRE', KEYS[jobs + i], ARGV[3])
    redis.call('ZREM', KEYS[4], id)
    redis.call('XADD', KEYS[7], 'MAXLEN', '~', ARGV[6], '*', 'job', id, 'why', 'attempts used up',
      'sample', why)
    if j[9] ~= '' and ARGV[a + 4] ~= '' then
      announce(KEYS[outs + tonumber(ARGV[a + 4])], {id, 'dead ' .. why}, ARGV[4], ARGV[5])
    end
    died = died + 1
  end
end
for k in pairs(rung) do ring(KEYS[8], KEYS[9], ARGV[9 + k]) end
if back > 0 then redis.call('HINCRBY', KEYS[5], 'reclaimed', back) end
if died > 0 then redis.call('HINCRBY', KEYS[5], 'dead', died) end
return reply
