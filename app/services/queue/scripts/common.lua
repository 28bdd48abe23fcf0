-- Head of every script: names, and the moves that more than one script makes.
--
-- KEYS[1]  ready         ZSET user -> ms from which the head may be claimed
-- KEYS[2]  suspects      ZSET the same, of users whose head has SUSPECT_AFTER crashes or more
-- KEYS[3]  leases        ZSET user -> ms at which the lease is over
-- KEYS[4]  attempts      HASH user -> failed tries of the head
-- KEYS[5]  crashes       HASH user -> leases of the head that ran out
-- KEYS[6]  sole_crashes  HASH user -> those in which it was the only suspect of its process
-- KEYS[7]  waiting       STRING count of the elements of all lists
-- KEYS[8]  wake          LIST of tokens for BLPOP
-- KEYS[9]  epoch         STRING, missing while the index is not complete
-- KEYS[10] fence         STRING greatest fence given, microseconds
-- KEYS[11] parked        SET of peers for whom somebody is parked; KEYS[11]:<peer> is a ZSET user -> ms
-- ARGV[1], ARGV[2]       what stands before the user in the names of lists and leases
-- A script's own KEYS begin at 12, its own ARGV at 3.
--
-- A user with waiting messages is in exactly one of ready, suspects, leases and the parked sets.
-- Times in them have microseconds behind the point: who was first in line is first, also within one ms.
-- A parked set whose peer is not in KEYS[11] holds nobody.
-- Message ids have 63 bits and a Lua number 53: ids stay strings.
-- The first write of a script decides what happens when Redis is full (noeviction): what brings
-- messages in begins with a SET or RPUSH and is refused whole; what takes them out begins with a removal,
-- after which Redis lets the rest of the script pass.
-- A key of another type under one of these names, made by hand, reads as nothing; enqueue, claim,
-- park, repair and heal delete it and say so: SQL, the truth, brings back what is owed.

local READY, SUSPECTS, LEASES = KEYS[1], KEYS[2], KEYS[3]
local ATTEMPTS, CRASHES, SOLE_CRASHES = KEYS[4], KEYS[5], KEYS[6]
local WAITING, WAKE, EPOCH, FENCE, PARKED = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local SUSPECT_AFTER = 2
local WAKE_TOKENS = 64

local function list_of(user) return ARGV[1] .. user end
local function lease_of(user) return ARGV[2] .. user end
local function parked_of(peer) return PARKED .. ':' .. peer end

-- A command; false where the key is of another type.
local function read(command, ...)
  local reply = redis.pcall(command, ...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  local reason = tostring(reply.err)
  if not string.find(reason, 'WRONGTYPE', 1, true) then error(reason) end
  return false
end

local function number_at(key) return tonumber(read('GET', key) or 0) or 0 end

local function now_us()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local function now_ms() return now_us() / 1000 end

local function count_of(hash, user) return tonumber(redis.call('HGET', hash, user) or 0) end

local function wake(most)
  if most == 0 then return end
  for _ = redis.call('LLEN', WAKE) + 1, math.min(WAKE_TOKENS, redis.call('LLEN', WAKE) + most) do
    redis.call('RPUSH', WAKE, '1')
  end
end

local function make_due(user, due, now)
  if count_of(CRASHES, user) >= SUSPECT_AFTER then
    redis.call('ZADD', SUSPECTS, due, user)
  else
    redis.call('ZADD', READY, due, user)
  end
  if tonumber(due) <= now then wake(1) end
end

-- Of one user or more.
local function clear_counts(...)
  redis.call('HDEL', ATTEMPTS, ...)
  redis.call('HDEL', CRASHES, ...)
  redis.call('HDEL', SOLE_CRASHES, ...)
end

-- The counts were those of a message that went: a suspect by them is none any more.
local function void_counts(user)
  clear_counts(user)
  local due = redis.call('ZSCORE', SUSPECTS, user)
  if due then
    redis.call('ZREM', SUSPECTS, user)
    redis.call('ZADD', READY, due, user)
  end
end

-- For whom somebody is parked; looked up once per script.
local parked_peers = nil
local function peers_with_parked()
  if not parked_peers then parked_peers = read('SMEMBERS', PARKED) or {} end
  return parked_peers
end

local function is_parked(user)
  for _, peer in ipairs(peers_with_parked()) do
    if read('ZSCORE', parked_of(peer), user) then return true end
  end
  return false
end

local function leave_parked(...)
  for _, peer in ipairs(peers_with_parked()) do
    read('ZREM', parked_of(peer), ...)
    if redis.call('EXISTS', parked_of(peer)) == 0 then redis.call('SREM', PARKED, peer) end
  end
end

-- One user or more: out of every line but the leases.
local function leave_lines(...)
  redis.call('ZREM', READY, ...)
  redis.call('ZREM', SUSPECTS, ...)
  leave_parked(...)
end

local function forget_user(user)
  leave_lines(user)
  clear_counts(user)
end

local function add_waiting(change)
  local total = redis.pcall('INCRBY', WAITING, change)
  -- No number (made by hand): a repair counts anew.
  if type(total) == 'table' or total < 0 then redis.call('SET', WAITING, '0') end
end

-- Deletes a key of another type; returns how many went.
local function drop_odd(key, kind)
  local found = redis.call('TYPE', key).ok
  if found == 'none' or found == kind then return 0 end
  redis.call('DEL', key)
  return 1
end

-- The user's list and its length; deletes a key of another type and says so.
local function sound_list(user)
  local list = list_of(user)
  local length = read('LLEN', list)
  if length then return list, length, 0 end
  redis.call('DEL', list)
  return list, 0, 1
end
