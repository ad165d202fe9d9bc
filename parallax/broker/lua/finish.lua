-- Ends a batch of attempts: the first finisher writes the record, later ones are counted.
-- KEYS  work events open counts dead active bell due | T x in | O x out | n x job
--       | n x body, if there are bodies
-- ARGV  worker record_ttl out_ttl out_maxlen maxlen T O n bodies | T x tenant
--       | n x (id entry attempt verdict report tenant# out#)
-- REPLY n x (ok verdict | again verdict | late state | stale state | requeued entry | yielded ''
--            | kept '' | unknown '')
-- Verdicts: completed, failed, expired, dead (its record cannot be understood); retry (counts as an attempt), back (handed back unharmed: it
-- does not), stopped (as it was told to: like `back`, unless the job has ended), and
-- "prefilled <cached> <first_s>": the prompt is computed, the answer is for another worker; the
-- entry is `kept`, for whoever kills this worker takes the KV cache with it.
-- `completed` is taken from any attempt, the others from the current one only: a worker wrongly
-- believed dead may still win, but never harm. While another attempt of the same job lives, all but
-- `completed` is `yielded` to it.
-- `report` is the job's result; with the answer before it, it also tells the scheduler (`events`)
-- and whoever waits (`out`). Of an attempt whose entry is gone nothing is told, for its charge was
-- settled by whoever deleted it; if it wins nevertheless, it is told as `reclaimed`, and replaces the
-- estimate by what was consumed.
local worker, record_ttl = ARGV[1], ARGV[2]
local T, O, n = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local streams, outs, jobs = 8, 8 + T, 8 + T + O
local bodies = ARGV[9] == '1' and jobs + n
local first, WIDTH = 9 + T, 7
local stamp = whole(now())

-- What becomes of an attempt that did not complete: word, detail, and whether it was said before.
local function unfinished(job, verdict, attempt, state, holder, signature)
  local other, other_holder = second(job)
  if owned(state, holder, signature) then
    if other then return 'yielded', ''
    elseif verdict == 'prefilled' then return 'kept', '', state == 'prefilled'
    elseif verdict == 'back' or verdict == 'stopped' then return 'requeued', ''
    elseif verdict ~= 'retry' then return 'ok', verdict
    elseif tonumber(attempt) < limit_of(job) then return 'requeued', '' end
    return 'ok', 'dead'
  end
  if other_holder == signature then return 'yielded', '' end
  if redis.call('HGET', job, 'hedge') == 'over ' .. signature then return 'yielded', '', true end
  local number, entry = string.match(holder, '^queue/(%d+)/(.*)$')
  if number == attempt then return 'requeued', entry, true end
  return 'stale', state
end

local words, details, repeats, signed, starts = {}, {}, {}, {}, {}
local needed = {}
local mine, others, there = {}, {}, {}
for i = 1, n do
  local a = first + (i - 1) * WIDTH
  local id, entry, attempt = ARGV[a + 1], ARGV[a + 2], ARGV[a + 3]
  local verdict = string.match(ARGV[a + 4], '^%a+')
  local state, holder, started = parsed(redis.call('HGET', KEYS[jobs + i], 'at'))
  local signature = signature_of(worker, attempt, entry)
  local word, detail, again = 'ok', verdict, false
  if signed[id] then word, detail = 'late', signed[id]
  elseif not state then word, detail = 'unknown', ''
  elseif TERMINAL[state] then
    word, detail = holder == signature and 'again' or 'late', state
  elseif verdict ~= 'completed' then
    word, detail, again = unfinished(KEYS[jobs + i], verdict, attempt, state, holder, signature)
  end
  if word == 'ok' then signed[id] = detail end
  words[i], details[i], repeats[i], starts[i] = word, detail, again, started
  needed[detail == 'dead' and detail or word] = true
  if owned(state, holder, signature) then
    there[i] = true
    if word ~= 'kept' then mine[#mine + 1] = entry end
  else others[#others + 1] = i end
end

expect('stream', KEYS[2])
expect('zset', KEYS[3])
expect('zset', KEYS[8])
expect('hash', KEYS[4])
for o = 1, O do expect('stream', KEYS[outs + o]) end
if needed.dead then expect('stream', KEYS[5]) end
if needed.requeued then
  expect('set', KEYS[6])
  expect('stream', KEYS[7])
  for k = 1, T do expect('stream', KEYS[streams + k]) end
end

-- First write: an XDEL, which is let through at maxmemory.
if #mine == 0 then make_way(KEYS[1]) end
delete_entries(KEYS[1], mine)
for _, i in ipairs(others) do
  there[i] = redis.call('XDEL', KEYS[1], ARGV[first + (i - 1) * WIDTH + 2]) == 1
end

local reply, closed, events, told, counts, rung = {}, {}, {}, {}, {}, {}

local function close(i, a, id, job, detail, report)
  local signature = signature_of(worker, ARGV[a + 3], ARGV[a + 2])
  end_job(closed, id, job, bodies and KEYS[bodies + i], detail, signature, starts[i], stamp, report,
    record_ttl)
  counts[detail] = (counts[detail] or 0) + 1
  local line = detail .. ' ' .. report
  events[#events + 1] = id
  events[#events + 1] = there[i] and line or 'reclaimed ' .. line
  if ARGV[a + 7] ~= '' then
    local o = tonumber(ARGV[a + 7])
    local list = told[o]
    if not list then list = {} told[o] = list end
    list[#list + 1] = id
    list[#list + 1] = line
  end
  if detail == 'dead' then
    redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[5], '*', 'job', id, 'why',
      ARGV[a + 4] == 'dead' and 'cannot be understood' or 'attempts used up',
      'sample', string.sub(report, 1, 512))
  end
end

local function back(i, a, id, job)
  local k = tonumber(ARGV[a + 6])
  if ARGV[a + 4] ~= 'retry' then redis.call('HSET', job, 'limit', limit_of(job) + 1) end
  details[i] = requeue(KEYS[streams + k], job, id, ARGV[a + 3])
  rung[k] = true
end

local function step_aside(job, signature)
  local _, holder = parsed(redis.call('HGET', job, 'at'))
  if holder == signature then promote(job, signature)
  else redis.call('HSET', job, 'hedge', 'over ' .. signature) end
end

local function keep(job, signature, given, start)
  redis.call('HSET', job, 'at', 'prefilled ' .. signature .. ' ' .. start,
    'prefilled', worker .. string.match(given, ' .*$'))
end

for i = 1, n do
  local a = first + (i - 1) * WIDTH
  local id, job, word, report = ARGV[a + 1], KEYS[jobs + i], words[i], ARGV[a + 5]
  local signature = signature_of(worker, ARGV[a + 3], ARGV[a + 2])
  if word == 'ok' then close(i, a, id, job, details[i], report)
  elseif word ~= 'again' and word ~= 'unknown' and not repeats[i] then
    if word == 'requeued' then back(i, a, id, job)
    elseif word == 'yielded' then step_aside(job, signature)
    elseif word == 'kept' then keep(job, signature, ARGV[a + 4], starts[i]) end
    counts[word] = (counts[word] or 0) + 1
    if there[i] then
      events[#events + 1] = id
      events[#events + 1] = (word == 'kept' and 'prefilled' or word) .. ' ' .. report
    end
  end
  reply[2 * i - 1], reply[2 * i] = word, details[i]
end
leave(KEYS[3], closed)
leave(KEYS[8], closed)
tell(KEYS[2], events, ARGV[5])
for o, list in pairs(told) do announce(KEYS[outs + o], list, ARGV[3], ARGV[4]) end
for k in pairs(rung) do ring(KEYS[6], KEYS[7], ARGV[9 + k]) end
for word, n_ in pairs(counts) do count(KEYS[4], word, n_) end
return reply
