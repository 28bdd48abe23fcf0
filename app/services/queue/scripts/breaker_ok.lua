-- Closes a peer's breaker and forgets its failures.
--
-- KEYS[12] breakers, see breaker_look.lua
-- ARGV[3] peer  [4] '1': also where it is open  [5] seconds a success is remembered
-- KEYS[12]:<peer>:ok STRING: somebody was answered behind a failure
-- Returns ms for which it was open, or -1 if it was not, or stays open.

local hash = KEYS[12] .. ':' .. ARGV[3]
local opened = read('HGET', hash, 'opened_ms')
if opened and ARGV[4] ~= '1' then return -1 end
redis.call('DEL', hash)
redis.call('SET', hash .. ':ok', '1', 'EX', ARGV[5])
read('SREM', KEYS[12], ARGV[3])
return opened and math.max(0, now_ms() - tonumber(opened)) or -1
