-- Appends one new message, unless it was appended before.
--
-- KEYS[12] seen key of the message
-- ARGV[3] user  [4] message id  [5] seconds the seen key lives, 0 = it is not set
-- ARGV[6] most messages of the user, 0 = no bound: the message may be one that was queued before
-- ARGV[7] most messages in all, 0 = no bound
-- ARGV[8] '1': a seen key with another id makes it a duplicate, too
-- Returns {'added', 'seen', 'user_full', 'all_full' or 'rebuilding', keys of another type deleted};
-- changes nothing else but for 'added'.

local SEEN, user, id = KEYS[12], ARGV[3], ARGV[4]
local user_bound, all_bound = tonumber(ARGV[6]), tonumber(ARGV[7])

local list, length, odd = sound_list(user)
if redis.call('EXISTS', EPOCH) == 0 then return {'rebuilding', odd} end
local known = read('GET', SEEN)
if known and (known == id or ARGV[8] == '1') then return {'seen', odd} end
if user_bound == 0 and length > 0 and redis.call('LPOS', list, id) then return {'seen', odd} end
if user_bound > 0 and length >= user_bound then return {'user_full', odd} end
if all_bound > 0 and number_at(WAITING) >= all_bound then return {'all_full', odd} end

if ARGV[5] ~= '0' then redis.call('SET', SEEN, id, 'EX', ARGV[5]) end
redis.call('RPUSH', list, id)
add_waiting(1)
if length == 0 then
  clear_counts(user)
  if not redis.call('ZSCORE', LEASES, user) then
    leave_lines(user)
    local now = now_ms()
    make_due(user, now, now)
  end
end
return {'added', odd}
