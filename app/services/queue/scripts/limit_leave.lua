-- A process leaves: what it had of an app's limit is free for the others.
--
-- KEYS[12] limit of the app, see limit_exchange.lua
-- ARGV[3] process

drop_odd(KEYS[12], 'hash')
return redis.call('HDEL', KEYS[12], 'of:' .. ARGV[3])
