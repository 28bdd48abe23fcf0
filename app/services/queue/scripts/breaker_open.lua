-- Opens a peer's breaker for a time that somebody knows better than by counting, or longer.
--
-- KEYS[12] breakers, see breaker_look.lua
-- ARGV[3] peer  [4] code  [5] ms
-- Returns 1 if it was closed, else 0.

local hash = KEYS[12] .. ':' .. ARGV[3]
drop_odd(KEYS[12], 'set')
drop_odd(hash, 'hash')
local now = now_ms()
local opened = redis.call('HGET', hash, 'opened_ms')
redis.call('DEL', hash)
redis.call('SADD', KEYS[12], ARGV[3])
redis.call('HSET', hash, 'is_open', '1', 'opened_ms', opened or now, 'until_ms', now + tonumber(ARGV[5]),
  'pause_ms', ARGV[5], 'failures', '1', 'code', ARGV[4])
return opened and 0 or 1
