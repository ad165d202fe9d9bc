-- Put before every script.
--
-- House rules, each earned by a failure somebody measured:
--   1. Every key is declared and carries the cell's hash tag (legal on Redis Cluster).
--   2. Read and decide first, write last: an error in mid-script does not roll back.
--   3. Scripts that drain work write XDEL/DEL first: a server at `maxmemory` refuses a script
--      whose first write grows it, and lets everything pass after one that does not.
--   4. Arguments are opaque strings; no cjson on users' data; whole numbers stay below 2^53.
--   5. The reply is a flat array of strings without nil.
--   6. Running a script twice with the same arguments answers the same the second time: the
--      client will send it again when a reply is lost.
--   7. TIME is the only clock that enters a decision.
--   8. The 6.2 command set only.

local TERMINAL = {completed = 1, failed = 1, rejected = 1, expired = 1, cancelled = 1, dead = 1}

local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function whole(n)
  return string.format('%.0f', n)
end

-- The number that a counter says; nil if it says none. (To `tonumber` a nan is a number, too.)
local function counter(text)
  return text and #text <= 15 and string.match(text, '^%d+$') and tonumber(text)
end

-- The type of a key that has another one than it must, nil if it has that or is not there; and
-- whether it has that.
local function misplaced(key, kind)
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then return found, false end
  return nil, found == kind
end

-- Rule 2 for keys that are written and never read: nothing has been written yet when one is found
-- to be of a wrong type. Whoever called sets that key aside and calls again. Returns whether the key
-- is there.
local function expect(kind, key)
  local wrong, there = misplaced(key, kind)
  if wrong then error('WRONGTYPE ' .. key, 0) end
  return there
end

-- Counts in a hash of totals; a total that is no number begins anew.
local function count(key, word, n)
  local total = redis.pcall('HINCRBY', key, word, n)
  if type(total) == 'table' then redis.call('HSET', key, word, n) end
end

-- Calls a variadic command on lists of any length, or on a part of one: Lua's unpack fails beyond
-- some 8,000 items, after what was written before it.
local function each_chunk(items, size, call, first, last)
  last = last or #items
  for i = first or 1, last, size do
    call(unpack(items, i, math.min(i + size - 1, last)))
  end
end

-- Rule 3 for scripts that may have nothing to delete: there is no entry 0-1.
local function make_way(stream)
  redis.call('XDEL', stream, '0-1')
end

local function delete_entries(stream, entries)
  each_chunk(entries, 1000, function(...) redis.call('XDEL', stream, ...) end)
end

-- A job's record, `job:<id>`. Few fields and few writes: each field of each write is paid for in
-- the hash, in the append-only file and on the way to replicas.
--   at        "<state> <who>/<attempt>/<entry> <started> <finished>", the times while they are known;
--             "running <who>/<attempt>/<entry> <started> claimed" once a part of its answer was sent.
--             `who` is `queue`, a worker, or `system` at the end if no worker ended it. All of it
--             counts: ids of entries are unique within a stream only, so two streams may hold the
--             same id in the same millisecond.
--   about     "<accepted> <digest> <length> <bytes> <reply> <spec>", written once. After the bytes of
--             the body come letters: `s` if it streams, `k` if its answer is to be kept.
--   deadline  if it has one      limit  most attempts, if not the usual      result  what became of it
--   hedge     "<state> <who>/<attempt>/<entry> <started>" of the attempt beside the one in `at`, if
--             there is or was one; its state is `assigned`, `running` or `over`
--   prefix    "<hashes>,<block>" if it is too long to ride in the spec; for the leader and the worker
--   trace     the context of the trace that it belongs to, if it does; for who tells of it
--   prefilled "<worker> <cached> <first_s>" once a worker has computed the prompt for another: how
--             much of it was cached, and when the first token came, in seconds after acceptance
-- All times are ms of this server's clock.
local USUAL_LIMIT = 3

local function signature_of(who, attempt, entry)
  return who .. '/' .. attempt .. '/' .. entry
end

-- Splits a signature: who, attempt, entry; nothing for what is none (`system`, or nobody).
local function split(signature)
  return string.match(signature or '', '^(.-)/(%d+)/(.*)$')
end

-- Splits `at`; nil if there is no record, or none that anybody could have written. The fourth is
-- whether the attempt has claimed the job.
local function parsed(at)
  if not at then return end
  local state, holder, started, rest = string.match(at, '^(%a+) ([^ ]+/%d+/%d+%-%d+) ?(%d*)(.*)$')
  if state then return state, holder, started, rest == ' claimed' end
  return string.match(at, '^(%a+) (system) ?(%d*)')
end

-- Whether an attempt is the job's own.
local HELD = {assigned = 1, running = 1, prefilled = 1}
local function owned(state, holder, signature)
  return HELD[state] and holder == signature
end

-- What a worker has begun: if the worker dies, that counts against the job.
local BEGUN = {running = 1, prefilled = 1}

-- State, signature and start of the attempt beside the job's own; nil if none is alive.
local function hedge_of(job)
  local state, holder, started = parsed(redis.call('HGET', job, 'hedge'))
  if state ~= 'over' then return state, holder, started end
end

-- The first part of an answer that is sent claims the job for its attempt: whoever waits has seen it.
-- From then on no other attempt decides the job, none is started, and it is never queued again: if
-- this one is lost, the job has failed.
local function claim(job, holder, signature, started, other)
  redis.call('HSET', job, 'at', 'running ' .. signature .. ' ' .. started .. ' claimed')
  local loser = holder ~= signature and holder or other
  if loser then redis.call('HSET', job, 'hedge', 'over ' .. loser) end
end

-- The attempt beside the job's own becomes its own; that of this signature is over.
local function promote(job, signature)
  redis.call('HSET', job, 'at', redis.call('HGET', job, 'hedge'), 'hedge', 'over ' .. signature)
end

-- Deletes an attempt that will not go on. Whoever deletes it tells the scheduler, so that it is told
-- once: appends to `events` that it never began (`dropped`, the usual word: nothing is charged), or
-- that nobody knows what it consumed (`lost`: the estimate stands).
local function drop(stream, entry, worker, about, events, word)
  local found = redis.call('XRANGE', stream, entry, entry)[1]
  if not found then return false end
  redis.call('XDEL', stream, entry)
  local id, attempt, estimate = string.match(found[2][2] or '', '^([^ ]+) (%d+) ([^ ]+)')
  local tenant = string.match(about or '', '^%d+ [^ ]+ [^ ]+ [^ ]+ [^ ]+ %[%d+,"([^"]*)"')
  if tenant and tonumber(estimate) then
    events[#events + 1] = id
    events[#events + 1] = (word or 'dropped') .. ' ["' .. tenant .. '","' .. worker .. '",' .. attempt .. ','
      .. estimate .. ']'
  end
  return true
end

-- Most items of one entry that tells of many jobs: whoever reads by count must know what it gets.
local TOLD = 200

local function tell(stream, events, maxlen)
  each_chunk(events, TOLD, function(...)
    redis.call('XADD', stream, 'MAXLEN', '~', maxlen, '*', ...)
  end)
end

local function ended(state, signature, started, finished)
  return state .. ' ' .. signature .. ' ' .. (started == '' and '0' or started) .. ' ' .. finished
end

local function limit_of(job)
  return counter(redis.call('HGET', job, 'limit')) or USUAL_LIMIT
end

-- An attempt is lost while another of the same job lives. The second attempt had raised the limit: a
-- worker that died counts all the same.
local function yield(job, signature, state)
  local _, holder = parsed(redis.call('HGET', job, 'at'))
  if holder == signature then promote(job, signature)
  else redis.call('HSET', job, 'hedge', 'over ' .. signature) end
  if state == 'running' then redis.call('HSET', job, 'limit', limit_of(job) - 1) end
end

-- A whole number as it was written, or what stands for one that cannot be read.
local function whole_or(text, instead)
  return text and string.match(text, '^%d+$') or instead
end

-- Whether a deadline has passed; one that cannot be read has not.
local function past(deadline, t)
  local due = deadline and tonumber(deadline)
  return due and t > due
end

-- Puts a job into its tenant's stream, with the time of its first arrival and its attempts so far.
local function enqueue(stream, id, accepted, deadline, attempt, spec)
  return redis.call('XADD', stream, '*', 'j',
    id .. ' ' .. accepted .. ' ' .. deadline .. ' ' .. attempt .. ' ' .. spec)
end

-- The same for a job that was in the system before. Its next attempt has a number of its own.
local function requeue(stream, job, id, attempt)
  local r = redis.call('HMGET', job, 'about', 'deadline', 'hedge', 'prefilled')
  attempt = tonumber(attempt) or 0
  if r[3] then attempt = math.max(attempt, string.match(r[3], '/(%d+)/') or 0) end
  attempt = whole(attempt)
  if r[3] or r[4] then redis.call('HDEL', job, 'hedge', 'prefilled') end
  local accepted, spec = string.match(r[1] or '', '^(%d+) [^ ]+ [^ ]+ [^ ]+ [^ ]+ (.*)$')
  local entry = enqueue(stream, id, accepted or '0', whole_or(r[2], '-'), attempt, spec or '')
  redis.call('HSET', job, 'at', 'queued ' .. signature_of('queue', attempt, entry))
  return entry
end

-- A tenant that was idle is made active and rung for; the bell is a hint, `active` the truth.
local function ring(active, bell, tenant)
  if redis.call('SADD', active, tenant) == 1 then
    redis.call('XADD', bell, 'MAXLEN', '~', 10000, '*', 't', tenant)
  end
end

-- Tells whoever waits on `out`: pairs of job id and "<outcome> <result>".
local function announce(out, pairs_, ttl, maxlen)
  tell(out, pairs_, maxlen)
  redis.call('PEXPIRE', out, ttl)
end

-- Ends a job: its record says how and gets its time to live, its body goes, and it is noted in
-- `closed`, for `leave`. No path to an end goes past this. The body of a dead job alone may be
-- wanted again, by whoever offers its letter anew: it lives exactly as long as the record. The same
-- goes for a long prefix.
-- `body` is nil where the caller knows that there is none, and `short` that the prefix is not kept apart.
local function end_job(closed, id, job, body, state, signature, started, finished, result, ttl, short)
  if body and state == 'dead' then redis.call('PEXPIRE', body, ttl)
  elseif body then redis.call('DEL', body) end
  redis.call('HSET', job, 'at', ended(state, signature, started, finished), 'result', result)
  if state ~= 'dead' and not short then redis.call('HDEL', job, 'prefix') end
  redis.call('PEXPIRE', job, ttl)
  closed[#closed + 1] = id
end

-- Takes what has ended out of the index of open jobs.
local function leave(open, closed)
  each_chunk(closed, 1000, function(...) redis.call('ZREM', open, ...) end)
end
