"""Ports for servers that start later, or start anew, on an address that was given out before.

Never holds one: it only keeps out of the range from which systems take the ports of outgoing connections (Linux from
32768, macOS from 49152), where a port that is free now may be a client's a moment later.
"""

import random
import socket

FIRST, LAST = 12_000, 32_000
TRIES = 100


def free_port() -> int:
    """One on loopback that nobody has now, and that nobody else is likely to choose. Raises OSError."""
    chance = random.SystemRandom()  # processes that run side by side must not choose alike
    for _ in range(TRIES):
        port = chance.randrange(FIRST, LAST)
        try:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
                return port
        except OSError:
            continue
    raise OSError(f"no port between {FIRST} and {LAST} is free")
