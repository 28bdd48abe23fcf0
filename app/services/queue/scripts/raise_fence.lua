-- Makes every later fence greater than a given one.
--
-- ARGV[3] fence
-- Returns 1.

if number_at(FENCE) < tonumber(ARGV[3]) then
  redis.call('SET', FENCE, ARGV[3])
end
return 1
