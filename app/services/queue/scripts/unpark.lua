-- Makes those due again who were parked first for a peer.
--
-- ARGV[3] peer  [4] most users
-- They stand in line by when they were parked: before whoever came later.
-- Returns how many left the parked ones.

local line = parked_of(ARGV[3])
local found = read('ZPOPMIN', line, ARGV[4]) or {}
if redis.call('EXISTS', line) == 0 then redis.call('SREM', PARKED, ARGV[3]) end
local now = now_ms()
for i = 1, #found, 2 do
  local user = found[i]
  local in_line = redis.call('ZSCORE', READY, user) or redis.call('ZSCORE', SUSPECTS, user)
  if not in_line and not redis.call('ZSCORE', LEASES, user) and read('LLEN', list_of(user)) ~= 0 then
    -- As text: a Lua number on its way to Redis may lose the microseconds.
    make_due(user, tonumber(found[i + 1]) < now and found[i + 1] or now, now)
  end
end
return #found / 2
