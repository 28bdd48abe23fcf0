-- The limit of an app, for somebody who looks.
--
-- KEYS[12] limit of the app, see limit_exchange.lua
-- ARGV[3] ms of silence after which a process has left
-- Returns {limit ('': nobody has told anything), processes, in use, waiting, what it was lowered for last
-- ('': never), ms since 1970 at which}.

local flat = read('HGETALL', KEYS[12]) or {}
local state, now = {}, now_ms()
local processes, in_use, waiting = 0, 0, 0
for at = 1, #flat, 2 do
  state[flat[at]] = flat[at + 1]
  local heard, used, waits = string.match(flat[at + 1], '^(%S+) %S+ (%d+) (%d+) ')
  if string.sub(flat[at], 1, 3) == 'of:' and tonumber(heard or '') and now - heard < tonumber(ARGV[3]) then
    processes, in_use, waiting = processes + 1, in_use + used, waiting + waits
  end
end
return {state.limit or '', processes, in_use, waiting, state.cause or '', state.lowered or '0'}
