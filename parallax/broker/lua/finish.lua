-- Ends a batch of attempts: the first finisher writes the record, later ones are counted.
-- KEYS  work events open counts dead active bell due | T x in | O x out | n x job
--       | n x body, if there are bodies | n x answer, if there are payloads
-- ARGV  worker record_ttl out_ttl out_maxlen maxlen T O n bodies payloads prefixes | T x tenant
--       | n x (id entry attempt verdict report tenant# out#)
--       | n x (letters answer broken), if there are payloads
-- REPLY n x (ok verdict | again verdict | late state | stale state | requeued entry | yielded ''
--            | kept '' | unknown '')
-- Verdicts: completed, failed, expired, dead (its record cannot be understood); retry (counts as an attempt), back (handed back unharmed: it
-- does not), stopped (as it was told to: like `back`, unless the job has ended), and
-- "prefilled <cached> <first_s>": the prompt is computed, the answer is for another worker; the
-- entry is `kept`, for whoever kills this worker takes the KV cache with it.
-- `completed` is taken from any attempt, the others from the current one only: a worker wrongly
-- believed dead may still win, but never harm. While another attempt of the same job lives, all but
-- `completed` is `yielded` to it. Of a job that streams (`s` among its letters) `completed` is taken
-- from whoever claimed it, or if nobody has, from an attempt that is the job's: the parts of any
-- other were not sent. A claimed job that does not go on has failed; `broken` is its result then.
-- `report` is the job's result; with the answer before it, it also tells the scheduler (`events`)
-- and whoever waits (`out`). Of an attempt whose entry is gone nothing is told, for its charge was
-- settled by whoever deleted it; if it wins nevertheless, it is told as `reclaimed`, and replaces the
-- estimate by what was consumed.
-- The answer of a job that completed is told to whoever waits just before its end, in the same entry:
-- "answer <bytes>" or, if it is a long one, "answer_at <length>" of what is kept apart for as long as
-- the stream. If the job wants it kept (`k`) it is kept as long as the record, and the length bears a
-- `k` as well. Who waits for a job that streams has its answer already.
local MOST_INLINE = 2048
local worker, record_ttl = ARGV[1], ARGV[2]
local T, O, n = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local streams, outs, jobs = 8, 8 + T, 8 + T + O
local bodies = ARGV[9] == '1' and jobs + n
local answers = ARGV[10] == '1' and jobs + n + (bodies and n or 0)
local short = ARGV[11] ~= '1'
local first, WIDTH = 11 + T, 7
local texts = first + n * WIDTH
local stamp = whole(now())

local function letters_of(i)
  return answers and ARGV[texts + 3 * i - 2] or ''
end

-- Whether a job may be completed by this attempt.
local function may_complete(i, job, state, holder, signature, claimed)
  if claimed then return holder == signature end
  if owned(state, holder, signature) or not string.find(letters_of(i), 's', 1, true) then return true end
  local _, other = hedge_of(job)
  return other == signature
end

-- What becomes of an attempt that did not complete: word, detail, and whether it was said before.
local BACK = {retry = 1, back = 1, stopped = 1, prefilled = 1}
local function unfinished(job, verdict, attempt, state, holder, signature, claimed)
  if claimed and holder == signature then
    return 'ok', BACK[verdict] and 'broken' or verdict
  end
  local other, other_holder = hedge_of(job)
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
  local who, number, entry = split(holder)
  if who == 'queue' and number == attempt then return 'requeued', entry, true end
  return 'stale', state
end

-- What `at` says after a beginning that nearly always is its own, if that is a time and nothing else:
-- a pattern that takes it apart costs more than all else that is done here.
local function since(at, beginning)
  if not at or string.sub(at, 1, #beginning) ~= beginning then return end
  local rest = string.sub(at, #beginning + 1)
  return not string.find(rest, '%D') and rest
end

local words, details, repeats, signed, starts, broken = {}, {}, {}, {}, {}, {}
local needed = {}
local mine, others, there = {}, {}, {}
for i = 1, n do
  local a = first + (i - 1) * WIDTH
  local id, entry, attempt = ARGV[a + 1], ARGV[a + 2], ARGV[a + 3]
  local verdict = ARGV[a + 4]
  if verdict ~= 'completed' then verdict = string.match(verdict, '^%a+') end
  local signature = signature_of(worker, attempt, entry)
  local at = redis.call('HGET', KEYS[jobs + i], 'at')
  local state, holder, started, claimed = 'running', signature, since(at, 'running ' .. signature .. ' ')
  if not started then state, holder, started, claimed = parsed(at) end
  local word, detail, again = 'ok', verdict, false
  if signed[id] then word, detail = 'late', signed[id]
  elseif not state then word, detail = 'unknown', ''
  elseif TERMINAL[state] then
    word, detail = holder == signature and 'again' or 'late', state
  elseif verdict ~= 'completed' then
    word, detail, again = unfinished(KEYS[jobs + i], verdict, attempt, state, holder, signature,
      claimed)
  elseif not may_complete(i, KEYS[jobs + i], state, holder, signature, claimed) then
    word, detail = 'late', state
  end
  if detail == 'broken' then detail, broken[i] = 'failed', true end
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
local dues = expect('zset', KEYS[8])
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

-- An attempt that another's claim has ended says now what it consumed: its entry was still there.
local function says_now(i, word)
  return word == 'yielded' and there[i]
end

local reply, closed, events, told, counts, rung = {}, {}, {}, {}, {}, {}

-- Says how a job ended. What belongs together stays in one entry.
local function note(o, id, answer, line)
  local lists = told[o]
  if not lists then lists = {{}} told[o] = lists end
  local list = lists[#lists]
  if #list + (answer and 4 or 2) > TOLD then
    list = {}
    lists[#lists + 1] = list
  end
  local last = #list
  if answer then
    list[last + 1], list[last + 2] = id, answer
    last = last + 2
  end
  list[last + 1], list[last + 2] = id, line
end

-- Keeps an answer as it must be; returns what whoever waits is told of it, nil for nothing.
local function answered(i, waits)
  local answer, letters = ARGV[texts + 3 * i - 1], letters_of(i)
  if answer == '' then return end
  local kept, streams = string.find(letters, 'k', 1, true), string.find(letters, 's', 1, true)
  local apart = waits and not streams and #answer > MOST_INLINE
  if kept or apart then
    redis.call('SET', KEYS[answers + i], answer, 'PX', kept and record_ttl or ARGV[3])
  end
  if not waits or streams then return end
  return apart and 'answer_at ' .. #answer .. (kept and 'k' or '') or 'answer ' .. answer
end

local function close(i, a, id, job, detail, report)
  if broken[i] and answers then report = ARGV[texts + 3 * i] end
  local signature = signature_of(worker, ARGV[a + 3], ARGV[a + 2])
  end_job(closed, id, job, bodies and KEYS[bodies + i], detail, signature, starts[i], stamp, report,
    record_ttl, short)
  counts[detail] = (counts[detail] or 0) + 1
  local line = detail .. ' ' .. report
  events[#events + 1] = id
  events[#events + 1] = there[i] and line or 'reclaimed ' .. line
  if ARGV[a + 7] ~= '' then
    note(tonumber(ARGV[a + 7]), id, answers and detail == 'completed' and answered(i, true), line)
  elseif answers and detail == 'completed' then answered(i, false) end
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

local function yield_to_hedge(job, signature)
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
  elseif word ~= 'again' and word ~= 'unknown' and (not repeats[i] or says_now(i, word)) then
    if word == 'requeued' then back(i, a, id, job)
    elseif word == 'yielded' then if not repeats[i] then yield_to_hedge(job, signature) end
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
if dues then leave(KEYS[8], closed) end
tell(KEYS[2], events, ARGV[5])
for o, lists in pairs(told) do
  for _, list in ipairs(lists) do announce(KEYS[outs + o], list, ARGV[3], ARGV[4]) end
end
for k in pairs(rung) do ring(KEYS[6], KEYS[7], ARGV[11 + k]) end
for word, n_ in pairs(counts) do count(KEYS[4], word, n_) end
return reply
