-- Re-queues open jobs that are nowhere: their stream was deleted, trimmed, or its worker is unknown.
-- KEYS  leader open counts active bell events | n x (job in work hb) | n x body
-- ARGV  token grace_ms maxlen n | n x (id tenant worker)
-- REPLY fenced | ok, n x (ok entry | present entry | young '' | moved worker | done state | vanished ''
--                         | spent attempts | broken worker | held worker | yielded '' | spoilt worker)
-- `grace` must exceed the time a healthy recovery takes: this is the net below the net. What lies in
-- the stream of a worker without a heartbeat is `held` for some time from when that is first seen, since
-- the recoverer is about to take it; that time begins anew when the job was sent to another worker since.
-- A job whose last attempt is lost is `spent`: the caller dead-letters it; one that has another attempt
-- alive is left (`yielded`) to that. One whose lost attempt had claimed it is `broken`: the caller ends
-- it as failed.
-- The entry of a `present` job is '' unless it waits in its tenant's stream.
-- An empty tenant says that the caller could not read the record: such a job is `spoilt`, for who
-- cannot be understood cannot run, and is dead-lettered by the caller.
-- A computed prompt that nobody has taken on is told of once more.
local PATIENCE = 5
local SEEN = 0.5  -- the part of a score that says: since then its worker has no heartbeat
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'fenced'} end
local n = tonumber(ARGV[4])
local t = now()

-- When the job was first seen where it lies now; ids of entries begin with the time they were made.
local function since(score, entry)
  local sent = tonumber(string.match(entry, '^%d+'))
  return sent <= t and math.max(score, sent) or score
end

local reply, attempts, held, holders, seen = {'ok'}, {}, {}, {}, {}
for i = 1, n do
  local k, a = 6 + (i - 1) * 4, 4 + (i - 1) * 3
  local at = redis.call('HGET', KEYS[k + 1], 'at')
  local state, holder, _, claimed = parsed(at)
  if at and not holder then state = 'spoilt' end
  local who, attempt, entry = split(holder)
  local score = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[a + 1]) or '0')
  local word, detail = 'ok', ''
  if not state then word = 'vanished'
  elseif TERMINAL[state] then word, detail = 'done', state
  elseif t >= score and t - score < tonumber(ARGV[2]) and score % 1 ~= SEEN then word = 'young'
  elseif ARGV[a + 2] == '' or state == 'spoilt' then word, detail = 'spoilt', who or ''
  elseif who ~= ARGV[a + 3] then word, detail = 'moved', who or ''
  else
    local stream = KEYS[k + (who == 'queue' and 2 or 3)]
    local found = entry and #redis.call('XRANGE', stream, entry, entry) == 1
    if found and (who == 'queue' or redis.call('EXISTS', KEYS[k + 4]) == 1) then
      word, detail = 'present', who == 'queue' and entry or ''
    elseif found and t >= score
      and (score % 1 ~= SEEN or t - since(score, entry) < PATIENCE * tonumber(ARGV[2])) then
      word, detail = 'held', who
      if score % 1 ~= SEEN then seen[#seen + 1] = ARGV[a + 1] end
    elseif claimed then word, detail = 'broken', who
    elseif hedge_of(KEYS[k + 1]) then word = 'yielded'
    elseif BEGUN[state] and (tonumber(attempt) or 0) >= limit_of(KEYS[k + 1]) then
      word, detail = 'spent', attempt
    end
    attempts[i], held[i], holders[i] = attempt, found and {stream, entry}, {state, holder}
  end
  reply[2 * i], reply[2 * i + 1] = word, detail
end
expect('hash', KEYS[3])
expect('set', KEYS[4])
expect('stream', KEYS[5])
make_way(KEYS[6])
for _, id in ipairs(seen) do redis.call('ZADD', KEYS[2], 'XX', t - SEEN, id) end
local events = {}
for i = 1, n do
  local k, a = 6 + (i - 1) * 4, 4 + (i - 1) * 3
  local id, tenant, word = ARGV[a + 1], ARGV[a + 2], reply[2 * i]
  if word == 'vanished' or word == 'done' then
    redis.call('ZREM', KEYS[2], id)
    if word == 'vanished' then  -- nothing can want its body any more
      redis.call('DEL', KEYS[k + 1], KEYS[6 + 4 * n + i])
      count(KEYS[3], 'vanished', 1)
    end
  elseif word == 'present' then
    redis.call('ZADD', KEYS[2], 'XX', t, id)
    if ARGV[a + 3] == 'queue' then ring(KEYS[4], KEYS[5], tenant) end
    if holders[i][1] == 'prefilled' then
      events[#events + 1] = id
      events[#events + 1] = 'prefilled ["' .. tenant .. '","' .. ARGV[a + 3] .. '",' .. attempts[i] .. ']'
    end
  elseif word == 'yielded' then
    yield(KEYS[k + 1], holders[i][2], holders[i][1])
    redis.call('ZADD', KEYS[2], 'XX', t, id)
  elseif word == 'ok' then
    if held[i] then
      local waited = holders[i][1] == 'assigned' and 'dropped' or 'lost'
      local about = redis.call('HGET', KEYS[k + 1], 'about')
      drop(held[i][1], held[i][2], ARGV[a + 3], about, events, waited)
    end
    reply[2 * i + 1] = requeue(KEYS[k + 2], KEYS[k + 1], id, attempts[i])
    redis.call('ZADD', KEYS[2], 'XX', t, id)
    count(KEYS[3], 'repaired', 1)
    ring(KEYS[4], KEYS[5], tenant)
  end
end
tell(KEYS[6], events, ARGV[3])
return reply
