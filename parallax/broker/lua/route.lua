-- The leader's commit: dispatches, account balances and the events they rest on, in one step.
-- KEYS  leader events ledger counts | W x (work hb) | T x in | n x job
-- ARGV  token epoch trim_to L W T n | L x (tenant account) | W x (worker cap)
--       | n x (id entry tenant# worker# attempt estimate kind)
-- REPLY fenced | ok, n x (ok | stale | orphan | expired | noworker | busy)
-- `attempt` counts from 1. `kind` is '' for a job that waits in its tenant's stream, 'hedge' for a
-- second attempt beside the one before it, and the worker# of whoever computed its prompt for a job
-- that goes on elsewhere. A dispatch that was carried out before is `ok` again. Beside an attempt of
-- whose answer a part was sent there is no second one.
-- Events with ids below `trim_to` are dropped ('' = none): the balances already contain them, so a
-- new leader neither loses nor repeats one.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'fenced'} end
local epoch = ARGV[2]
local L, W, T, n = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local workers, streams = 4, 4 + 2 * W
local jobs = streams + T
local caps, first, WIDTH = 7 + 2 * L, 7 + 2 * L + 2 * W, 7
local t = now()

local alive, room = {}, {}
for w = 1, W do
  alive[w] = redis.call('EXISTS', KEYS[workers + 2 * w]) == 1
  room[w] = tonumber(ARGV[caps + 2 * w]) - redis.call('XLEN', KEYS[workers + 2 * w - 1])
end

-- Whether the record says that this attempt is on this worker already.
local function there(at, worker, attempt)
  local state, holder = parsed(at)
  local who, number = split(holder)
  return HELD[state] and who == worker and number == attempt
end

-- Whether the job is where a dispatch of this kind takes it from.
local function waits(job, at, entry, attempt, kind)
  local before = whole(attempt - 1)
  if kind == '' then return at == 'queued queue/' .. before .. '/' .. entry end
  local state, holder, _, claimed = parsed(at)
  local who, number = split(holder)
  if number ~= before then return false end
  if kind == 'hedge' then
    return (state == 'assigned' or state == 'running') and not claimed
      and redis.call('HEXISTS', job, 'hedge') == 0
  end
  return state == 'prefilled' and who == ARGV[caps + 2 * tonumber(kind) - 1]
end

local reply, gone, skip = {'ok'}, {}, {}
for i = 1, n do
  local a = first + (i - 1) * WIDTH
  local job, entry, w = KEYS[jobs + i], ARGV[a + 2], tonumber(ARGV[a + 4])
  local attempt, kind = ARGV[a + 5], ARGV[a + 7]
  local j = redis.call('HMGET', job, 'at', 'deadline')
  local word = 'ok'
  if not (j[1] and waits(job, j[1], entry, attempt, kind)) then
    local worker = ARGV[caps + 2 * w - 1]
    local at = kind == 'hedge' and redis.call('HGET', job, 'hedge') or j[1]
    if not parsed(j[1]) then word = 'orphan'
    elseif there(at, worker, attempt) then skip[i] = true
    else word = 'stale' end
  elseif past(j[2], t) then word = kind == 'hedge' and 'stale' or 'expired'
  elseif not alive[w] then word = 'noworker'
  elseif room[w] <= 0 then word = 'busy'
  else room[w] = room[w] - 1 end
  if kind == '' and entry ~= '' and (word == 'ok' or word == 'stale') then
    local k = tonumber(ARGV[a + 3])
    local list = gone[k]
    if not list then list = {} gone[k] = list end
    list[#list + 1] = entry
  end
  reply[1 + i] = word
end

if L > 0 then expect('hash', KEYS[3]) end
make_way(KEYS[2])
for k, entries in pairs(gone) do delete_entries(KEYS[streams + k], entries) end
if ARGV[3] ~= '' then redis.call('XTRIM', KEYS[2], 'MINID', ARGV[3]) end

-- Takes the prompt's KV cache away from who computed it; returns what the next worker must know.
local function handed_over(job, at, kind)
  local _, holder = parsed(at)
  local _, _, entry = split(holder)
  redis.call('XDEL', KEYS[workers + 2 * tonumber(kind) - 1], entry or '0-1')
  redis.call('HSET', job, 'limit', limit_of(job) + 1)  -- two workers, one attempt
  return ' ' .. (redis.call('HGET', job, 'prefilled') or '')
end

local hedges = 0
for i = 1, n do
  if reply[1 + i] == 'ok' and not skip[i] then
    local a, job = first + (i - 1) * WIDTH, KEYS[jobs + i]
    local w, attempt, kind = tonumber(ARGV[a + 4]), ARGV[a + 5], ARGV[a + 7]
    local more = ''
    if kind ~= '' and kind ~= 'hedge' then
      more = handed_over(job, redis.call('HGET', job, 'at'), kind)
    end
    local entry = redis.call('XADD', KEYS[workers + 2 * w - 1], '*', 'j',
      ARGV[a + 1] .. ' ' .. attempt .. ' ' .. ARGV[a + 6] .. ' ' .. epoch .. more)
    local at = 'assigned ' .. signature_of(ARGV[caps + 2 * w - 1], attempt, entry)
    if kind == 'hedge' then
      redis.call('HSET', job, 'hedge', at, 'limit', limit_of(job) + 1)
      hedges = hedges + 1
    else redis.call('HSET', job, 'at', at) end
  end
end
if hedges > 0 then count(KEYS[4], 'hedged', hedges) end
each_chunk(ARGV, 1000, function(...) redis.call('HSET', KEYS[3], ...) end, 8, 7 + 2 * L)
return reply
