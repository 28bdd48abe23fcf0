-- Takes the rebuild lock and closes the queue: nothing is taken or claimed without an epoch.
--
-- KEYS[12] lock
-- ARGV[3] owner  [4] ms the lock lasts; the owner may take it again to have it longer
-- Returns 1, or 0 if somebody else has it.

local LOCK = KEYS[12]
local owner = read('GET', LOCK)
if owner and owner ~= ARGV[3] then return 0 end
redis.call('SET', LOCK, ARGV[3], 'PX', ARGV[4])
redis.call('DEL', EPOCH)
return 1
