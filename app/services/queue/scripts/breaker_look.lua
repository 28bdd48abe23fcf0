-- Whether peers may be asked now; where one is due for it, the asking user becomes its probe.
--
-- KEYS[12] breakers: SET of peers of which something is noted; KEYS[12]:<peer> is the HASH
-- ARGV[3] user  [4] ms a probe may take without a sign of life, then the peers
-- Is one of them open, nobody is a probe: the question will not be asked.
-- Returns for each {'closed', 'open' or 'probe', 1 if failures are noted}.

local user, now = ARGV[3], now_ms()
local reply, due, is_free = {}, {}, true
for i = 5, #ARGV do
  local hash = KEYS[12] .. ':' .. ARGV[i]
  local found = read('HMGET', hash, 'is_open', 'until_ms', 'probe', 'probe_until_ms', 'failures')
  local word = 'closed'
  if found and found[1] then
    word = 'open'
    local is_mine = found[3] == user
    local probe_until = tonumber(found[4] or 0)
    if tonumber(found[2] or 0) <= now and (is_mine or probe_until <= now) then
      word = 'probe'
      due[#due + 1] = hash
    else
      is_free = false
    end
  end
  reply[#reply + 1] = {word, found and found[5] and 1 or 0}
end
for _, hash in ipairs(is_free and due or {}) do
  redis.call('HSET', hash, 'probe', user, 'probe_until_ms', now + tonumber(ARGV[4]))
  redis.call('HDEL', hash, 'invited_until_ms')
end
return reply
