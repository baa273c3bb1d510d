"""For platforms in Python: write messages into smsd's streams and read what became of them, in a few lines.

    async with Client("redis://127.0.0.1:8777/0") as smsd:
        await smsd.send("acme", "+353861234567", "See you at 10:00", id="appointment-17")
        async for event in smsd.events("billing"):
            print(event.id, event.state)

`SyncClient` is the same without `await`. Needs redis and msgspec, and nothing else of smsd. Never reads or writes
anything but the public streams (contract §2, §3).
"""

from smsd.client.client import Client
from smsd.client.client_plain import SyncClient
from smsd.client.letters import BadMessage, NotSetUp, Outgoing
from smsd.client.received import Event, Inbound

__all__ = ["BadMessage", "Client", "Event", "Inbound", "NotSetUp", "Outgoing", "SyncClient"]
