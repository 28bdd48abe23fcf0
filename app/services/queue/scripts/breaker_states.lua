-- The breakers that are open.
--
-- KEYS[12] breakers, see breaker_look.lua
-- Returns {{peer, ms since 1970 at which it opened, code, ms until the next probe}, ...}.

local reply, now = {}, now_ms()
for _, peer in ipairs(read('SMEMBERS', KEYS[12]) or {}) do
  local hash = KEYS[12] .. ':' .. peer
  local found = read('HMGET', hash, 'is_open', 'opened_ms', 'code', 'until_ms')
  if found and found[1] then
    local left = math.max(0, tonumber(found[4] or 0) - now)
    reply[#reply + 1] = {peer, found[2] or '0', found[3] or '', string.format('%.0f', left)}
  elseif redis.call('EXISTS', hash) == 0 then
    redis.call('SREM', KEYS[12], peer)
  end
end
return reply
