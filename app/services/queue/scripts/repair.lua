-- Puts users who were found into the set they belong into; who is parked stays so.
--
-- ARGV[3..] users
-- Returns {users put back in line, elements of their lists, keys of another type deleted}.

local now = now_ms()
local repaired, elements, deleted = 0, 0, 0
for i = 3, #ARGV do
  local user = ARGV[i]
  local _, length, odd = sound_list(user)
  deleted = deleted + odd
  local leased = redis.call('ZSCORE', LEASES, user)
  local in_line = redis.call('ZSCORE', READY, user) or redis.call('ZSCORE', SUSPECTS, user)
  elements = elements + length
  if length == 0 and not leased then
    forget_user(user)
  elseif leased or in_line then
    leave_parked(user)
  elseif not is_parked(user) then
    local left = redis.call('PTTL', lease_of(user))
    if left > 0 then
      redis.call('ZADD', LEASES, now + left, user)
    else
      make_due(user, now, now)
    end
    repaired = repaired + 1
  end
end
return {repaired, elements, deleted}
