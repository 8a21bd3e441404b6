-- Takes one token from every bucket, or none from any.
-- KEYS: the buckets. ARGV: for each, the microseconds in which one token comes back, and how many tokens it holds.
-- A key holds the moment at which its bucket is full again, in microseconds of this server's clock (GCRA), and expires
-- at that moment. Returns 1 or 0 (taken or not), and for each bucket the microseconds until it is full.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local answer = {1}
for i, key in ipairs(KEYS) do
  local interval = tonumber(ARGV[2 * i - 1])
  local capacity = interval * tonumber(ARGV[2 * i])
  local full_at = tonumber(redis.call('GET', key) or now) or now
  -- After a step of the clock a bucket is empty at most, never blocked for as long as the step.
  local drained = math.min(math.max(full_at - now, 0), capacity)
  answer[i + 1] = drained
  if drained + interval > capacity then
    answer[1] = 0
  end
end
if answer[1] == 1 then
  for i, key in ipairs(KEYS) do
    local drained = answer[i + 1] + tonumber(ARGV[2 * i - 1])
    answer[i + 1] = drained
    redis.call('SET', key, string.format('%.0f', now + drained), 'PX', math.ceil(drained / 1000))
  end
end
return answer
