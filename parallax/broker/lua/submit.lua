-- Accepts a batch of jobs into their tenants' streams.
-- KEYS  active bell open counts due | T x in | n x job | n x body, if there are bodies
-- ARGV  T n max_depth max_bytes max_active bodies | T x tenant
--       | n x (id tenant# spec ticket options) | n x body, if there are bodies
-- REPLY n x (ok entry | dup state | conflict state | too_big bytes | full depth
--            | bad_stream type | bad_job type)
-- `ticket` begins with the 16 characters of the job's digest; tenant# counts from 1; `options` is
-- '' or "<limit> <deadline>[ <prefix>[ <trace>]]" with '-' for the usual limit or no deadline, in ms
-- from now; `prefix` is there if it is too long for `spec`, `trace` if the job belongs to one.
local T, n = tonumber(ARGV[1]), tonumber(ARGV[2])
local max_depth, max_bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
local streams, jobs = 5, 5 + T
local bodies = ARGV[6] == '1' and jobs + n
local WIDTH, first = 5, 6 + T
local texts = first + n * WIDTH
local t = now()
local stamp = whole(t)

expect('stream', KEYS[2])
expect('zset', KEYS[3])
expect('zset', KEYS[5])
expect('hash', KEYS[4])
local depth, wrong = {}, {}
for k = 1, T do
  local kind = redis.call('TYPE', KEYS[streams + k]).ok
  if kind == 'stream' then depth[k] = redis.call('XLEN', KEYS[streams + k])
  elseif kind == 'none' then depth[k] = 0
  else wrong[k] = kind end
end
local crowded = redis.call('SCARD', KEYS[1]) >= tonumber(ARGV[5])
-- Nearly always no job of the batch is known: one call says so for all of them.
local known = 0
for i = jobs + 1, jobs + n, 1000 do
  known = known + redis.call('EXISTS', unpack(KEYS, i, math.min(i + 999, jobs + n)))
end

-- A body that is there belongs to another job of that id: it is not written over.
local lingering = 0
if bodies then
  for i = bodies + 1, bodies + n, 1000 do
    lingering = lingering + redis.call('EXISTS', unpack(KEYS, i, math.min(i + 999, bodies + n)))
  end
end

local function judged(i, a, k, seen)
  if known > 0 then
    local kind = redis.call('TYPE', KEYS[jobs + i]).ok
    if kind ~= 'hash' and kind ~= 'none' then return 'bad_job', kind end
    if kind == 'hash' then
      local r = redis.call('HMGET', KEYS[jobs + i], 'about', 'at')
      local digest = string.match(r[1] or '', '^%d+ ([^ ]+)')
      local same = digest == string.sub(ARGV[a + 4], 1, 16)
      return same and 'dup' or 'conflict', parsed(r[2]) or 'unknown'
    end
  end
  if seen then return seen == ARGV[a + 4] and 'dup' or 'conflict', 'queued' end
  local size = #ARGV[a + 3] + #ARGV[a + 4] + #ARGV[a + 5] + (bodies and #ARGV[texts + i] or 0)
  if size > max_bytes then return 'too_big', tostring(size) end
  if wrong[k] then return 'bad_stream', wrong[k] end
  if lingering > 0 and redis.call('EXISTS', KEYS[bodies + i]) == 1 then return 'bad_job', 'body' end
  if depth[k] >= max_depth then return 'full', tostring(depth[k]) end
  if crowded and depth[k] == 0 and redis.call('SISMEMBER', KEYS[1], ARGV[6 + k]) == 0 then
    return 'full', '0'
  end
  return 'ok', ''
end

local reply, seen = {}, {}
for i = 1, n do
  local a = first + (i - 1) * WIDTH
  local id, k = ARGV[a + 1], tonumber(ARGV[a + 2])
  local word, detail = judged(i, a, k, seen[id])
  if word == 'ok' then
    depth[k] = depth[k] + 1
    seen[id] = ARGV[a + 4]
  end
  reply[2 * i - 1], reply[2 * i] = word, detail
end

local touched, scores, dues = {}, {}, {}
for i = 1, n do
  if reply[2 * i - 1] == 'ok' then
    local a = first + (i - 1) * WIDTH
    local id, k, spec, job = ARGV[a + 1], tonumber(ARGV[a + 2]), ARGV[a + 3], KEYS[jobs + i]
    local limit, deadline, prefix, trace = '-', '-', '', ''
    if ARGV[a + 5] ~= '' then
      limit, deadline, prefix, trace = string.match(ARGV[a + 5], '^([^ ]+) ([^ ]+) ?([^ ]*) ?(.*)$')
      if deadline ~= '-' then deadline = whole(t + tonumber(deadline)) end
    end
    local entry = enqueue(KEYS[streams + k], id, stamp, deadline, '0', spec)
    redis.call('HSET', job, 'at', 'queued queue/0/' .. entry,
      'about', stamp .. ' ' .. ARGV[a + 4] .. ' ' .. spec)
    if deadline ~= '-' then
      redis.call('HSET', job, 'deadline', deadline)
      dues[#dues + 1], dues[#dues + 2] = deadline, id
    end
    if limit ~= '-' then redis.call('HSET', job, 'limit', limit) end
    if prefix ~= '' then redis.call('HSET', job, 'prefix', prefix) end
    if trace ~= '' then redis.call('HSET', job, 'trace', trace) end
    if bodies and ARGV[texts + i] ~= '' then
      redis.call('SETNX', KEYS[bodies + i], ARGV[texts + i])
    end
    scores[#scores + 1], scores[#scores + 2] = stamp, id
    touched[k] = true
    reply[2 * i] = entry
  end
end
if #scores > 0 then
  each_chunk(scores, 1000, function(...) redis.call('ZADD', KEYS[3], ...) end)
  each_chunk(dues, 1000, function(...) redis.call('ZADD', KEYS[5], ...) end)
  count(KEYS[4], 'accepted', #scores / 2)
  for k in pairs(touched) do ring(KEYS[1], KEYS[2], ARGV[6 + k]) end
end
return reply
