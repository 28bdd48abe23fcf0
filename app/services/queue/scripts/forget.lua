-- Takes one message out that turned out to be a duplicate of another one.
--
-- KEYS[12] seen key of the message
-- ARGV[3] user  [4] message id
-- A lease on it stays until it ends; its ack is refused, since the head is another one.
-- Returns how many elements went.

local SEEN, user, id = KEYS[12], ARGV[3], ARGV[4]
local list = list_of(user)
if read('GET', SEEN) == id then redis.call('DEL', SEEN) end
local was_head = read('LINDEX', list, 0) == id
local removed = read('LREM', list, 0, id) or 0
if removed == 0 then return 0 end

add_waiting(-removed)
if was_head then void_counts(user) end
if redis.call('EXISTS', list) == 0 then forget_user(user) end
return removed
