-- Accepts a batch of jobs into their tenants' streams.
-- KEYS  active bell open counts | T x in | n x job | bodies
-- ARGV  T n max_depth max_bytes max_active | T x tenant
--       | n x (id tenant# digest spec truth reply limit deadline_ms body# body)
-- REPLY n x (ok entry | dup state | conflict state | too_big bytes | full depth
--            | bad_stream type | bad_job type)
-- `deadline_ms` counts from now ('' = none); tenant# and body# count from 1 ('' = no body).
local T, n = tonumber(ARGV[1]), tonumber(ARGV[2])
local max_depth, max_bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
local streams, jobs = 4, 4 + T
local bodies = jobs + n
local WIDTH, first = 10, 5 + T
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

local reply, accepted, seen = {}, {}, {}
for i = 1, n do
  local a = first + (i - 1) * WIDTH
  local id, k = ARGV[a + 1], tonumber(ARGV[a + 2])
  local word, detail
  local kind = redis.call('TYPE', KEYS[jobs + i]).ok
  if kind ~= 'hash' and kind ~= 'none' then word, detail = 'bad_job', kind
  else
    local known = kind == 'hash' and redis.call('HMGET', KEYS[jobs + i], 'digest', 'state')
    local digest = known and known[1] or seen[id]
    local size = #ARGV[a + 4] + #ARGV[a + 5] + #ARGV[a + 10]
    if digest then
      word = digest == ARGV[a + 3] and 'dup' or 'conflict'
      detail = known and known[2] or 'queued'
    elseif size > max_bytes then word, detail = 'too_big', tostring(size)
    elseif wrong[k] then word, detail = 'bad_stream', wrong[k]
    elseif depth[k] >= max_depth then word, detail = 'full', tostring(depth[k])
    elseif crowded and depth[k] == 0
      and redis.call('SISMEMBER', KEYS[1], ARGV[5 + k]) == 0 then
      word, detail = 'full', tostring(depth[k])
    else
      word, detail = 'ok', ''
      depth[k] = depth[k] + 1
      seen[id] = ARGV[a + 3]
      accepted[#accepted + 1] = i
    end
  end
  reply[2 * i - 1], reply[2 * i] = word, detail
end

local touched, scores = {}, {}
for _, i in ipairs(accepted) do
  local a = first + (i - 1) * WIDTH
  local id, k = ARGV[a + 1], tonumber(ARGV[a + 2])
  local deadline = ARGV[a + 8]
  if deadline ~= '' then deadline = whole(t + tonumber(deadline)) end
  local entry = enqueue(KEYS[streams + k], id, {ARGV[a + 4], stamp, deadline}, '0')
  redis.call('HSET', KEYS[jobs + i], 'state', 'queued', 'tenant', ARGV[5 + k], 'entry', entry,
    'attempt', '0', 'limit', ARGV[a + 7], 'accepted', stamp, 'deadline', deadline,
    'digest', ARGV[a + 3], 'spec', ARGV[a + 4], 'truth', ARGV[a + 5], 'reply', ARGV[a + 6])
  if ARGV[a + 9] ~= '' then
    redis.call('SET', KEYS[bodies + tonumber(ARGV[a + 9])], ARGV[a + 10])
  end
  scores[#scores + 1], scores[#scores + 2] = stamp, id
  touched[k] = true
  reply[2 * i] = entry
end
if #accepted > 0 then
  each_chunk(scores, 1000, function(...) redis.call('ZADD', KEYS[3], ...) end)
  redis.call('HINCRBY', KEYS[4], 'accepted', #accepted)
  for k in pairs(touched) do ring(KEYS[1], KEYS[2], ARGV[5 + k]) end
end
return reply
