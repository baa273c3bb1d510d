"""`make bench`: messages a second end to end, and CPU seconds per 1,000, with limits and receipts on.

From entries in the inbox to `delivered` by a signed receipt; one worker process, store and carrier on the same cores.
Prints one line of JSON. Never judges: the figures are for reading side by side in one run, with what a bare POST by
aiohttp costs in the same minute.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import aiohttp
import msgspec

from bench.rig import rig

CONFIG = """\
[tenant_defaults]
limits = ["100000/s", "5000000/d"]
sender = "Salon"
region = "IE"
route = "default"
[routes.default]
providers = [{{ use = "carrier" }}]
[providers.carrier]
type = "fake"
base_url = "{carrier}"
limits = ["100000 segments/s"]
max_in_flight = {in_flight}
"""


def entries(count: int, tenants: int, traced: float = 0.0) -> Iterator[tuple[str, dict[str, str]]]:
    """80 characters of GSM-7, a third of them reminders; of the share `traced` the producer sampled a trace."""
    body = "Your appointment is tomorrow at ten. Reply C to confirm or call us to move it ...."[:80]
    for i in range(count):
        fields = {"tenant": f"t{i % tenants}", "id": f"m{i}", "to": f"+3538612{i % 100000:05d}", "body": body}
        if i % 1000 < traced * 1000:
            fields["traceparent"] = f"00-{i + 1:032x}-{i + 1:016x}-01"
        yield "reminder" if i % 3 == 0 else "marketing", fields


def calibrate() -> int:
    """Milliseconds of a fixed loop of pure Python: 28 to 54 on the machine of the peers' figures."""
    since, total = time.process_time(), 0
    for i in range(1_000_000):
        total += i * i
    return round((time.process_time() - since) * 1000)


async def _post(url: str, count: int) -> float:
    """CPU seconds of this process for 1,000 bare POSTs by aiohttp, 64 at a time."""
    body, left = b"Body=" + b"x" * 300, iter(range(count))
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def some() -> None:
            for _ in left:
                async with session.post(url, data=body) as answer:
                    await answer.read()

        since = time.process_time()
        await asyncio.gather(*[some() for _ in range(64)])
        return (time.process_time() - since) / count * 1000


def yardstick(url: str) -> float:
    """What a bare POST by aiohttp costs here and now: 0.100 on the machine for which the goals are set."""
    try:
        import uvloop as loops
    except ImportError:
        loops = asyncio
    return round(loops.run(_post(url, 5_000)), 4)


def main() -> None:
    """Runs it once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=40_000)
    parser.add_argument("--tenants", type=int, default=1_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--in-flight", type=int, default=256, help="the goal of 4,000/s at a carrier of 64 ms")
    parser.add_argument("--callbacks", type=int, default=128, help="receipts that the carrier has under way at a time")
    parser.add_argument("--traced", type=float, default=0.0, help="share with a traceparent (SMSD_OTEL__ENABLED)")
    args = parser.parse_args()
    with rig(CONFIG.replace("{in_flight}", str(args.in_flight)), connections=args.callbacks) as made:
        made.enqueue(entries(args.messages, args.tenants, args.traced))
        made.start_daemon(args.workers)
        warm = args.messages // 10
        made.wait_for(lambda: made.ended() >= warm, 60, "nothing is delivered")
        first, before, since = made.ended(), made.cpu(), time.monotonic()
        made.wait_for(lambda: made.ended() >= args.messages, 300, "not all are delivered")
        seconds, after = time.monotonic() - since, made.cpu()
        done = args.messages - first
        per_1k = {name: round((after[name] - before[name]) / done * 1000, 4) for name in after}
        told = {"messages": done, "tenants": args.tenants, "workers": args.workers, "per_s": round(done / seconds),
                "cpu_s_per_1k": per_1k, "store_allocator": made.allocator, "calib_ms": calibrate(),
                "carrier": made.carrier.stats(),
                "aiohttp_post_cpu_s_per_1k": yardstick(f"{made.carrier.url}/nowhere")}  # fmt: skip
        print(msgspec.json.encode(told).decode())


if __name__ == "__main__":
    main()
