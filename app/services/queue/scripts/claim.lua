-- Gives leases back that ran out, then takes the heads of users who are due, longest due first.
--
-- ARGV[3] worker  [4] lease in ms  [5] most claims  [6] '1': one of them may be a suspect
-- ARGV[7] seed for the random delays, 1 .. 2147483646 (Lua's own random is the same in every call)
-- Returns {ms until something more is due or -1, elements and keys dropped since they were no ids and no lists,
--          {user, id, token, fence, attempts, crashes, sole crashes}, ...}; {-1, 0} without epoch.

local worker, lease, limit, seed = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[7])
if redis.call('EXISTS', EPOCH) == 0 then return {-1, 0} end

local microseconds = now_us()
local now = microseconds / 1000
local dropped = 0

local function random_delay()
  seed = seed * 16807 % 2147483647
  return math.floor(lease / 2 * seed / 2147483647)
end

-- The head of the user's list; elements that are no message ids (made by hand) are thrown away.
local function head_of(user)
  local list, _, odd = sound_list(user)
  dropped = dropped + odd
  while true do
    local head = redis.call('LINDEX', list, 0)
    if not head then return nil end
    if #head <= 19 and string.find(head, '^%d+$') then return head end
    redis.call('LPOP', list)
    add_waiting(-1)
    dropped = dropped + 1
  end
end

for _, user in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, 64)) do
  redis.call('ZREM', LEASES, user)
  redis.call('DEL', lease_of(user))
  if head_of(user) then
    -- A head with that many crashes is only ever claimed as the sole suspect of its process.
    if redis.call('HINCRBY', CRASHES, user, 1) > SUSPECT_AFTER then
      redis.call('HINCRBY', SOLE_CRASHES, user, 1)
    end
    make_due(user, now + random_delay(), now)
  else
    forget_user(user)
  end
end

local reply = {-1, 0}
local fence = number_at(FENCE)

local function take(user)
  leave_lines(user)
  local id = head_of(user)
  if not id then return forget_user(user) end
  local next_fence = string.format('%.0f', math.max(microseconds, fence + 1))
  local token = next_fence .. ':' .. worker .. ':' .. id
  if not redis.call('SET', lease_of(user), token, 'PX', lease, 'NX') then
    -- Somebody holds the lease though the user stood in line (sets edited by hand): it is kept.
    local left = redis.call('PTTL', lease_of(user))
    redis.call('ZADD', LEASES, now + (left >= 0 and left or lease), user)
    return
  end
  fence = tonumber(next_fence)
  redis.call('ZADD', LEASES, now + lease, user)
  reply[#reply + 1] = {
    user, id, token, next_fence, count_of(ATTEMPTS, user), count_of(CRASHES, user),
    count_of(SOLE_CRASHES, user),
  }
end

local function taken() return #reply - 2 end

local suspect = nil
if ARGV[6] == '1' and limit > 0 then
  suspect = redis.call('ZRANGEBYSCORE', SUSPECTS, '-inf', now, 'WITHSCORES', 'LIMIT', 0, 1)
  if #suspect == 0 then suspect = nil end
end
local drained = false
while taken() < limit and not drained do
  local batch =
    redis.call('ZRANGEBYSCORE', READY, '-inf', now, 'WITHSCORES', 'LIMIT', 0, limit - taken())
  drained = #batch == 0
  for i = 1, #batch, 2 do
    if suspect and tonumber(suspect[2]) <= tonumber(batch[i + 1]) then
      take(suspect[1])
      suspect = nil
    end
    if taken() < limit then take(batch[i]) end
  end
  if drained and suspect then
    take(suspect[1])
    suspect = nil
  end
end
if taken() > 0 then redis.call('SET', FENCE, string.format('%.0f', fence)) end

-- Tokens are only promises that somebody is due.
if drained and redis.call('ZCOUNT', SUSPECTS, '-inf', now) == 0 then redis.call('DEL', WAKE) end

local function look_ahead(set)
  local first = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')
  if #first == 0 then return end
  local left = math.max(0, math.ceil(tonumber(first[2]) - now))
  if reply[1] < 0 or left < reply[1] then reply[1] = left end
end
look_ahead(READY)
look_ahead(LEASES)
if ARGV[6] == '1' then
  local after = string.format('(%.17g', now)
  local later = redis.call('ZRANGEBYSCORE', SUSPECTS, after, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if #later > 0 then
    local left = math.ceil(tonumber(later[2]) - now)
    if reply[1] < 0 or left < reply[1] then reply[1] = left end
  end
end
reply[2] = dropped
return reply
