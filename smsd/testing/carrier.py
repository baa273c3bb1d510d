"""The built-in carrier: real HTTP in its own process, a vendor's dialect, seeded faults, and a ledger of what it took.

`python -m smsd.testing.carrier` (or `smsd carrier`) runs one, `start()` gives tests and demos one as a child process.
It sends nothing to anybody but the status callbacks that its senders ask for, and it never runs inside the daemon.
"""

import argparse
import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import get_args, get_type_hints

import msgspec

from smsd.config.sandbox import TOKEN
from smsd.testing.carrier_control import Control, merged
from smsd.testing.carrier_dialect import DIALECTS, Account
from smsd.testing.carrier_faults import PROFILES, Faults
from smsd.testing.carrier_http import Link
from smsd.testing.carrier_process import CarrierProcess, start
from smsd.testing.carrier_server import Carrier, Options

__all__ = ["ACCOUNT_SID", "AUTH_TOKEN", "CarrierProcess", "main", "start"]

ACCOUNT_SID = "AC5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e"
AUTH_TOKEN = "carrier-token-of-no-worth"  # noqa: S105 - of an account that exists nowhere else
BACKLOG = 1024


def parser() -> argparse.ArgumentParser:
    """The command line. Every field of Faults is a flag: `receipt_min_ms` is `--receipt-min-ms`."""
    made = argparse.ArgumentParser(
        usage="smsd carrier [flags], which --help explains",
        prog="smsd carrier",
        description=(__doc__ or "").partition("\n")[0],
        allow_abbrev=False,
    )
    made.add_argument(
        "--listen",
        type=_address,
        default="127.0.0.1:8778",
        metavar="HOST:PORT",
        help="port 0: a free one (%(default)s)",
    )
    made.add_argument("--seed", type=int, default=1, help="of all luck (%(default)s)")
    made.add_argument(
        "--dialect",
        choices=list(DIALECTS),
        default="twilio",
        help="whose API it speaks: a provider's type (%(default)s)",
    )
    made.add_argument("--account-sid", default=ACCOUNT_SID, help="or whatever the vendor calls it (%(default)s)")
    made.add_argument("--auth-token", default=AUTH_TOKEN, help="the key or password of any dialect (%(default)s)")
    made.add_argument(
        "--callback-url",
        default="",
        metavar="URL",
        help="the account's own, where a message names none for its receipts",
    )
    made.add_argument(
        "--keep", type=_positive, default=1_000_000, help="messages that the ledger remembers (%(default)s)"
    )
    made.add_argument("--connections", type=_positive, default=16, help="for callbacks, to each origin (%(default)s)")
    made.add_argument(
        "--connect-to", type=_address, metavar="HOST:PORT", help="send every callback there, signed for its own URL"
    )
    made.add_argument("--callback-timeout-s", type=float, default=10.0, help="for a callback's answer (%(default)s)")
    made.add_argument(
        "--adopted",
        type=_positive,
        metavar="FD",
        help="serve on that socket, and end only when standard input does: how smsd run starts its sandbox",
    )
    made.add_argument("--with-parent", action="store_true", help="end when standard input does")
    made.add_argument(
        "--profile", choices=list(PROFILES), default="plain", help="the faults to start from (%(default)s)"
    )
    faults = made.add_argument_group("faults", "override the profile's; POST /_carrier/faults changes them later")
    for name, described, switch in _fault_flags():
        flag = f"--{name.replace('_', '-')}"
        if switch:
            faults.add_argument(flag, nargs="?", const="true", help=f"{described} (true or false)")
        else:
            faults.add_argument(flag, help=described)
    return made


def _fault_flags() -> list[tuple[str, str, bool]]:
    flags: list[tuple[str, str, bool]] = []
    for name, hint in get_type_hints(Faults, include_extras=True).items():
        kind, *metas = get_args(hint)
        described = [meta.description for meta in metas if isinstance(meta, msgspec.Meta) and meta.description]
        flags.append((name, described[-1], kind is bool))
    return flags


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, as in 127.0.0.1:8778")
    return host.strip("[]"), int(port)


def _faults(args: argparse.Namespace) -> Faults:
    given = {name: getattr(args, name) for name, _, _ in _fault_flags() if getattr(args, name) is not None}
    codes = {name: value.split(",") for name, value in given.items() if name.endswith("_codes")}
    return merged(PROFILES[args.profile], given | codes)


async def _serve(args: argparse.Namespace, options: Options, stop: Callable[[asyncio.Event], None]) -> None:
    loop = asyncio.get_running_loop()
    carrier = Carrier(options, loop)
    control = Control(carrier)

    def link() -> Link:
        return Link(control.handle, carrier.links)

    if args.adopted is None:
        server = await loop.create_server(link, *args.listen, backlog=BACKLOG)
    else:
        server = await loop.create_server(link, sock=socket.socket(fileno=args.adopted), backlog=BACKLOG)
    host, port = server.sockets[0].getsockname()[:2]
    address = f"[{host}]" if ":" in host else host
    ended = asyncio.Event()
    stop(ended)
    url = f"http://{address}:{port}"
    provider, env = carrier.dialect.options(url)
    told: dict[str, object] = {"listening": url}
    if args.adopted is None:  # else its secret is one
        told |= {"dialect": args.dialect, "provider": provider, "env": env}
    sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
    sys.stdout.flush()
    await ended.wait()
    server.close()


def _stop_signals(*, with_parent: bool, adopted: bool) -> Callable[[asyncio.Event], None]:
    """`adopted`: a service manager that ends a whole group must not end it before those who wait for its answers."""

    def watch(ended: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, (lambda: None) if adopted else ended.set)
        if with_parent or adopted:
            loop.add_reader(0, lambda: None if os.read(0, 4096) else ended.set())

    return watch


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a carrier until SIGINT or SIGTERM. Returns an exit code: 0 ended, 2 could not start (why is on stderr)."""
    args = parser().parse_args(argv)
    try:
        options = Options(
            dialect=args.dialect,
            account=Account(
                user=args.account_sid,
                secret=args.auth_token if args.adopted is None else os.environ[TOKEN],
            ),
            callback_url=args.callback_url,
            seed=args.seed,
            keep=args.keep,
            connections=args.connections,
            connect_to=args.connect_to,
            callback_timeout_s=args.callback_timeout_s,
            faults=_faults(args),
        )
        # A million records are no garbage: without this the collector walks again and again through what leads to them.
        gc.set_threshold(100_000, 50, 1000)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            stop = _stop_signals(with_parent=args.with_parent, adopted=args.adopted is not None)
            runner.run(_serve(args, options, stop))
    except (OSError, ValueError, argparse.ArgumentTypeError) as error:
        sys.stderr.write(f"smsd carrier: {error}\n")
        return 2
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


if __name__ == "__main__":
    sys.exit(main())
