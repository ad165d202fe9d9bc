-- Ends jobs that no worker is finishing: cancel, expire, reject, dead-letter.
-- KEYS  leader/counts open counts events dead due
--       | n x (job in work ctl body out hedge_work hedge_ctl)
-- ARGV  token record_ttl out_ttl out_maxlen maxlen n
--       | n x (id verdict report worker tell hedge_worker entry)
-- REPLY fenced | ok, n x (ok state_before | again verdict | late state | not_due '' | moved workers
--                         | unknown '')
-- With a token ('' = anybody) only the leader may do it. `worker` and `hedge_worker` are whom the
-- caller believes to have the job's attempt and its hedge, since the keys depend on them; `moved` says
-- who does. What lay in a stream is deleted here; a running attempt is told through `ctl`, and
-- its worker reports what it had consumed.
-- `tell` is '1' if somebody waits on `out`. `entry` is where the caller saw the job wait, or '': if it
-- does not wait there any more (somebody else has ended it), nobody would ever read that entry again.
local CONTROL_ENTRIES = 1000  -- as in `limits.py`
if ARGV[1] ~= '' and redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'fenced'} end
local n, A, K = tonumber(ARGV[6]), 7, 8
local t = now()

local reply, before, hedges = {'ok'}, {}, {}
for i = 1, n do
  local a, k = 6 + (i - 1) * A, 6 + (i - 1) * K
  local verdict = ARGV[a + 2]
  local j = redis.call('HMGET', KEYS[k + 1], 'at', 'deadline', 'about', 'hedge')
  local state, holder, started = parsed(j[1])
  local who = split(holder)
  local other, other_holder = parsed(j[4])
  if other == 'over' then other, other_holder = nil, nil end
  local hedge_worker = split(other_holder) or ''
  local word, detail = 'ok', state
  if j[1] and not state then state, holder, started, detail = 'spoilt', '', '', 'spoilt' end
  if not state then word, detail = 'unknown', ''
  elseif TERMINAL[state] then
    word = (holder == 'system' and state == verdict) and 'again' or 'late'
  elseif verdict == 'expired' and (not j[2] or t <= (tonumber(j[2]) or 0)) then
    word, detail = 'not_due', ''
  elseif verdict == 'rejected' and HELD[state] then word = 'late'
  elseif HELD[state] and (who ~= ARGV[a + 4] or hedge_worker ~= ARGV[a + 6]) then
    word, detail = 'moved', (who or '') .. (hedge_worker ~= '' and ' ' .. hedge_worker or '')
  end
  before[i] = {state, holder, started, j[3]}
  hedges[i] = {other, other_holder}
  reply[2 * i], reply[2 * i + 1] = word, detail
end

-- Deletes or stops one attempt.
local function stop(id, state, holder, worker, work, ctl, about, events)
  local _, attempt, entry = split(holder)
  if not entry then return end
  if state == 'assigned' then drop(work, entry, worker, about, events)
  elseif state == 'running' then
    redis.call('XADD', ctl, 'MAXLEN', '~', CONTROL_ENTRIES, '*', 'cancel', id, 'attempt', attempt)
    redis.call('PEXPIRE', ctl, ARGV[2])
  elseif state == 'prefilled' then redis.call('XDEL', work, entry or '0-1') end
end

expect('zset', KEYS[2])
expect('zset', KEYS[6])
expect('hash', KEYS[3])
expect('stream', KEYS[5])
for i = 1, n do
  if ARGV[6 + (i - 1) * A + 5] == '1' then expect('stream', KEYS[6 + (i - 1) * K + 6]) end
end
make_way(KEYS[4])
local closed = {}
for i = 1, n do
  local a, k = 6 + (i - 1) * A, 6 + (i - 1) * K
  local id, verdict, report = ARGV[a + 1], ARGV[a + 2], ARGV[a + 3]
  local word, events = reply[2 * i], {}
  local state, holder, started, about = unpack(before[i], 1, 4)
  if word == 'unknown' then
    redis.call('DEL', KEYS[k + 5])
    redis.call('ZREM', KEYS[2], id)
    redis.call('ZREM', KEYS[6], id)
  elseif word ~= 'not_due' and ARGV[a + 7] ~= '' then
    redis.call('XDEL', KEYS[k + 2], ARGV[a + 7])
  end
  if word == 'ok' then
    if state == 'queued' then
      local _, _, entry = split(holder)
      redis.call('XDEL', KEYS[k + 2], entry or '0-1')
    end
    if state == 'queued' or state == 'prefilled' then events = {id, 'withdrawn '} end
    stop(id, state, holder, ARGV[a + 4], KEYS[k + 3], KEYS[k + 4], about, events)
    stop(id, hedges[i][1], hedges[i][2], ARGV[a + 6], KEYS[k + 7], KEYS[k + 8], about, events)
    end_job(closed, id, KEYS[k + 1], KEYS[k + 5], verdict, 'system', started, whole(t), report,
      ARGV[2])
    count(KEYS[3], verdict, 1)
    tell(KEYS[4], events, ARGV[5])
    if ARGV[a + 5] == '1' then
      announce(KEYS[k + 6], {id, verdict .. ' ' .. report}, ARGV[3], ARGV[4])
    end
    if verdict == 'dead' then
      redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[5], '*', 'job', id, 'why', 'dead-lettered',
        'sample', string.sub(report, 1, 512))
    end
  end
end
leave(KEYS[2], closed)
leave(KEYS[6], closed)
return reply
