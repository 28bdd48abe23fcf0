-- Brings accepted messages back: appends to users' lists, in the given order, what they do not have.
--
-- ARGV[3] elements of lists that may be looked at, then for each user:
--   user, crashes, sole crashes and failed tries of the first message, ms until it is due,
--   '1' if it had been given up and goes on, how many messages, their ids
-- Works without an epoch and knows no bounds. The counts are taken over where the message becomes the head;
-- where one that goes on is the head already, what is counted of it is void.
-- Who is named first stands first in line. Users for whom too many elements would be looked at are left for
-- the next call, but never the first one.
-- Returns {keys of another type deleted, for each id of the users that were not left 1 (appended) or 0}.

local most, looked, total = tonumber(ARGV[3]), 0, 0
local reply, heads, begins = {0}, {}, {}
-- For so many messages the list is read once rather than searched for each.
local READ_FROM = 3

local function missing_of(list, length, first, last)
  local known, missing = {}, {}
  local reads = length > 0 and last - first + 1 >= READ_FROM
  for _, id in ipairs(reads and redis.call('LRANGE', list, 0, -1) or {}) do known[id] = true end
  for at = first, last do
    local id = ARGV[at]
    if not reads and length > 0 and redis.call('LPOS', list, id) then known[id] = true end
    reply[#reply + 1] = known[id] and 0 or 1
    if not known[id] then missing[#missing + 1] = id end
    known[id] = true
  end
  return missing
end

local at = 4
while at <= #ARGV do
  local user, count = ARGV[at], tonumber(ARGV[at + 6])
  local list, length, odd = sound_list(user)
  if looked > 0 and looked + length > most then break end
  looked = looked + length
  reply[1] = reply[1] + odd
  if length > 0 and ARGV[at + 5] == '1' and redis.call('LINDEX', list, 0) == ARGV[at + 7] then
    void_counts(user)
  end
  local missing = missing_of(list, length, at + 7, at + 6 + count)
  if #missing > 0 then
    redis.call('RPUSH', list, unpack(missing))
    total = total + #missing
    if length == 0 then
      heads[#heads + 1] = user
      begins[#begins + 1] = at
    end
  end
  at = at + 7 + count
end

if total > 0 then add_waiting(total) end
if #heads == 0 then return reply end

clear_counts(unpack(heads))
local function set_count(hash, user, count)
  if tonumber(count) > 0 then redis.call('HSET', hash, user, count) end
end
local now, leased, free = now_ms(), redis.call('ZMSCORE', LEASES, unpack(heads)), {}
local ready, suspects, due_now = {}, {}, 0
for n, user in ipairs(heads) do
  local begin = begins[n]
  set_count(CRASHES, user, ARGV[begin + 1])
  set_count(SOLE_CRASHES, user, ARGV[begin + 2])
  set_count(ATTEMPTS, user, ARGV[begin + 3])
  if not leased[n] then
    local line = tonumber(ARGV[begin + 1]) >= SUSPECT_AFTER and suspects or ready
    local delay = tonumber(ARGV[begin + 4])
    free[#free + 1] = user
    -- A thousandth apart: that keeps their order.
    line[#line + 1] = now + delay + #free / 1000
    line[#line + 1] = user
    if delay == 0 then due_now = due_now + 1 end
  end
end
if #free > 0 then leave_lines(unpack(free)) end
if #ready > 0 then redis.call('ZADD', READY, unpack(ready)) end
if #suspects > 0 then redis.call('ZADD', SUSPECTS, unpack(suspects)) end
wake(due_now)
return reply
