-- A process tells what it saw of an app, and is told its share of the limit that all processes have.
--
-- KEYS[12] limit of the app  HASH: what holds for all, and `of:<process>` -> what that one told last
-- ARGV[3] process  [4] ms of silence after which a process has left  [5] limit to begin with  [6] maximum
-- [7] its share so far  [8] the generation its news are of  [9] successes  [10] trouble, one word, or ''
-- [11] 1: it was full for a second, 2: and its last newcomers have no first byte yet  [12] in use
-- [13] waiting  [14] places it wants  [15] 1: it leaves  [16] the pace its first bytes are of
-- [17] how many of the following ms until a first byte are of calm moments; the others are of full ones
-- Shares are lent: what one had and what it uses is its own until it tells otherwise, so that all of
-- them together never exceed the limit; a share that is due comes with the next exchange or the one after.
-- A cut begins a generation; news of a former one say nothing about the limit of now.
-- Returns {share, limit, generation, pace, ms from which a first byte is nearly late (0: unknown), what it
-- was lowered by just now ('': it was not)}.

local HASH, PROCESS, NOW = KEYS[12], ARGV[3], now_ms()
local GONE, INITIAL, MAXIMUM = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local HAD, GENERATION, SUCCESSES = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local TROUBLE, IS_PRESSED, IS_DOUBTFUL = ARGV[10], ARGV[11] ~= '0', ARGV[11] == '2'
local IN_USE = tonumber(ARGV[12])
local WAITING, WANTED, IS_LEAVING = tonumber(ARGV[13]), tonumber(ARGV[14]), ARGV[15] == '1'
if IS_LEAVING then WANTED = IN_USE + WAITING end
local PACE, CALM_COUNT, FIRST_SAMPLE = tonumber(ARGV[16]), tonumber(ARGV[17]), 18

local DAY_MS = 86400000
-- After trouble no press counts so long; after a cut for slowness, or near one, nothing makes it grow.
local CALM_MS, TRIAL_HOLD_MS, HELPED_HOLD_MS, NEAR_HOLD_MS = 10000, 60000, 30000, 5000
-- Between two presses; and while the last one's newcomers have no first byte yet, twice as long each time.
local PRESS_MS, DOUBTFUL_PRESS_MS, LONGEST_PRESS_MS = 900, 10000, 60000
-- After a wipe nobody gets more than it had before the others have told what they have.
local SETTLING_MS = 1500
local TRIAL_MS, TRIAL_PART, LEARNT_PART = 300000, 0.6, 0.3

drop_odd(HASH, 'hash')
local state, members = {}, {}
local flat = redis.call('HGETALL', HASH)
for at = 1, #flat, 2 do
  local name = string.match(flat[at], '^of:(.*)$')
  if name then
    local figures = {}
    for figure in string.gmatch(flat[at + 1], '%S+') do figures[#figures + 1] = tonumber(figure) end
    if #figures == 7 and NOW - figures[1] < GONE then
      members[name] = {share = figures[2], in_use = figures[3], wanted = figures[5],
        served = figures[6], leaves = figures[7] == 1}
    else
      redis.call('HDEL', HASH, flat[at])
    end
  else
    state[flat[at]] = flat[at + 1]
  end
end
-- A removal, though nothing may be there: now a full Redis lets the rest pass.
redis.call('HDEL', HASH, 'of:' .. PROCESS)

local function number_of(name, otherwise)
  local number = tonumber(state[name] or '')
  -- What is no number, or beyond all measure, was made by hand.
  return number and math.abs(number) < 1e15 and number or otherwise
end
local function set(name, value) state[name] = value end
local function set_number(name, value) state[name] = string.format('%.3f', value) end

-- What Redis forgot, or never knew, the process brings along.
local limit = number_of('limit', nil)
local is_new = not limit
if is_new then
  limit = INITIAL
  set_number('born', NOW)
end
limit = math.max(1, math.min(limit, MAXIMUM))
local generation = number_of('generation', GENERATION)
local is_news = GENERATION == generation
local pace = number_of('pace', PACE)
local is_in_pace = PACE == pace
local lowered_by = ''

local function held() return NOW < number_of('hold', 0) end
local function hold(ms) set_number('hold', math.max(number_of('hold', 0), NOW + ms)) end
local function end_trial()
  pace, state.window, state.slow, state.trial_limit = pace + 1, nil, nil, nil
  set_number('hold', 0)
end

local function cut(to, cause)
  generation = generation + 1
  if limit <= 1 then return end
  lowered_by = cause
  set('cause', cause)
  set_number('lowered', NOW)
  limit = math.max(1, to)
end

-- The first byte: `base` is what it takes while the app has little to do. Twice that, and a second more
-- at least, is late.
local function late_from(base) return math.max(2 * base, base + 1000) end
local function near_late(base) return (base + late_from(base)) / 2 end

-- Whether what was tried helped: fewer at once, and a first byte sooner, by the cube root of that at least.
local function has_helped(median)
  local part = math.floor(limit) / math.floor(number_of('trial_limit', limit))
  return median <= number_of('trial_ms', 0) * part ^ (1 / 3)
end

-- From now on only the first bytes of those count who came under what holds now, and nothing grows.
local function watch()
  pace, state.window = pace + 1, nil
  hold(TRIAL_HOLD_MS)
  set_number('trial_until', NOW + TRIAL_MS)
end

local function judge(median)
  local base = number_of('base', median)
  local is_trial = state.trial_limit ~= nil
  if is_trial and not has_helped(median) then
    -- It is not the load that makes it slow: as before the trial, and so slow is rather normal now.
    limit = math.max(limit, math.min(MAXIMUM, number_of('trial_limit', limit)))
    set_number('base', math.max(base, base + LEARNT_PART * (median - base)))
    end_trial()
  elseif median < late_from(base) then
    end_trial()
    if is_trial then hold(HELPED_HOLD_MS) end
    if median < base then set_number('base', base + 0.2 * (median - base)) end
    if median > near_late(base) then hold(NEAR_HOLD_MS) end
  elseif not is_trial and not state.slow then
    set('slow', '1')
    watch()
  elseif limit > 1 then
    if not is_trial then
      set_number('trial_limit', limit)
      set_number('trial_ms', median)
    end
    cut(limit * TRIAL_PART, 'slow')
    watch()
  end
end

-- What all processes could have used: a moment is calm only if none of them has much to do.
local in_all = WANTED
for name, one in pairs(members) do
  if name ~= PROCESS then in_all = in_all + one.wanted end
end

-- Each sample of a calm moment moves the base by a twentieth towards it: it comes to lie at their median.
local function learn_calm(ms)
  local base = number_of('base', ms)
  -- Until there has been a window the soonest is the base, whenever it came.
  if not state.has_base then return set_number('base', math.min(base, ms)) end
  if in_all * 2 >= limit then return end
  if ms > base then base = base * 1.05 elseif ms < base then base = base / 1.05 end
  set_number('base', math.max(1, base))
end

local function learn_full(ms)
  if not state.has_base then set_number('base', math.min(number_of('base', ms), ms)) end
  state.window = (state.window and state.window .. ' ' or '') .. string.format('%.0f', ms)
  local window = {}
  for one in string.gmatch(state.window, '%S+') do window[#window + 1] = tonumber(one) or 0 end
  if #window < math.max(5, math.min(16, limit / 2)) then return end
  table.sort(window)
  state.window, state.has_base = nil, '1'
  judge(window[math.floor((#window + 1) / 2)])
end

if is_news and TROUBLE ~= '' then
  cut(limit / 2, TROUBLE)
  set_number('calm', NOW + CALM_MS)
  end_trial()
elseif is_news then
  if not held() then
    for _ = 1, SUCCESSES do limit = math.min(MAXIMUM, limit + 1 / limit) end
  end
  if NOW > number_of('trial_until', 0) then state.slow, state.trial_limit = nil, nil end
  for at = FIRST_SAMPLE, is_in_pace and #ARGV or 0 do
    local ms = tonumber(ARGV[at])
    -- Those behind one that changed what holds came before that.
    if pace ~= PACE then break end
    if at < FIRST_SAMPLE + CALM_COUNT then learn_calm(ms) else learn_full(ms) end
  end
end

-- Who goes on: places go to those who want some, nobody has two more than another who wants more; with
-- fewer places than processes those who have been without for longest come first. What nobody wants is
-- spread, for whoever comes next.
local function targets(places)
  local names, wanting, open, target, left = {}, {}, {}, {}, places
  for name in pairs(members) do names[#names + 1] = name end
  table.sort(names)
  local has_plenty = places >= 4 * #names
  for _, name in ipairs(names) do
    local one = members[name]
    target[name] = 0
    one.want = math.max(one.wanted, (has_plenty and not one.leaves) and 1 or 0)
    if one.want > 0 then wanting[#wanting + 1] = name end
    if not one.leaves then open[#open + 1] = name end
  end
  local function sort(list, rank)
    table.sort(list, function(a, b)
      local one, other = rank(members[a]), rank(members[b])
      if one ~= other then return one < other end
      return a < b
    end)
  end
  sort(wanting, function(one) return one.share end)
  if #wanting > places then
    sort(wanting, function(one) return -one.served end)
  else
    -- The same order among those who want the same: a place that is over stays where it was.
    for at, name in ipairs(wanting) do members[name].rank = at end
    sort(wanting, function(one) return one.want + one.rank / (#wanting + 1) end)
  end
  for at, name in ipairs(wanting) do
    target[name] = math.min(members[name].want, math.floor(left / (#wanting - at + 1)))
    left = left - target[name]
  end
  sort(open, function(one) return one.share end)
  for at, name in ipairs(open) do
    local more = math.floor(left / (#open - at + 1))
    target[name] = target[name] + more
    left = left - more
  end
  return target
end

local former = members[PROCESS]
local me = {share = former and former.share or HAD, in_use = IN_USE, wanted = WANTED,
  served = former and former.served or 0, leaves = IS_LEAVING}
-- Until now: whoever is without has been so for longer.
if former and former.share > 0 then me.served = NOW end
members[PROCESS] = me

local places = math.floor(limit)
local target = targets(places)[PROCESS]
local pause = PRESS_MS
if IS_DOUBTFUL then pause = number_of('pause', DOUBTFUL_PRESS_MS) end
if IS_PRESSED and is_news and TROUBLE == '' and target <= IN_USE and not held()
  and NOW >= number_of('calm', 0) and NOW - number_of('pressed', 0) >= pause then
  limit = math.min(MAXIMUM, limit + 1)
  set_number('pressed', NOW)
  set_number('pause', IS_DOUBTFUL and math.min(LONGEST_PRESS_MS, pause * 2) or DOUBTFUL_PRESS_MS)
  places = math.floor(limit)
  target = targets(places)[PROCESS]
end

for name, one in pairs(members) do
  if name ~= PROCESS then places = places - math.max(one.share, one.in_use) end
end
me.share = math.max(0, math.min(target, places))
if NOW - number_of('born', 0) < SETTLING_MS then me.share = math.min(me.share, HAD) end
if me.share > 0 then me.served = NOW end

set_number('limit', limit)
set_number('generation', generation)
set_number('pace', pace)
for name, value in pairs(state) do redis.call('HSET', HASH, name, value) end
for _, name in ipairs({'window', 'slow', 'trial_limit'}) do
  if not state[name] then redis.call('HDEL', HASH, name) end
end
redis.call('HSET', HASH, 'of:' .. PROCESS, string.format('%.3f %.0f %.0f %.0f %.0f %.3f %d',
  NOW, me.share, IN_USE, WAITING, WANTED, me.served, IS_LEAVING and 1 or 0))
redis.call('PEXPIRE', HASH, DAY_MS)
local base = number_of('base', nil)
return {me.share, string.format('%.3f', limit), generation, pace, base and math.floor(near_late(base)) or 0,
  lowered_by}
