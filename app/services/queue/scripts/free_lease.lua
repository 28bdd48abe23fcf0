-- Gives a named lease back if it is ours.
--
-- KEYS[12] the lease
-- ARGV[3] token of who asks
-- Returns 1 if it was ours, else 0.

if read('GET', KEYS[12]) ~= ARGV[3] then return 0 end
redis.call('DEL', KEYS[12])
return 1
