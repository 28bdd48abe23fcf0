-- Takes or renews a named lease: one holder at a time, in all processes.
--
-- KEYS[12] the lease
-- ARGV[3] token of who asks  [4] ms it lasts
-- Returns 1 if it is held by that token now, else 0.

local holder = read('GET', KEYS[12])
if holder and holder ~= ARGV[3] then return 0 end
redis.call('SET', KEYS[12], ARGV[3], 'PX', ARGV[4])
return 1
