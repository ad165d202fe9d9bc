-- Accepts a batch of jobs into their tenants' streams.
-- KEYS  active bell open counts | T x in | n x job | bodies
-- ARGV  T n max_depth max_bytes max_active | T x tenant
--       | n x (id tenant# spec ticket limit deadline_ms body# body)
-- REPLY n x (ok entry | dup state | conflict state | too_big bytes | full depth
--            | bad_stream type | bad_job type)
-- `ticket` begins with the 16 characters of the job's digest; `limit` '' is the usual one;
-- `deadline_ms` counts from now ('' = none); tenant# and body# count from 1 ('' = no body).
local T, n = tonumber(ARGV[1]), tonumber(ARGV[2])
local max_depth, max_bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
local streams, jobs = 4, 4 + T
local bodies = jobs + n
local WIDTH, first = 8, 5 + T
local t = now()
local stamp = whole(t)

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
each_chunk(KEYS, 1000, function(...) known = known + redis.call('EXISTS', ...) end)
for k = 1, jobs do known = known - redis.call('EXISTS', KEYS[k]) end

local function judged(i, a, k, seen)
  if known > 0 then
    local kind = redis.call('TYPE', KEYS[jobs + i]).ok
    if kind ~= 'hash' and kind ~= 'none' then return 'bad_job', kind end
    if kind == 'hash' then
      local r = redis.call('HMGET', KEYS[jobs + i], 'ticket', 'state')
      local same = string.sub(r[1] or '', 1, 16) == string.sub(ARGV[a + 4], 1, 16)
      return same and 'dup' or 'conflict', r[2] or 'unknown'
    end
  end
  if seen then return seen == ARGV[a + 4] and 'dup' or 'conflict', 'queued' end
  local size = #ARGV[a + 3] + #ARGV[a + 4] + #ARGV[a + 8]
  if size > max_bytes then return 'too_big', tostring(size) end
  if wrong[k] then return 'bad_stream', wrong[k] end
  if depth[k] >= max_depth then return 'full', tostring(depth[k]) end
  if crowded and depth[k] == 0 and redis.call('SISMEMBER', KEYS[1], ARGV[5 + k]) == 0 then
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

local touched, scores = {}, {}
for i = 1, n do
  if reply[2 * i - 1] == 'ok' then
    local a = first + (i - 1) * WIDTH
    local id, k, job = ARGV[a + 1], tonumber(ARGV[a + 2]), KEYS[jobs + i]
    local deadline = ARGV[a + 6]
    if deadline ~= '' then deadline = whole(t + tonumber(deadline)) end
    local entry = enqueue(KEYS[streams + k], id, ARGV[a + 3], stamp, deadline, '0')
    redis.call('HSET', job, 'state', 'queued', 'holder', 'queue/0/' .. entry, 'accepted', stamp,
      'spec', ARGV[a + 3], 'ticket', ARGV[a + 4])
    if deadline ~= '' then redis.call('HSET', job, 'deadline', deadline) end
    if ARGV[a + 5] ~= '' then redis.call('HSET', job, 'limit', ARGV[a + 5]) end
    if ARGV[a + 7] ~= '' then
      redis.call('SET', KEYS[bodies + tonumber(ARGV[a + 7])], ARGV[a + 8])
    end
    scores[#scores + 1], scores[#scores + 2] = stamp, id
    touched[k] = true
    reply[2 * i] = entry
  end
end
if #scores > 0 then
  each_chunk(scores, 1000, function(...) redis.call('ZADD', KEYS[3], ...) end)
  redis.call('HINCRBY', KEYS[4], 'accepted', #scores / 2)
  for k in pairs(touched) do ring(KEYS[1], KEYS[2], ARGV[5 + k]) end
end
return reply
