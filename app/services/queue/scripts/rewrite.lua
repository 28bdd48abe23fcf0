-- Puts messages in front of a user's list, in the given order, and gives the lease back.
--
-- ARGV[3] user  [4] token of the lease, then the message ids in the order they shall have
-- Ids of the list that are not named follow behind in their old order: they may have arrived after
-- the caller looked.
-- Returns 1, or 0 if the lease is another one: then nothing is changed.

-- Lua passes only some thousand values in one call.
local AT_ONCE = 1000

local user = ARGV[3]
local list = list_of(user)
if read('GET', lease_of(user)) ~= ARGV[4] then return 0 end

redis.call('DEL', lease_of(user))
redis.call('ZREM', LEASES, user)
local old = read('LRANGE', list, 0, -1) or {}
local named, new = {}, {}
for i = 5, #ARGV do
  if not named[ARGV[i]] then new[#new + 1] = ARGV[i] end
  named[ARGV[i]] = true
end
for _, id in ipairs(old) do
  if not named[id] then new[#new + 1] = id end
end
redis.call('DEL', list)
for first = 1, #new, AT_ONCE do
  redis.call('RPUSH', list, unpack(new, first, math.min(#new, first + AT_ONCE - 1)))
end
add_waiting(#new - #old)
if new[1] ~= old[1] then clear_counts(user) end
if new[1] then
  local now = now_ms()
  make_due(user, now, now)
end
return 1
