// What Redis does in one step. Each script reads and writes everything that belongs together, so readers never see half of a change and
// two writers cannot undo each other. Keys are made inside the scripts: one server or one Sentinel group, not a Redis Cluster.
import { createHash } from "node:crypto"

export interface RedisScript {
  readonly text: string
  readonly sha1: string
}

const script = (text: string): RedisScript => ({ text, sha1: createHash("sha1").update(text).digest("hex") })

const forgetting = `
local p = ARGV[1]
local function forget(key)
  local held = redis.call('HMGET', p..'doc:'..key, 'l', 'w')
  if not held[1] then return end
  for _, list in ipairs(cjson.decode(held[1])) do
    redis.call('ZREM', p..'list:'..list, key)
    redis.call('HINCRBY', p..'counts', list, -1)
  end
  for _, word in ipairs(cjson.decode(held[2])) do redis.call('ZREM', p..'word:'..word, key) end
  redis.call('DEL', p..'doc:'..key)
end
local function cap(zset, countMax) redis.call('ZREMRANGEBYRANK', zset, 0, -(countMax + 1)) end
`

/** prefix, kind, key, version, body, score, lists, list scores, words, documents max, list max, word max */
export const putScript = script(`${forgetting}
local kind, key, score = ARGV[2], ARGV[3], ARGV[6]
local version = redis.call('HGET', p..'doc:'..key, 'v')
if version and tonumber(version) >= tonumber(ARGV[4]) then return 0 end
forget(key)
redis.call('HSET', p..'doc:'..key, 'v', ARGV[4], 'b', ARGV[5], 'l', ARGV[7], 'w', ARGV[9])
local scores = cjson.decode(ARGV[8])
for i, list in ipairs(cjson.decode(ARGV[7])) do
  redis.call('ZADD', p..'list:'..list, scores[i], key)
  redis.call('HINCRBY', p..'counts', list, 1)
  cap(p..'list:'..list, tonumber(ARGV[11]))
end
for _, word in ipairs(cjson.decode(ARGV[9])) do
  redis.call('ZADD', p..'word:'..word, score, key)
  cap(p..'word:'..word, tonumber(ARGV[12]))
end
redis.call('ZADD', p..'kind:'..kind, score, key)
local excess = redis.call('ZCARD', p..'kind:'..kind) - tonumber(ARGV[10])
if excess > 0 then
  for _, oldest in ipairs(redis.call('ZRANGE', p..'kind:'..kind, 0, math.min(excess, 10) - 1)) do
    forget(oldest)
    redis.call('ZREM', p..'kind:'..kind, oldest)
  end
end
return 1`)

/** prefix, kind, key */
export const removeScript = script(`${forgetting}
forget(ARGV[3])
return redis.call('ZREM', p..'kind:'..ARGV[2], ARGV[3])`)

/** prefix, list, first, cursor score or '', cursor key. Gives the count, whether there is more, then key, version and body of each. */
export const pageScript = script(`
local p, list, first = ARGV[1], ARGV[2], tonumber(ARGV[3])
local below = tonumber(ARGV[4])
local places = redis.call('ZREVRANGE', p..'list:'..list, 0, -1, 'WITHSCORES')
local answer = { redis.call('HGET', p..'counts', list) or '0', '0' }
local taken = 0
for i = 1, #places, 2 do
  local key, score = places[i], tonumber(places[i + 1])
  if not below or score < below or (score == below and key < ARGV[5]) then
    if taken == first then answer[2] = '1' break end
    local held = redis.call('HMGET', p..'doc:'..key, 'v', 'b')
    answer[#answer + 1] = key answer[#answer + 1] = held[1] answer[#answer + 1] = held[2]
    taken = taken + 1
  end
end
return answer`)

/** prefix, words, '1' for staff, count. Walks the documents of the rarest word, newest first. Gives key, version and body of each. */
export const searchScript = script(`
local p, words, staff, countMax = ARGV[1], cjson.decode(ARGV[2]), ARGV[3] == '1', tonumber(ARGV[4])
local function size(word)
  local n = redis.call('ZCARD', p..'word:p:'..word)
  if staff then n = n + redis.call('ZCARD', p..'word:i:'..word) end
  return n
end
local function has(word, key)
  return redis.call('ZSCORE', p..'word:p:'..word, key) or (staff and redis.call('ZSCORE', p..'word:i:'..word, key))
end
local rarest = words[1]
for _, word in ipairs(words) do if size(word) < size(rarest) then rarest = word end end
local candidates, seen = {}, {}
local function gather(zset)
  local found = redis.call('ZREVRANGE', zset, 0, -1, 'WITHSCORES')
  for i = 1, #found, 2 do
    if not seen[found[i]] then
      seen[found[i]] = true
      candidates[#candidates + 1] = { found[i], tonumber(found[i + 1]) }
    end
  end
end
gather(p..'word:p:'..rarest)
if staff then gather(p..'word:i:'..rarest) end
table.sort(candidates, function(a, b) if a[2] == b[2] then return a[1] > b[1] end return a[2] > b[2] end)
local answer = {}
for _, candidate in ipairs(candidates) do
  if #answer >= countMax * 3 then break end
  local all = true
  for _, word in ipairs(words) do if not has(word, candidate[1]) then all = false break end end
  if all then
    local held = redis.call('HMGET', p..'doc:'..candidate[1], 'v', 'b')
    answer[#answer + 1] = candidate[1] answer[#answer + 1] = held[1] answer[#answer + 1] = held[2]
  end
end
return answer`)

// A server that evicts keys of ours leaves holes that no list and no document shows. So what was evicted when the read models were last
// filled is kept with them, and another number now makes all of them count as lost. Only policies for all keys take ours: they never
// expire. A filling leaves a note of that number and of itself: what was flushed or evicted meanwhile took the note with it or changed the
// number, and then the filling counts for nothing.
const evicting = `
local function evicted()
  local said = redis.pcall('INFO', 'memory')
  local policy = type(said) == 'string' and string.match(said, 'maxmemory_policy:(%S+)')
  if not policy or string.sub(policy, 1, 7) ~= 'allkeys' then return 'never' end
  return string.match(redis.call('INFO', 'stats'), 'evicted_keys:(%d+)')
end
`

/** prefix, a name that no other filling has. Gives the filling that is under way, or begins this one. */
export const beginFillingScript = script(`${evicting}
local p, now = ARGV[1], evicted()
local held = redis.call('HGET', p..'meta', 'filling')
if held and string.match(held, '^(.-)|') == now then return held end
redis.call('HSET', p..'meta', 'filling', now..'|'..ARGV[2])
return now..'|'..ARGV[2]`)

/** prefix, through or '', current at or '', now, ahead max, filling or '', then position and time of each applied event. The rules are those of Progress.ts. */
export const advanceScript = script(`${evicting}
local p = ARGV[1]
local through, current = tonumber(ARGV[2]), tonumber(ARGV[3])
for i = 7, #ARGV, 2 do redis.call('ZADD', p..'ahead', ARGV[i], ARGV[i]..':'..ARGV[i + 1]) end
local held = redis.call('HMGET', p..'meta', 'position', 'asOf', 'evicted', 'filling')
local before, since = tonumber(held[1]), held[3]
local now = evicted()
if since ~= now then before = nil end
local filled = through and held[4] == ARGV[6] and string.match(ARGV[6], '^(.-)|') == now
if not before and not filled then
  redis.call('ZREMRANGEBYRANK', p..'ahead', 0, -(tonumber(ARGV[5]) + 1))
  return 0
end
local position = math.max(before or 0, through or 0)
local asOf = math.max(before and tonumber(held[2]) or 0, current or 0)
redis.call('ZREMRANGEBYSCORE', p..'ahead', '-inf', position)
while true do
  local found = redis.call('ZRANGEBYSCORE', p..'ahead', position + 1, position + 1)
  if not found[1] then break end
  position = position + 1
  asOf = math.max(asOf, tonumber(string.match(found[1], ':(.*)')))
end
redis.call('ZREMRANGEBYSCORE', p..'ahead', '-inf', position)
redis.call('ZREMRANGEBYRANK', p..'ahead', 0, -(tonumber(ARGV[5]) + 1))
redis.call('HDEL', p..'meta', 'filling')
redis.call('HSET', p..'meta', 'position', string.format('%.0f', position), 'asOf', string.format('%.0f', asOf), 'evicted', now)
if position ~= before then redis.call('HSET', p..'meta', 'movedAt', ARGV[4]) end
return 1`)

/** prefix. Gives position, as of, moved at, and the first position beyond the gap; nothing when it is empty or has holes. */
export const progressScript = script(`${evicting}
local p = ARGV[1]
local held = redis.call('HMGET', p..'meta', 'position', 'asOf', 'movedAt', 'evicted')
local now = evicted()
if not held[1] or held[4] ~= now then
  redis.pcall('HDEL', p..'meta', 'position')
  return {}
end
local ahead = redis.call('ZRANGE', p..'ahead', 0, 0, 'WITHSCORES')
return { held[1], held[2], held[3], ahead[2] }`)
