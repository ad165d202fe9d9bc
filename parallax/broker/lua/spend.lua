-- Spends of what API keys may ask for a minute: requests, and tokens; or gives tokens back.
-- KEYS  n x rate
-- ARGV  n | n x (nonce most_requests most_tokens requests spent)
-- REPLY n x (ok left | full left)
-- A limit of 0 is none. `left` is "<requests> <ms> <tokens> <ms> <wait>": what is left, in how many ms
-- all of it is there again, and in how many this would be allowed. What is spent comes back evenly
-- over a minute; a field holds when all of it is there. What is refused spends nothing. A nonce that
-- was the last one of its key is a repetition: it is answered, and spends nothing.
local MINUTE = 60000
local t = now()

-- Until when what is spent of a limit is back, and how much is left of it then.
local function ahead(text, limit, more)
  local due = math.max(tonumber(text or '') or 0, t)
  if due ~= due or due > t + 2 * MINUTE then due = t end  -- junk, or the clock went back
  if limit > 0 then due = math.max(t, due + more * MINUTE / limit) end
  return due
end

local function left(due, limit)
  return whole(math.max(0, math.floor(limit - (due - t) * limit / MINUTE + 0.001)))
end

local reply = {}
for i = 1, tonumber(ARGV[1]) do
  local a, key = 1 + (i - 1) * 5, KEYS[i]
  local nonce, requests, tokens = ARGV[a + 1], tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])
  if misplaced(key, 'hash') then redis.call('DEL', key) end
  local r = redis.call('HMGET', key, 'requests', 'tokens', 'last')
  local again = r[3] == nonce
  local asked, spent = tonumber(ARGV[a + 4]), tonumber(ARGV[a + 5])
  local old_requests, old_tokens = ahead(r[1], requests, 0), ahead(r[2], tokens, 0)
  local new_requests, new_tokens = old_requests, old_tokens
  if not again then
    new_requests, new_tokens = ahead(r[1], requests, asked), ahead(r[2], tokens, spent)
  end
  local wait = math.max(new_requests, new_tokens) - t - MINUTE
  local word = 'ok'
  if wait > 0 and (asked > 0 or spent > 0) and not again then
    word, new_requests, new_tokens = 'full', old_requests, old_tokens
  elseif not again then
    redis.call('HSET', key, 'requests', whole(math.ceil(new_requests)),
      'tokens', whole(math.ceil(new_tokens)), 'last', nonce)
    redis.call('PEXPIRE', key, 2 * MINUTE)
  end
  reply[2 * i - 1] = word
  reply[2 * i] = left(new_requests, requests) .. ' ' .. whole(math.ceil(new_requests - t)) .. ' '
    .. left(new_tokens, tokens) .. ' ' .. whole(math.ceil(new_tokens - t)) .. ' '
    .. whole(math.max(0, math.ceil(wait)))
end
return reply
