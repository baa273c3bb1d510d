"""A wire between a client and the store that can break: the request arrives and runs, its reply is lost.

Never changes a byte; it carries them or it does not.
"""

import asyncio

from smsd.store.scripts import digest


class Wire:
    """Listens on `url` for clients of the store at `port`."""

    def __init__(self, port: int) -> None:
        self.url = ""
        self.lost = 0
        self._port = port
        self._verb = b""
        self._times = 0
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for end in self._ends:
            end.transport.abort()
        await self._server.wait_closed()

    def lose(self, verb: str, times: int = 1) -> None:
        """The replies to the next calls of this script do not arrive, and their connections break."""
        self._verb, self._times = digest(verb).encode(), times

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        store_reader, store_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._ends |= {writer, store_writer}
        back = asyncio.create_task(_pipe(store_reader, writer))
        try:
            while data := await reader.read(65536):
                if self._times and self._verb in data:
                    self._times -= 1
                    self.lost += 1
                    back.cancel()
                    store_writer.write(data)
                    await store_reader.read(1)  # it has run
                    writer.transport.abort()
                    break
                store_writer.write(data)
        except ConnectionError:
            pass
        finally:
            back.cancel()
            store_writer.close()
            writer.close()
            self._ends -= {writer, store_writer}


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
    except ConnectionError:
        pass
    writer.close()
