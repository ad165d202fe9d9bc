-- Gives the entries of a dead worker back to their tenants' streams.
-- KEYS  leader hb work open counts events dead active bell due | T x in | O x out | n x job
--       | n x body
-- ARGV  token worker record_ttl out_ttl out_maxlen maxlen T O n | T x tenant
--       | n x (entry attempt id tenant# out# report) | n x broken, if any of them streams
-- `report` is the result of the job if this was its last attempt. With a word before it, it also tells
-- the scheduler what becomes of the charge: `dropped` if the attempt had not begun (nothing is owed),
-- else `lost` (nobody knows what it consumed: the estimate stands).
-- REPLY fenced | alive | ok, n x (ok entry | yielded '' | dead attempts | broken '' | done state
--                                 | dropped '')
-- An attempt that had started, even if its prompt is all that was asked of it, counts against the
-- job's limit; one that had not does not, so that the bystanders of a poison job are not dead-lettered
-- with it. While another attempt of the same job lives elsewhere, the dead one is `yielded` to it.
-- One that had claimed its job takes it along: it is `broken`, and ends as failed with that result.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'fenced'} end
if redis.call('EXISTS', KEYS[2]) == 1 then return {'alive'} end
local T, O, n = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local streams, outs, jobs, first, WIDTH = 10, 10 + T, 10 + T + O, 9 + T, 6
local stamp = whole(now())
local reply, before, entries, starts = {'ok'}, {}, {}, {}
for i = 1, n do
  local a, job = first + (i - 1) * WIDTH, KEYS[jobs + i]
  local entry, attempt = ARGV[a + 1], ARGV[a + 2]
  local signature = signature_of(ARGV[2], attempt, entry)
  local state, holder, started, claimed = parsed(redis.call('HGET', job, 'at'))
  local other, other_holder = hedge_of(job)
  local word, detail = 'ok', ''
  if not state or TERMINAL[state] then word, detail = 'done', state or 'unknown'
  elseif other_holder == signature then word, state = 'yielded', other
  elseif not owned(state, holder, signature) then word = 'dropped'
  elseif claimed then word = 'broken'
  elseif other then word = 'yielded'
  elseif BEGUN[state] and tonumber(attempt) >= limit_of(job) then
    word, detail = 'dead', attempt
  end
  entries[i], before[i], starts[i] = entry, state, started
  reply[2 * i], reply[2 * i + 1] = word, detail
end
expect('zset', KEYS[4])
expect('zset', KEYS[10])
expect('hash', KEYS[5])
expect('stream', KEYS[6])
expect('stream', KEYS[7])
expect('set', KEYS[8])
expect('stream', KEYS[9])
for i = streams + 1, jobs do expect('stream', KEYS[i]) end
-- Who deletes an entry tells of it, once: of one that is gone, somebody has told.
local there = {}
for i, entry in ipairs(entries) do there[i] = redis.call('XDEL', KEYS[3], entry) == 1 end

local rung, closed, events, back, failed = {}, {}, {}, 0, 0
for i = 1, n do
  local a = first + (i - 1) * WIDTH
  local attempt, id, job = ARGV[a + 2], ARGV[a + 3], KEYS[jobs + i]
  local word = reply[2 * i]
  local waited = before[i] == 'assigned' and (word == 'ok' or word == 'yielded')
  if there[i] then
    events[#events + 1] = id
    events[#events + 1] = (waited and 'dropped ' or 'lost ') .. ARGV[a + 6]
  end
  if word == 'yielded' then yield(job, signature_of(ARGV[2], attempt, ARGV[a + 1]), before[i])
  elseif word == 'ok' then
    local k = tonumber(ARGV[a + 4])
    if not BEGUN[before[i]] then redis.call('HSET', job, 'limit', limit_of(job) + 1) end
    reply[2 * i + 1] = requeue(KEYS[streams + k], job, id, attempt)
    rung[k] = true
    back = back + 1
  elseif word == 'dead' or word == 'broken' then
    local why, state = ARGV[a + 6], 'dead'
    if word == 'broken' then
      why, state = ARGV[first + n * WIDTH + i] or why, 'failed'
      failed = failed + 1
    end
    end_job(closed, id, job, KEYS[jobs + n + i], state, 'system', starts[i], stamp, why, ARGV[3])
    if word == 'dead' then
      redis.call('XADD', KEYS[7], 'MAXLEN', '~', ARGV[6], '*', 'job', id, 'why', 'attempts used up',
        'sample', why)
    end
    if ARGV[a + 5] ~= '' then
      announce(KEYS[outs + tonumber(ARGV[a + 5])], {id, state .. ' ' .. why}, ARGV[4], ARGV[5])
    end
  end
end
leave(KEYS[4], closed)
leave(KEYS[10], closed)
tell(KEYS[6], events, ARGV[6])
for k in pairs(rung) do ring(KEYS[8], KEYS[9], ARGV[9 + k]) end
if back > 0 then count(KEYS[5], 'reclaimed', back) end
if #closed > failed then count(KEYS[5], 'dead', #closed - failed) end
if failed > 0 then count(KEYS[5], 'failed', failed) end
return reply
