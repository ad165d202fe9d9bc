-- Ends jobs that no worker is finishing: cancel, expire, reject, dead-letter.
-- KEYS  leader open counts events dead | n x (job in work ctl body out)
-- ARGV  token record_ttl out_ttl out_maxlen maxlen n | n x (id verdict report worker tell)
-- REPLY fenced | ok, n x (ok state_before | again verdict | late state | not_due '' | moved worker
--                         | unknown '')
-- With a token ('' = anybody) only the leader may do it. `worker` is whom the caller believes to
-- hold the job, since the keys depend on it; `moved` says who does. What lay in a stream is deleted
-- here; a running attempt is told through `ctl`, and its worker reports what it had consumed.
-- `tell` is '1' if somebody waits on `out`.
if ARGV[1] ~= '' and redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'fenced'} end
local n = tonumber(ARGV[6])
local t = now()
local reply, before, where = {'ok'}, {}, {}
for i = 1, n do
  local a, k = 6 + (i - 1) * 5, 5 + (i - 1) * 6
  local verdict = ARGV[a + 2]
  local j = redis.call('HMGET', KEYS[k + 1], 'at', 'deadline')
  local state, holder, started = parsed(j[1])
  local who, attempt, entry = string.match(holder or '', '^(.-)/(.-)/(.*)$')
  local word, detail = 'ok', state
  local placed = state == 'assigned' or state == 'running'
  if not state then word, detail = 'unknown', ''
  elseif TERMINAL[state] then
    word = (holder == 'system' and state == verdict) and 'again' or 'late'
  elseif verdict == 'expired' and (not j[2] or t <= tonumber(j[2])) then
    word, detail = 'not_due', ''
  elseif verdict == 'rejected' and placed then word = 'late'
  elseif placed and who ~= ARGV[a + 4] then word, detail = 'moved', who or '' end
  before[i], where[i] = state, {entry, attempt, started}
  reply[2 * i], reply[2 * i + 1] = word, detail
end
for i = 1, n do
  local a, k = 6 + (i - 1) * 5, 5 + (i - 1) * 6
  local id, verdict, report = ARGV[a + 1], ARGV[a + 2], ARGV[a + 3]
  local word, state = reply[2 * i], before[i]
  if word == 'unknown' then redis.call('ZREM', KEYS[2], id) end
  if word == 'ok' then
    redis.call('DEL', KEYS[k + 5])
    if state == 'queued' then redis.call('XDEL', KEYS[k + 2], where[i][1])
    elseif state == 'assigned' then redis.call('XDEL', KEYS[k + 3], where[i][1])
    else
      redis.call('XADD', KEYS[k + 4], 'MAXLEN', '~', 1000, '*', 'cancel', id, 'attempt', where[i][2])
      redis.call('PEXPIRE', KEYS[k + 4], ARGV[2])
    end
    redis.call('HSET', KEYS[k + 1], 'at', ended(verdict, 'system', where[i][3], whole(t)),
      'result', report)
    redis.call('PEXPIRE', KEYS[k + 1], ARGV[2])
    redis.call('ZREM', KEYS[2], id)
    redis.call('HINCRBY', KEYS[3], verdict, 1)
    if state ~= 'running' then
      redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[5], '*', id, 'withdrawn ')
    end
    if ARGV[a + 5] == '1' then
      announce(KEYS[k + 6], {id, verdict .. ' ' .. report}, ARGV[3], ARGV[4])
    end
    if verdict == 'dead' then
      redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[5], '*', 'job', id, 'why', 'dead-lettered',
        'sample', string.sub(report, 1, 512))
    end
  end
end
return reply
