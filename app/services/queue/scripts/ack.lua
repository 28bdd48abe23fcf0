-- Removes the head that a claim has finished and lets the user's next message go.
--
-- ARGV[3] user  [4] token of the lease  [5] id the head must have
-- Returns 1, or 0 if the lease or the head is another one: then nothing is changed.

local user = ARGV[3]
local list = list_of(user)
if read('GET', lease_of(user)) ~= ARGV[4] then return 0 end
if read('LINDEX', list, 0) ~= ARGV[5] then return 0 end

redis.call('LPOP', list)
redis.call('DEL', lease_of(user))
redis.call('ZREM', LEASES, user)
clear_counts(user)
add_waiting(-1)
if redis.call('EXISTS', list) == 1 then
  local now = now_ms()
  make_due(user, now, now)
end
return 1
