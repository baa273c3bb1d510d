"""`make bench-intake`: messages a second that one worker takes by HTTP, one by one and in lists of 100.

Each answer is 202, and so is durable as the store's settings have it; with `--strict` it is on the disk. Measured
twice: while everything is paused, and while the worker sends what it takes. Prints one line of JSON. Never judges.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec

from bench.rig import Rig, number, rig

KEY = "benched"
CONFIG = """\
[http.api_keys.bench]
key = "env:SMSD_API_KEY"
tenants = ["*"]
[tenant_defaults]
limits = ["100000/s", "5000000/d"]
[routes.default]
providers = [{{ use = "carrier" }}]
[providers.carrier]
type = "fake"
base_url = "{carrier}"
limits = ["100000 segments/s"]
max_in_flight = 128
"""
TENANTS = 1000


def message(name: str, i: int) -> dict[str, str]:
    """80 characters of GSM-7."""
    body = "Your appointment is tomorrow at ten. Reply C to confirm or call us to move it ...."[:80]
    return {"class": "reminder", "tenant": f"t{i % TENANTS}", "id": f"{name}-{i}", "to": number(i), "body": body}


def request(method: str, path: str, value: object) -> bytes:
    """A whole request, for the client should cost as little as can be."""
    body = msgspec.json.encode(value)
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def ask(address: str, requests: Iterator[bytes], waits_ms: list[float]) -> None:
    """One connection: a request after the other, each answered with 2xx."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for one in requests:
        since = time.perf_counter()
        writer.write(one)
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        said = await reader.readexactly(size)
        waits_ms.append((time.perf_counter() - since) * 1000)
        if not head.startswith(b"HTTP/1.1 2") or b'"rejected"' in said:
            raise SystemExit(f"{head.decode()}{said[:300].decode()}")
    writer.close()


async def measure(address: str, requests: list[bytes], each: int, connections: int) -> dict[str, float]:
    """Messages a second, and how long answers take."""
    waits_ms: list[float] = []
    shared = iter(requests)
    since = time.monotonic()
    await asyncio.gather(*[ask(address, shared, waits_ms) for _ in range(connections)])
    per_s = len(requests) * each / (time.monotonic() - since)
    waits_ms.sort()
    return {"per_s": round(per_s), "p50_ms": round(waits_ms[len(waits_ms) // 2], 1),
            "p99_ms": round(waits_ms[len(waits_ms) * 99 // 100], 1)}  # fmt: skip


def both(made: Rig, name: str, args: argparse.Namespace) -> dict[str, object]:
    """One by one, then in lists."""
    ones = [request("POST", "/v1/messages", message(f"{name}-one", i)) for i in range(args.singles)]
    lists = [
        request("POST", "/v1/messages", [message(f"{name}-many", i) for i in range(at, at + 100)])
        for at in range(0, args.messages, 100)
    ]
    before = made.cpu()["smsd"]
    singles = asyncio.run(measure(made.http, ones, 1, args.connections))
    between = made.cpu()["smsd"]
    many = asyncio.run(measure(made.http, lists, 100, 4))
    after = made.cpu()["smsd"]
    return {"one_by_one": {**singles, "cpu_ms_each": round((between - before) / args.singles * 1000, 3)},
            "lists_of_100": {**many, "cpu_ms_each": round((after - between) / args.messages * 1000, 3)}}  # fmt: skip


def main() -> None:
    """Runs it once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--singles", type=int, default=5_000)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--strict", action="store_true", help="answers wait for the store's disk")
    args = parser.parse_args()
    os.environ["SMSD_API_KEY"] = KEY
    os.environ["SMSD_STORE__DURABILITY"] = "strict" if args.strict else "relaxed"
    with rig(CONFIG, fsync="always" if args.strict else "everysec") as made:
        made.start_daemon()
        asyncio.run(ask(made.http, iter([request("POST", "/v1/pauses", {"all": True})]), []))
        paused = both(made, "paused", args)
        taken = (args.singles + args.messages) * 2
        asyncio.run(ask(made.http, iter([request("DELETE", "/v1/pauses?all=true", {})]), []))
        sending = both(made, "sending", args)
        made.wait_for(lambda: made.ended() >= taken, 300, "not all are delivered")
        print(msgspec.json.encode({"strict": args.strict, "paused": paused, "sending": sending}).decode())


if __name__ == "__main__":
    main()
