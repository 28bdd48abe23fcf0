-- Corrects the total after a count that took a while.
--
-- ARGV[3] total before the count  [4] what was counted
-- Messages came and went meanwhile: between the total before and the one now everything is right.
-- Returns the total.

local before, counted = tonumber(ARGV[3]), tonumber(ARGV[4])
local now = number_at(WAITING)
local low, high = math.min(before, now), math.max(before, now)
local change = 0
if counted < low then change = counted - low end
if counted > high then change = counted - high end
if change ~= 0 then redis.call('SET', WAITING, string.format('%.0f', math.max(0, now + change))) end
return now + change
