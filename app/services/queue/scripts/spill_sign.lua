-- Whether any process has callbacks in its spill file that SQL does not know yet.
--
-- KEYS[12] spilling  ZSET process -> ms since 1970 until which its sign counts
-- ARGV[3] process  [4] ms its sign counts from now on; 0: it has none any more; -1: only a look
-- Returns how many there are; after a sign that this process has, too.

drop_odd(KEYS[12], 'zset')
local now, lasts = now_ms(), tonumber(ARGV[4])
if lasts > 0 then
  redis.call('ZADD', KEYS[12], now + lasts, ARGV[3])
  redis.call('PEXPIRE', KEYS[12], lasts)
elseif lasts == 0 then
  redis.call('ZREM', KEYS[12], ARGV[3])
end
return redis.call('ZCOUNT', KEYS[12], now, '+inf')
