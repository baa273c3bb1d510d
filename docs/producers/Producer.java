// smsd from Java: send, cancel, read events. Jedis 5. Usage and rules: README.md beside this file.
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import java.util.zip.CRC32;
import redis.clients.jedis.JedisPooled;
import redis.clients.jedis.StreamEntryID;
import redis.clients.jedis.exceptions.JedisDataException;
import redis.clients.jedis.params.XAutoClaimParams;
import redis.clients.jedis.params.XReadGroupParams;
import redis.clients.jedis.resps.StreamEntry;

public class Producer {
    final JedisPooled redis;

    Producer(String url) {
        redis = new JedisPooled(URI.create(url));
    }

    int shards() {
        String number = redis.hget("smsd:meta", "shards");
        return number == null ? 1 : Integer.parseInt(number);
    }

    void write(String tenant, Map<String, String> fields) {
        CRC32 crc = new CRC32();
        crc.update(tenant.getBytes(StandardCharsets.UTF_8));
        long shard = crc.getValue() % shards();
        redis.xadd("smsd:{" + shard + "}:in:reminder", StreamEntryID.NEW_ENTRY, fields);
    }

    /** With the same fields it may be written again whenever you are not sure: it is taken once. */
    void send(String tenant, String id, String to, String body, String notAfterMs) {
        write(tenant, Map.of("tenant", tenant, "id", id, "to", to, "body", body,
            "not_after", notAfterMs, "meta", "{\"appointment\":17}"));
    }

    void cancel(String tenant, String id) {
        write(tenant, Map.of("op", "cancel", "tenant", tenant, "id", id));
    }

    /** handle makes your own write, which must ignore an event_id that it has already. */
    void read(String group, String consumer, Consumer<Map<String, String>> handle) {
        Map<String, StreamEntryID> streams = new LinkedHashMap<>();
        for (int shard = 0; shard < shards(); shard++) {
            String stream = "smsd:{" + shard + "}:events";
            try {
                redis.xgroupCreate(stream, group, new StreamEntryID(0, 0), true);
            } catch (JedisDataException error) {
                if (!error.getMessage().startsWith("BUSYGROUP")) throw error;
            }
            streams.put(stream, StreamEntryID.XREADGROUP_UNDELIVERED_ENTRY);
        }
        while (true) {
            for (String stream : streams.keySet()) { // what a dead reader left for a minute
                take(stream, group, handle, redis.xautoclaim(stream, group, consumer, 60_000,
                    new StreamEntryID(0, 0), XAutoClaimParams.xAutoClaimParams().count(100)).getValue());
            }
            var fresh = redis.xreadGroup(group, consumer,
                XReadGroupParams.xReadGroupParams().count(100).block(1000), streams); // below its socket timeout, 2 s
            if (fresh == null) continue;
            for (var one : fresh) take(one.getKey(), group, handle, one.getValue());
        }
    }

    void take(String stream, String group, Consumer<Map<String, String>> handle, List<StreamEntry> entries) {
        for (StreamEntry entry : entries) {
            if (entry == null) continue;
            if (entry.getFields() != null) handle.accept(entry.getFields());
            redis.xack(stream, group, entry.getID());
        }
    }

    public static void main(String[] args) {
        Producer smsd = new Producer(System.getenv().getOrDefault("REDIS_URL", "redis://127.0.0.1:8777/0"));
        switch (args[0]) {
            case "send" -> smsd.send(args[1], args[2], "+353861234567", "See you at 10:00", args[3]);
            case "cancel" -> smsd.cancel(args[1], args[2]);
            case "read" -> {
                Set<String> seen = new HashSet<>(); // in your system: a unique index on event_id
                smsd.read(args[1], "reader-1", event -> {
                    if (seen.add(event.get("event_id")))
                        System.out.println(event.get("tenant") + " " + event.get("id") + " " + event.get("state")
                            + " " + event.getOrDefault("meta", ""));
                });
            }
            default -> throw new IllegalArgumentException("send TENANT ID NOT_AFTER_MS, cancel TENANT ID or read GROUP");
        }
    }
}
