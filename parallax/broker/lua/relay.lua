-- Sends parts of answers, as their engines give them, to whoever waits. The first part claims the job.
-- KEYS  events | O x out | A x job
-- ARGV  worker maxlen out_ttl out_maxlen O A n | A x (id entry attempt out# own)
--       | n x (attempt# sequence bytes)
-- REPLY A x (ok | stop)
-- attempt# and out# count from 1; out# is '' if nobody waits. What is sent is "chunk <attempt>
-- <sequence> <bytes>", the parts of an attempt in their order. `stop`: another attempt has claimed the
-- job, or it has ended, or goes on elsewhere; nothing of this attempt is sent.
-- A stream that is the job's own (`own` is '1') gets an entry for each part, named by attempt and
-- sequence, so that it is written once however often it is sent. In an inbox a repetition stands
-- beside the first: readers drop it.
local O, A, n = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local outs, jobs, first, WIDTH = 1, 1 + O, 7, 5
local parts = first + A * WIDTH
local reply, claims = {}, {}
for i = 1, A do
  local a, job = first + (i - 1) * WIDTH, KEYS[jobs + i]
  local signature = signature_of(ARGV[1], ARGV[a + 3], ARGV[a + 2])
  local state, holder, started, claimed = parsed(redis.call('HGET', job, 'at'))
  local word = 'stop'
  if claimed then word = holder == signature and 'ok' or 'stop'
  elseif HELD[state or ''] then
    local other, other_holder, other_started = hedge_of(job)
    if state == 'running' and holder == signature then
      word, claims[i] = 'ok', {holder, signature, started, other_holder}
    elseif other == 'running' and other_holder == signature then
      word, claims[i] = 'ok', {holder, signature, other_started}
    end
  end
  reply[i] = word
end
expect('stream', KEYS[1])
for o = 1, O do expect('stream', KEYS[outs + o]) end
make_way(KEYS[1])

local events, told, touched = {}, {}, {}
for i = 1, A do
  if claims[i] then
    local a = first + (i - 1) * WIDTH
    claim(KEYS[jobs + i], unpack(claims[i]))
    events[#events + 1] = ARGV[a + 1]
    events[#events + 1] = 'began ' .. ARGV[1] .. ' ' .. ARGV[a + 3]
  end
end

-- Whether the last entry of a job's own stream is named by this attempt: what is before that was
-- written, for only one attempt ever writes, and in order.
local function written(out, attempt)
  local last = redis.call('XREVRANGE', out, '+', '-', 'COUNT', 1)[1]
  return last and string.match(last[1], '^(%d+)-') == attempt
end

local function publish(out, id, attempt, sequence, text)
  local entry = attempt .. '-' .. whole(tonumber(sequence) + 1)  -- 0-0 is no id
  local done = redis.pcall('XADD', out, 'MAXLEN', '~', ARGV[4], entry, id, text)
  if type(done) == 'table' and not written(out, attempt) then
    redis.call('XADD', out, 'MAXLEN', '~', ARGV[4], '*', id, text)
  end
end

for i = 1, n do
  local p = parts + (i - 1) * 3
  local k, sequence = tonumber(ARGV[p + 1]), ARGV[p + 2]
  local a = first + (k - 1) * WIDTH
  if reply[k] == 'ok' and ARGV[a + 4] ~= '' then
    local o, id = tonumber(ARGV[a + 4]), ARGV[a + 1]
    local text = 'chunk ' .. ARGV[a + 3] .. ' ' .. sequence .. ' ' .. ARGV[p + 3]
    touched[o] = true
    if ARGV[a + 5] == '1' then publish(KEYS[outs + o], id, ARGV[a + 3], sequence, text)
    else
      local list = told[o]
      if not list then list = {} told[o] = list end
      list[#list + 1] = id
      list[#list + 1] = text
    end
  end
end
tell(KEYS[1], events, ARGV[2])
for o, list in pairs(told) do tell(KEYS[outs + o], list, ARGV[4]) end
for o in pairs(touched) do redis.call('PEXPIRE', KEYS[outs + o], ARGV[3]) end
return reply
