-- Ends a batch of attempts: the first finisher writes the record, later ones are counted.
-- KEYS  work events open counts dead active bell | T x in | O x out | n x job
--       | n x body, if there are bodies
-- ARGV  worker record_ttl out_ttl out_maxlen maxlen T O n bodies | T x tenant
--       | n x (id entry attempt verdict report tenant# out#)
-- REPLY n x (ok verdict | again verdict | late state | stale state | requeued entry | unknown '')
-- Verdicts: completed, failed, expired, cancelled; retry (counts as an attempt), back (handed back
-- unharmed: it does not). `completed` is taken from any attempt, the others from the current one
-- only: a worker wrongly believed dead may still win, but never harm.
-- `report` is the job's result; with the answer before it, it also tells the scheduler (`events`)
-- and whoever waits (`out`).
local worker, record_ttl = ARGV[1], ARGV[2]
local T, O, n = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local streams, outs, jobs = 7, 7 + T, 7 + T + O
local bodies = ARGV[9] == '1' and jobs + n
local first, WIDTH = 9 + T, 7
local stamp = whole(now())

local words, details, signed, entries, starts = {}, {}, {}, {}, {}
for i = 1, n do
  local a = first + (i - 1) * WIDTH
  local id, attempt, verdict = ARGV[a + 1], ARGV[a + 3], ARGV[a + 4]
  local state, holder, started = parsed(redis.call('HGET', KEYS[jobs + i], 'at'))
  local signature = signature_of(worker, attempt, ARGV[a + 2])
  local word, detail = 'ok', verdict
  if signed[id] then word, detail = 'late', signed[id]
  elseif not state then word, detail = 'unknown', ''
  elseif TERMINAL[state] then word, detail = holder == signature and 'again' or 'late', state
  elseif verdict ~= 'completed' and not owned(state, holder, signature) then
    word, detail = 'stale', state
  elseif verdict == 'back' then word = 'requeued'
  elseif verdict == 'retry' then
    if tonumber(attempt) < limit_of(KEYS[jobs + i]) then word = 'requeued' else detail = 'dead' end
  end
  if word == 'ok' then signed[id] = detail end
  words[i], details[i], starts[i] = word, detail, started
  entries[i] = ARGV[a + 2]
end

-- First write: an XDEL, which is let through at maxmemory.
delete_entries(KEYS[1], entries)
local reply, closed, events, told, counts, rung = {}, {}, {}, {}, {}, {}
for i = 1, n do
  local a = first + (i - 1) * WIDTH
  local id, job, word, detail = ARGV[a + 1], KEYS[jobs + i], words[i], details[i]
  local report = ARGV[a + 5]
  if word == 'ok' then
    if bodies then redis.call('DEL', KEYS[bodies + i]) end
    local signature = signature_of(worker, ARGV[a + 3], ARGV[a + 2])
    redis.call('HSET', job, 'at', ended(detail, signature, starts[i], stamp), 'result', report)
    redis.call('PEXPIRE', job, record_ttl)
    closed[#closed + 1] = id
    counts[detail] = (counts[detail] or 0) + 1
    local line = detail .. ' ' .. report
    events[#events + 1] = id
    events[#events + 1] = line
    if ARGV[a + 7] ~= '' then
      local o = tonumber(ARGV[a + 7])
      local list = told[o]
      if not list then list = {} told[o] = list end
      list[#list + 1] = id
      list[#list + 1] = line
    end
    if detail == 'dead' then
      redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[5], '*', 'job', id, 'why', 'attempts used up',
        'sample', string.sub(report, 1, 512))
    end
  elseif word ~= 'again' and word ~= 'unknown' then
    if word == 'requeued' then
      local k = tonumber(ARGV[a + 6])
      if ARGV[a + 4] == 'back' then redis.call('HSET', job, 'limit', limit_of(job) + 1) end
      detail = requeue(KEYS[streams + k], job, id, ARGV[a + 3])
      rung[k] = true
    end
    counts[word] = (counts[word] or 0) + 1
    events[#events + 1] = id
    events[#events + 1] = word .. ' ' .. report
  end
  reply[2 * i - 1], reply[2 * i] = word, detail
end
each_chunk(closed, 1000, function(...) redis.call('ZREM', KEYS[3], ...) end)
if #events > 0 then redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], '*', unpack(events)) end
for o, list in pairs(told) do announce(KEYS[outs + o], list, ARGV[3], ARGV[4]) end
for k in pairs(rung) do ring(KEYS[6], KEYS[7], ARGV[9 + k]) end
for word, count in pairs(counts) do redis.call('HINCRBY', KEYS[4], word, count) end
return reply
