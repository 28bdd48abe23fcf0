-- Gives a lease back; the head stays where it is.
--
-- ARGV[3] user  [4] token of the lease  [5] ms until the user is due again
-- ARGV[6] '1': the claimed message has failed one more time
-- Returns 1, or 0 if the lease is another one: then nothing is changed.

local user = ARGV[3]
local list = list_of(user)
if read('GET', lease_of(user)) ~= ARGV[4] then return 0 end

redis.call('DEL', lease_of(user))
redis.call('ZREM', LEASES, user)
local head = read('LINDEX', list, 0)
if not head then
  forget_user(user)
  return 1
end
if ARGV[6] == '1' and string.match(ARGV[4], ':(%d+)$') == head then
  redis.call('HINCRBY', ATTEMPTS, user, 1)
end
local now = now_ms()
make_due(user, now + tonumber(ARGV[5]), now)
return 1
