-- How many messages the lists of some users have.
--
-- ARGV[3..] users
-- Returns a number for each; a key of another type has none.

local reply = {}
for i = 3, #ARGV do reply[#reply + 1] = read('LLEN', list_of(ARGV[i])) or 0 end
return reply
