-- A sign of life of a probe, or its end without a verdict.
--
-- KEYS[12] breakers, see breaker_look.lua
-- ARGV[3] peer  [4] user  [5] ms it may take from now on; 0: it ended
-- ARGV[6] ms until the next probe after one that ended so
-- Returns 1 if the user is the probe, else 0: then nothing is changed.

local hash = KEYS[12] .. ':' .. ARGV[3]
if read('HGET', hash, 'probe') ~= ARGV[4] then return 0 end
local left = tonumber(ARGV[5])
if left > 0 then
  redis.call('HSET', hash, 'probe_until_ms', now_ms() + left)
else
  redis.call('HDEL', hash, 'probe', 'probe_until_ms', 'invited_until_ms')
  redis.call('HSET', hash, 'until_ms', now_ms() + tonumber(ARGV[6]))
end
return 1
