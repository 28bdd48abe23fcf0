-- Gives a lease back and lets the user wait until a peer is well.
--
-- ARGV[3] user  [4] token of the lease  [5] peer  [6] '1': the claimed message has failed one more time
-- Who was parked first comes back first, to the microsecond; who is parked once more stands at the end.
-- Returns {1, or 0 if the lease is another one: then nothing is changed, keys of another type deleted}.

local user, peer = ARGV[3], ARGV[5]
if read('GET', lease_of(user)) ~= ARGV[4] then return {0, 0} end

redis.call('DEL', lease_of(user))
redis.call('ZREM', LEASES, user)
local head = read('LINDEX', list_of(user), 0)
if not head then
  forget_user(user)
  return {1, 0}
end
if ARGV[6] == '1' and string.match(ARGV[4], ':(%d+)$') == head then
  redis.call('HINCRBY', ATTEMPTS, user, 1)
end
leave_lines(user)
local line = parked_of(peer)
local odd = drop_odd(PARKED, 'set')
if redis.call('SADD', PARKED, peer) == 1 then
  -- Whoever stands in a set that was not named is found by a repair.
  odd = odd + drop_odd(line, 'zset')
  redis.call('DEL', line)
end
odd = odd + drop_odd(line, 'zset')
redis.call('ZADD', line, string.format('%.3f', now_us() / 1000), user)
return {1, odd}
