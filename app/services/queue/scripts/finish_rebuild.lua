-- Opens the queue again.
--
-- KEYS[12] lock
-- ARGV[3] owner  [4] value of the epoch key
-- Returns 1, or 0 if the lock was lost: then nothing is changed.

local LOCK = KEYS[12]
if read('GET', LOCK) ~= ARGV[3] then return 0 end
redis.call('SET', EPOCH, ARGV[4])
redis.call('DEL', LOCK)
wake(1)
return 1
