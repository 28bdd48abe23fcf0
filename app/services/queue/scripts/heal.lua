-- Deletes those of the shared keys that are of another type or no number: made by hand.
-- The parked sets are among them.
--
-- Whoever stood in them is found again by a repair.
-- Returns how many went.

local kinds = {
  [READY] = 'zset', [SUSPECTS] = 'zset', [LEASES] = 'zset',
  [ATTEMPTS] = 'hash', [CRASHES] = 'hash', [SOLE_CRASHES] = 'hash',
  [WAITING] = 'string', [FENCE] = 'string', [WAKE] = 'list', [EPOCH] = 'string',
  [PARKED] = 'set',
}
for _, peer in ipairs(peers_with_parked()) do kinds[parked_of(peer)] = 'zset' end
local deleted = 0
for key, kind in pairs(kinds) do
  local dropped = drop_odd(key, kind)
  if dropped == 0 and kind == 'string' and key ~= EPOCH then
    local value = redis.call('GET', key)
    if value and not tonumber(value) then dropped = redis.call('DEL', key) end
  end
  deleted = deleted + dropped
end
return deleted
