-- For which peers users are parked.
--
-- Returns {peer, how many users, ...}.

local reply = {}
for _, peer in ipairs(peers_with_parked()) do
  reply[#reply + 1] = peer
  reply[#reply + 1] = read('ZCARD', parked_of(peer)) or 0
end
return reply
