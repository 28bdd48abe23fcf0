-- Notes that a peer gave no answer, and opens its breaker where that was one too many.
--
-- KEYS[12] breakers, see breaker_look.lua
-- ARGV[3] peer  [4] user  [5] code  [6] how much it weighs  [7] the weight that opens
-- ARGV[8] failed tries of the message that would be given up now, this one included; 0: not given up
-- ARGV[9] ms of the first pause  [10] ms of the longest one  [11] seconds failures are remembered
-- While it is open only the probe's failure counts: it doubles the pause.
-- Returns {1 if it is open now, 1 if this opened it, ms of the pause}.

local peer, user = ARGV[3], ARGV[4]
local hash = KEYS[12] .. ':' .. peer
drop_odd(KEYS[12], 'set')
drop_odd(hash, 'hash')
local now = now_ms()
local first, longest = tonumber(ARGV[9]), tonumber(ARGV[10])

if redis.call('HGET', hash, 'is_open') then
  local pause = tonumber(redis.call('HGET', hash, 'pause_ms') or first)
  if redis.call('HGET', hash, 'probe') == user then
    pause = math.min(longest, pause * 2)
    redis.call('HDEL', hash, 'probe', 'probe_until_ms', 'invited_until_ms')
    redis.call('HSET', hash, 'pause_ms', pause, 'until_ms', now + pause, 'code', ARGV[5])
  end
  return {1, 0, pause}
end

redis.call('SADD', KEYS[12], peer)
local failures = redis.call('HINCRBY', hash, 'failures', ARGV[6])
-- Whoever succeeds clears all of it: what is counted here lies behind the last success of anybody.
local own = redis.call('HINCRBY', hash, 'of:' .. user, 1)
local tries = tonumber(ARGV[8])
-- Fewer than it has behind it, and nobody's success: Redis has lost what was counted, and knows nothing.
local was_ok = redis.call('EXISTS', hash .. ':ok') == 1
local may_be_alone = tries > 0 and (own >= tries or not was_ok)
if failures < tonumber(ARGV[7]) and not may_be_alone then
  redis.call('EXPIRE', hash, ARGV[11])
  return {0, 0, 0}
end
redis.call('DEL', hash)
redis.call('HSET', hash, 'is_open', '1', 'opened_ms', now, 'until_ms', now + first, 'pause_ms', first,
  'failures', failures, 'code', ARGV[5])
return {1, 1, first}
