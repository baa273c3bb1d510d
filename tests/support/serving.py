"""Smsd's own HTTP server on a port of its own, for tests that need somebody who answers over real HTTP.

Never decides an answer: the handler is the test's.
"""

import contextlib
from collections.abc import AsyncGenerator

from smsd.shell.listening import Address, address, bind, bound_at
from smsd.shell.server import Handler, Server


@contextlib.asynccontextmanager
async def served(handle: Handler) -> AsyncGenerator[tuple[Server, Address]]:
    """The server and where it listens, until the end of the block."""
    server = Server(handle)
    bound = bind(address("127.0.0.1:0"), "webhooks", shared=False)
    await server.start(bound)
    try:
        yield server, bound_at(bound)
    finally:
        await server.close()
