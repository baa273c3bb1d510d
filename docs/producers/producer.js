// smsd from Node: send, cancel, read events. ioredis 5. Usage and rules: README.md beside this file.
const Redis = require("ioredis");
const zlib = require("node:zlib");

const redis = new Redis(process.env.REDIS_URL || "redis://127.0.0.1:8777/0");
const shards = async () => Number((await redis.hget("smsd:meta", "shards")) || 1);

// Node has zlib.crc32 from 20.15 and 22.2; before, write it as here.
const crc32 = zlib.crc32 || ((text) => {
  let crc = -1;
  for (const byte of Buffer.from(text, "utf8")) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
});

const write = async (tenant, fields) =>
  redis.xadd(`smsd:{${crc32(tenant) % (await shards())}}:in:reminder`, "*", ...Object.entries(fields).flat());

// With the same fields it may be written again whenever you are not sure: it is taken once.
const send = (tenant, id, to, body, notAfterMs) => write(tenant, {
  tenant, id, to, body,
  not_after: String(notAfterMs),
  meta: JSON.stringify({ appointment: 17 }),
});

const cancel = (tenant, id) => write(tenant, { op: "cancel", tenant, id });

// handle() makes your own write, which must ignore an event_id that it has already.
async function read(group, consumer, handle) {
  const streams = Array.from({ length: await shards() }, (_, n) => `smsd:{${n}}:events`);
  for (const stream of streams) {
    await redis.xgroup("CREATE", stream, group, "0", "MKSTREAM").catch((error) => {
      if (!error.message.startsWith("BUSYGROUP")) throw error;
    });
  }
  const take = async (stream, entries) => {
    for (const [entry, flat] of entries) {
      const event = {};
      for (let at = 0; flat && at < flat.length; at += 2) event[flat[at]] = flat[at + 1];
      if (flat) await handle(event);
      await redis.xack(stream, group, entry);
    }
  };
  for (;;) {
    for (const stream of streams) {
      const claimed = await redis.xautoclaim(stream, group, consumer, 60000, "0-0", "COUNT", 100);
      await take(stream, claimed[1]); // what a dead reader left for a minute
    }
    const fresh = await redis.xreadgroup("GROUP", group, consumer, "COUNT", 100, "BLOCK", 2000,
      "STREAMS", ...streams, ...streams.map(() => ">"));
    for (const [stream, entries] of fresh || []) await take(stream, entries);
  }
}

async function main([what, tenant, id, notAfterMs]) {
  if (what === "send") await send(tenant, id, "+353861234567", "See you at 10:00", notAfterMs);
  if (what === "cancel") await cancel(tenant, id);
  if (what === "read") {
    const seen = new Set(); // in your system: a unique index on event_id
    await read(tenant, "reader-1", async (event) => {
      if (seen.has(event.event_id)) return;
      seen.add(event.event_id);
      console.log(event.tenant, event.id, event.state, event.meta || "");
    });
  }
  redis.disconnect();
}

main(process.argv.slice(2)).catch((error) => { console.error(error.message); process.exit(1); });
