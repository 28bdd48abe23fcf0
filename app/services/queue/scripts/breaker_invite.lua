-- Whether a parked user may be let go to be the probe; one at a time over all processes.
--
-- KEYS[12] breakers, see breaker_look.lua
-- ARGV[3] peer  [4] ms for which nobody else is let go
-- Returns 1 or 0.

local hash = KEYS[12] .. ':' .. ARGV[3]
local found = read('HMGET', hash, 'is_open', 'until_ms', 'probe_until_ms', 'invited_until_ms')
if not found or not found[1] then return 0 end
local now = now_ms()
for i = 2, 4 do
  if tonumber(found[i] or 0) > now then return 0 end
end
redis.call('HSET', hash, 'invited_until_ms', now + tonumber(ARGV[4]))
return 1
