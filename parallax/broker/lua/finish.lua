-- Ends a batch of attempts: the first finisher writes the record, later ones are counted.
-- KEYS  work events open counts dead active bell | T x in | O x out | n x job | bodies
-- ARGV  worker record_ttl out_ttl out_maxlen maxlen T O n | T x tenant
--       | n x (id entry attempt verdict result note tenant# out# body#)
-- REPLY n x (ok verdict | again verdict | late state | stale state | requeued entry | unknown '')
-- Verdicts: completed, failed, expired, cancelled; retry (counts as an attempt), back (handed back
-- unharmed: it does not). `completed` is taken from any attempt, the others from the current one
-- only: a worker wrongly believed dead may still win, but never harm.
-- `note` is what the scheduler needs to settle accounts; it goes into `events` behind the answer.
local worker, record_ttl = ARGV[1], ARGV[2]
local T, O, n = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local streams, outs, jobs = 7, 7 + T, 7 + T + O
local bodies = jobs + n
local first, WIDTH = 8 + T, 9
local stamp = whole(now())

local reply, plan, entries, signed = {}, {}, {}, {}
for i = 1, n do
  local a = first + (i - 1) * WIDTH
  local entry, attempt, verdict = ARGV[a + 2], ARGV[a + 3], ARGV[a + 4]
  local j = redis.call('HMGET', KEYS[jobs + i], 'state', 'entry', 'worker', 'attempt', 'limit',
    'by', 'spec', 'accepted', 'deadline')
  local signature = worker .. '/' .. attempt .. '/' .. entry
  local word, detail = 'ok', verdict
  if signed[ARGV[a + 1]] then word, detail = 'late', signed[ARGV[a + 1]]
  elseif not j[1] then word, detail = 'unknown', ''
  elseif TERMINAL[j[1]] then
    word = (j[6] == signature) and 'again' or 'late'
    detail = j[1]
  elseif verdict ~= 'completed' and not (owned(j, entry, worker) and j[4] == attempt) then
    word, detail = 'stale', j[1]
  elseif verdict == 'retry' or verdict == 'back' then
    if verdict == 'back' or tonumber(attempt) < tonumber(j[5]) then word = 'requeued'
    else detail = 'dead' end
  end
  if word == 'ok' then signed[ARGV[a + 1]] = detail end
  entries[i] = entry
  plan[i] = {word, detail, j, signature}
end

-- First write: an XDEL, which is let through at maxmemory.
delete_entries(KEYS[1], entries)
local closed, events, told, counts, rung = {}, {}, {}, {}, {}
for i = 1, n do
  local a = first + (i - 1) * WIDTH
  local id = ARGV[a + 1]
  local word, detail, j, signature = unpack(plan[i])
  if word == 'requeued' then
    local k = tonumber(ARGV[a + 7])
    if ARGV[a + 4] == 'back' then redis.call('HINCRBY', KEYS[jobs + i], 'limit', 1) end
    detail = enqueue(KEYS[streams + k], id, {j[7], j[8], j[9]}, ARGV[a + 3])
    redis.call('HSET', KEYS[jobs + i], 'state', 'queued', 'entry', detail)
    rung[k] = true
  elseif word == 'ok' then
    if ARGV[a + 9] ~= '' then redis.call('DEL', KEYS[bodies + tonumber(ARGV[a + 9])]) end
    redis.call('HSET', KEYS[jobs + i], 'state', detail, 'by', signature, 'finished', stamp,
      'result', ARGV[a + 5])
    redis.call('PEXPIRE', KEYS[jobs + i], record_ttl)
    closed[#closed + 1] = id
    counts[detail] = (counts[detail] or 0) + 1
    if ARGV[a + 8] ~= '' then
      local o = tonumber(ARGV[a + 8])
      told[o] = told[o] or {}
      table.insert(told[o], id)
      table.insert(told[o], detail .. ' ' .. ARGV[a + 5])
    end
    if detail == 'dead' then
      redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[5], '*', 'job', id, 'why', 'attempts used up',
        'sample', string.sub(ARGV[a + 5], 1, 512))
    end
  end
  counts[word] = (counts[word] or 0) + 1
  reply[2 * i - 1], reply[2 * i] = word, detail
  if word ~= 'again' and word ~= 'unknown' then
    events[#events + 1] = id
    events[#events + 1] = (word == 'ok' and detail or word) .. ' ' .. ARGV[a + 6]
  end
end
each_chunk(closed, 1000, function(...) redis.call('ZREM', KEYS[3], ...) end)
if #events > 0 then redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], '*', unpack(events)) end
for o, pairs_ in pairs(told) do announce(KEYS[outs + o], pairs_, ARGV[3], ARGV[4]) end
for k in pairs(rung) do ring(KEYS[6], KEYS[7], ARGV[8 + k]) end
for word, count in pairs(counts) do
  if word ~= 'ok' and word ~= 'again' then redis.call('HINCRBY', KEYS[4], word, count) end
end
return reply
