-- Renews leases, and takes those back that ran out and that nobody has taken since.
--
-- ARGV[3] lease in ms, then five each: user, token, message id, crashes and sole crashes at the claim
-- Returns for each 1, or 0 where the lease is not held by that token any more.

local lease = tonumber(ARGV[3])
local now = now_ms()
local is_open = redis.call('EXISTS', EPOCH) == 1

local function set_count(hash, user, count)
  if count > 0 then redis.call('HSET', hash, user, count) else redis.call('HDEL', hash, user) end
end

-- Whether the lease only ran out. One that was given back has not counted a crash; one that was
-- deleted by hand has its time still before it; another claim since would have counted one more.
local function ran_out(user, id, crashes)
  if not is_open or redis.call('EXISTS', lease_of(user)) == 1 then return false end
  if read('LINDEX', list_of(user), 0) ~= id then return false end
  local counted = count_of(CRASHES, user)
  local ends = redis.call('ZSCORE', LEASES, user)
  if ends then return tonumber(ends) <= now and counted == crashes end
  return counted == crashes + 1
end

local held = {}
for i = 4, #ARGV, 5 do
  local user, token, crashes = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 3])
  if read('GET', lease_of(user)) == token then
    redis.call('PEXPIRE', lease_of(user), lease)
    redis.call('ZADD', LEASES, 'XX', now + lease, user)
    held[#held + 1] = 1
  elseif ran_out(user, ARGV[i + 2], crashes) then
    leave_lines(user)
    redis.call('SET', lease_of(user), token, 'PX', lease)
    redis.call('ZADD', LEASES, now + lease, user)
    set_count(CRASHES, user, crashes)
    set_count(SOLE_CRASHES, user, tonumber(ARGV[i + 4]))
    held[#held + 1] = 1
  else
    held[#held + 1] = 0
  end
end
return held
