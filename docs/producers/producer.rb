# smsd from Ruby: send, cancel, read events. redis-rb 5. Usage and rules: README.md beside this file.
require "json"
require "redis"
require "set"
require "zlib"

REDIS = Redis.new(url: ENV.fetch("REDIS_URL", "redis://127.0.0.1:8777/0"))

def shards = (REDIS.hget("smsd:meta", "shards") || 1).to_i

def write(tenant, fields)
  shard = Zlib.crc32(tenant.encode("UTF-8")) % shards
  REDIS.xadd("smsd:{#{shard}}:in:reminder", fields)
end

# With the same fields it may be written again whenever you are not sure: it is taken once.
def send_text(tenant, id, to, body, not_after_ms)
  write(tenant, {
    "tenant" => tenant, "id" => id, "to" => to, "body" => body,
    "not_after" => not_after_ms.to_s,
    "meta" => JSON.generate({ appointment: 17 })
  })
end

def cancel(tenant, id) = write(tenant, { "op" => "cancel", "tenant" => tenant, "id" => id })

# The block makes your own write, which must ignore an event_id that it has already.
def read_events(group, consumer)
  streams = (0...shards).map { |shard| "smsd:{#{shard}}:events" }
  streams.each do |stream|
    REDIS.xgroup(:create, stream, group, "0", mkstream: true)
  rescue Redis::CommandError => e
    raise unless e.message.start_with?("BUSYGROUP")
  end
  take = lambda do |stream, entries|
    entries.each do |entry, event|
      yield event if event
      REDIS.xack(stream, group, entry)
    end
  end
  loop do
    streams.each do |stream| # what a dead reader left for a minute
      take.call(stream, REDIS.xautoclaim(stream, group, consumer, 60_000, "0-0", count: 100)["entries"])
    end
    fresh = REDIS.xreadgroup(group, consumer, streams, streams.map { ">" }, count: 100, block: 2000)
    fresh.each { |stream, entries| take.call(stream, entries) }
  end
end

what, tenant, id, not_after_ms = ARGV
case what
when "send" then send_text(tenant, id, "+353861234567", "See you at 10:00", not_after_ms)
when "cancel" then cancel(tenant, id)
when "read"
  $stdout.sync = true
  seen = Set.new # in your system: a unique index on event_id
  read_events(tenant, "reader-1") do |event|
    puts event.values_at("tenant", "id", "state", "meta").join(" ") if seen.add?(event["event_id"])
  end
end
