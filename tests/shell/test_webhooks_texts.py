"""Texts that people send: whose they are, what they answer, what they close and open. On a real store."""

import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from smsd.control.revision import publish
from smsd.control.tenants import Tenants
from smsd.core.optout import Scope
from smsd.core.outcome import Accepted
from smsd.message import Message, Send
from smsd.provider import Callback, Inbound
from smsd.secret import Secret
from smsd.shell.live import Live
from smsd.shell.metrics import Metrics
from smsd.shell.webhooks_store import Away
from smsd.shell.webhooks_texts import Texted, Texts, number
from smsd.store import keys, optouts
from smsd.store.connect import connect
from smsd.store.optouts import of_sender, of_tenant
from smsd.store.shard import Offer, Shard
from smsd.store.texts import Change, write
from smsd_providers._proof import Callbacks
from smsd_providers.vonage_sms import VonageSms, VonageSmsOptions
from tests.support import config as configs
from tests.support.logs import Logs
from tests.support.valkey import Valkey

ANNA, US_ANNA = "+353861234567", "+14155550100"
OWN, SHARED = "+353861111111", "+353862222222"
POOL, POOLED = ("+353865555551", "+353865555552"), ("+353866666661", "+353866666662")
INSTEAD = "+353867777777"
MORE = f"""
[[sender_rules]]
countries = ["FR"]
types = ["e164"]
instead = "{INSTEAD}"
[sender_pools.own]
senders = ["{POOL[0]}", "{POOL[1]}"]
[sender_pools.pooled]
senders = ["{POOLED[0]}", "{POOLED[1]}"]
[tenants.pooler]
sender_pool = "own"
[tenants.three]
sender_pool = "pooled"
[tenants.four]
sender_pool = "pooled"
[tenants.acme]
sender = "{OWN}"
[tenants.booker]
sender = "+353863333333"
cancel_words = "appointment"
[tenants.one]
sender = "{SHARED}"
stop_closes = "all"
[tenants.two]
sender = "{SHARED}"
cancel_words = "appointment"
"""


class Desk:
    """Where texts come to, and the messages that they answer."""

    def __init__(self, live: Live) -> None:
        self.live, self.logs, self.metrics = live, Logs(), Metrics()
        self.texts = Texts(live, self.metrics, self.logs.logger)
        self.n = 0

    async def sent(self, tenant: str, sender: str, class_: str = "reminder", to: str = ANNA) -> str:
        """A message that a provider took; its id."""
        self.n += 1
        shard, far = self.live.shard_of(tenant), time.time_ns() // 1000 + 3600 * 10**6
        message = Message(tenant, f"m{self.n}", to, sender, "Hi", class_, "default", "GSM-7", 1, "IE")
        await shard.admit([Send(message, "", "p", 0, far)], class_, from_inbox=False)
        got = await shard.lease("default", [Offer("main", 1, 9)], n=9, request=f"r{self.n}", process="p", span_us=10**7)
        await shard.settle(
            [Accepted(m.message.key, m.fence, "accepted", m.attempt, "main", m.message.id) for m in got.messages]
        )
        return message.id

    async def text(self, body: str, to: str, sender: str = ANNA, **more: Any) -> dict[str, str]:
        """A text comes in; what the platform reads of it."""
        self.n += 1
        one = msgspec.structs.replace(Inbound(f"SM{self.n}", sender, to, body), **more)
        await self.texts.take("main", [one])
        return (await self.read())[-1]

    async def read(self) -> list[dict[str, str]]:
        """The inbound streams of all shards, by when they were written."""
        entries: list[Any] = []
        for shard in self.live.shards:
            entries += await shard.client.xrange(keys.key(shard.number, "inbound"))  # pyright: ignore
        return [{k.decode(): v.decode() for k, v in fields.items()} for _, fields in sorted(entries)]

    async def closed(self, number: str = ANNA) -> dict[str, Scope]:
        """What is closed to somebody, by list."""
        found: dict[str, Scope] = {}
        for shard in self.live.shards:
            for field, one in (await optouts.page(shard)).found:
                if one.number == number:
                    found[f"{shard.number}{field.partition(chr(0))[0]}"] = one.scope
        return found


Make = Callable[..., Awaitable[Desk]]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """A desk on a store of so many shards."""
    async with contextlib.AsyncExitStack() as stack:

        async def one(url: str, shards: int = 1, extra: str = "") -> Desk:
            config = configs.config(tmp_path, env=os.environ, extra=MORE + extra)
            store = connect(url)
            stack.push_async_callback(store.aclose)
            live = Live(config, [Shard(store.client, n) for n in range(shards)])
            await publish(config, live.shards)
            await live.follow_tenants()
            live.swap(config, 1)
            return Desk(live)

        yield one


@pytest.fixture
async def desk(make: Make, store_url: str) -> Desk:
    """One shard."""
    return await make(store_url)


# ---- Whose, and what it answers --------------------------------------------------------------------------------------


async def test_a_text_tells_what_it_answers(desk: Desk) -> None:
    """The last message from that number to that person, whoever shares the number."""
    await desk.sent("acme", OWN)
    last = await desk.sent("acme", OWN)
    told = await desk.text("See you", OWN)
    assert [told[name] for name in ("tenant", "in_reply_to", "intent", "opt_out")] == ["acme", last, "", ""]
    await desk.sent("one", SHARED)
    last = await desk.sent("two", SHARED)
    told = await desk.text("ok", SHARED)
    assert [told[name] for name in ("tenant", "in_reply_to", "intent")] == ["two", last, "confirm"]


async def test_a_number_that_the_provider_chose_is_known_by_the_person(desk: Desk) -> None:
    """The messages that left the choice to it lead to the tenant."""
    last = await desk.sent("acme", "")
    told = await desk.text("HELP", "+353869999999")
    assert [told[name] for name in ("tenant", "in_reply_to", "intent")] == ["acme", last, "help"]


async def test_who_was_never_texted_is_told_without_a_message(desk: Desk) -> None:
    """With the tenant where the number is one's own, else without."""
    assert (await desk.text("Hi", OWN))["tenant"] == "acme"
    assert [(await desk.text("Hi", to))["tenant"] for to in (SHARED, "+353869999999")] == ["", ""]


async def test_a_provider_that_leaves_out_the_plus_is_understood(desk: Desk) -> None:
    """The person and the number are told in E.164, and found by it."""
    last = await desk.sent("acme", OWN)
    told = await desk.text("Hi", OWN.removeprefix("+"), ANNA.removeprefix("+"))
    assert (told["from"], told["to"], told["in_reply_to"]) == (ANNA, OWN, last)
    assert [number(text).e164 for text in ("50123", "Network", "+1", "")] == ["50123", "Network", "+1", ""]


async def test_a_sender_that_was_set_by_api_is_its_tenants(desk: Desk) -> None:
    """In force as soon as the process follows; a sender that becomes shared is nobody's."""
    live = desk.live
    texted = Texted(live)
    assert texted.tenant("+353864444444") == ""
    await Tenants(live.local, live.shards).put("new", {"sender": "+353864444444"})
    await live.follow_tenants()
    assert texted.tenant("+353864444444") == "new"
    await Tenants(live.local, live.shards).put("new", {"sender": OWN})
    await live.follow_tenants()
    assert [texted.tenant(to) for to in ("+353864444444", OWN, SHARED, "Salon")] == ["", "", "", ""]
    assert [texted.is_known(to) for to in (OWN, "Salon", "+353864444444")] == [True, True, False]


# ---- What it does ----------------------------------------------------------------------------------------------------


async def test_stop_to_a_number_of_a_pool_closes_the_tenant_that_alone_uses_it(desk: Desk) -> None:
    """A pool of two tenants is nobody's, and is closed by itself."""
    texted = Texted(desk.live)
    assert [texted.tenant(to) for to in (*POOL, *POOLED)] == ["pooler", "pooler", "", ""]
    assert [texted.is_known(to) for to in (*POOL, *POOLED)] == [True] * 4
    assert (await desk.text("STOP", POOL[1]))["tenant"] == "pooler"


async def test_stop_to_a_tenants_own_number_closes_the_tenant(desk: Desk) -> None:
    """Marketing where it answers marketing or nothing, all where it answers a reminder."""
    assert (await desk.text("STOP", OWN))["opt_out"] == "marketing"
    assert await desk.closed() == {"0t:acme": "marketing"}
    await desk.sent("acme", OWN)
    told = await desk.text("Stop!", OWN)
    assert (told["intent"], told["opt_out"]) == ("stop", "all")
    assert await desk.closed() == {"0t:acme": "all"}
    told = 'class="reminder",provider="main",scope="all",source="inbound"'
    assert f"smsd_opt_outs_total{{{told}}} 1.0" in desk.metrics.render().decode()


async def test_stop_to_a_shared_number_closes_the_number(desk: Desk) -> None:
    """For all who use it; what one of them has set is not asked."""
    await desk.sent("one", SHARED, "marketing")
    assert (await desk.text("STOP", SHARED))["opt_out"] == "marketing"
    assert await desk.closed() == {f"0s:{SHARED}": "marketing"}


async def test_stop_to_a_number_that_the_provider_chose_closes_the_choice(desk: Desk) -> None:
    """For every message that leaves the sender to the provider, and for the number itself."""
    await desk.sent("acme", "", "marketing")
    await desk.text("STOP", "+353869999999")
    assert await desk.closed() == {"0s:": "marketing", "0s:+353869999999": "marketing"}


OPEN = '[tenants.open]\nsender = ""\n'


async def forget_all(desk: Desk) -> None:
    """The records of what was sent, as some days after."""
    for shard in desk.live.shards:
        await shard.client.delete(*[keys.key(shard.number, kind) for kind in ("msg", "last")])


@pytest.mark.parametrize("known", [True, False])
async def test_stop_to_what_stands_in_for_a_tenants_sender_closes_that_alone(
    make: Make, store_url: str, known: bool
) -> None:
    """Whether a message of it is on record or not, what leaves the choice to a provider goes on."""
    desk = await make(store_url, extra=OPEN)
    await desk.sent("open", "")
    last = await desk.sent("acme", INSTEAD)
    if not known:
        await forget_all(desk)
    told = await desk.text("STOP", INSTEAD)
    assert (told["tenant"], told["in_reply_to"]) == (("acme", last) if known else ("", ""))
    assert await desk.closed() == {f"0s:{INSTEAD}": "all" if known else "marketing"}
    assert b"smsd_opt_outs_unsure_total{" not in desk.metrics.render()


async def test_stop_to_an_entrys_own_sender_closes_what_is_sure(make: Make, store_url: str) -> None:
    """The last message from it decides; without one, the number, and it is told that it may have been a choice."""
    own = "+353868888888"
    desk = await make(store_url)
    await desk.sent("acme", own, "marketing")
    assert (await desk.text("STOP", own))["tenant"] == "acme"
    assert await desk.closed() == {f"0s:{own}": "marketing"}
    assert b"smsd_opt_outs_unsure_total{" not in desk.metrics.render()
    await desk.text("START", own)
    await forget_all(desk)
    assert (await desk.text("STOP", own))["tenant"] == ""
    assert await desk.closed() == {f"0s:{own}": "marketing"}
    assert b'smsd_opt_outs_unsure_total{provider="main"} 1.0' in desk.metrics.render()
    (line,) = [one for one in desk.logs.lines if one["event"] == "opt_out_unsure"]
    assert line["detail"].endswith("closed for it alone")
    assert own not in str(desk.logs.lines)


async def test_a_number_that_nobody_knows_counts_as_chosen_where_somebody_leaves_the_choice(
    make: Make, store_url: str
) -> None:
    """It is safer to send too little to who said stop; that it is a guess is told."""
    desk = await make(store_url, extra=OPEN)
    await desk.text("STOP", "+353869999999")
    assert await desk.closed() == {"0s:": "marketing", "0s:+353869999999": "marketing"}
    assert b"smsd_opt_outs_unsure_total" in desk.metrics.render()
    await desk.text("Hello", "+353869999999")
    assert b'smsd_opt_outs_unsure_total{provider="main"} 1.0' in desk.metrics.render()


async def test_stop_to_a_number_that_another_tenant_borrows_closes_both(make: Make, store_url: str) -> None:
    """Whose number it is, and the number, in every shard; START opens both."""
    desk = await make(store_url, shards=3)
    await desk.sent("two", OWN)
    told = await desk.text("STOP", OWN)
    assert [told[name] for name in ("tenant", "in_reply_to", "opt_out")] == ["acme", "", "all"]
    home = desk.live.shard_of("acme").number
    assert await desk.closed() == {f"{home}t:acme": "all", **{f"{n}s:{OWN}": "all" for n in range(3)}}
    await desk.text("START", OWN)
    assert await desk.closed() == {}


async def test_where_the_law_says_so_stop_closes_all(desk: Desk) -> None:
    """By the country of the person's number; one of an area code that nobody knows yet counts, too."""
    for person in (US_ANNA, "+14575550100"):
        assert (await desk.text("STOP", OWN, person))["opt_out"] == "all"


async def test_cancel_is_an_opt_out_unless_the_tenant_says_otherwise(desk: Desk) -> None:
    """Of a shared number it is for whoever's message is answered to say."""
    assert (await desk.text("CANCEL", OWN))["intent"] == "stop"
    told = await desk.text("C", "+353863333333")
    assert (told["intent"], told["opt_out"]) == ("cancel", "")
    await desk.sent("two", SHARED)
    told = await desk.text("Cancel", SHARED)
    assert (told["intent"], told["opt_out"]) == ("cancel", "")
    await desk.sent("booker", "+353863333333", "marketing")
    assert (await desk.text("cancel", "+353863333333"))["intent"] == "stop"
    assert await desk.closed() == {"0t:acme": "marketing", "0t:booker": "marketing"}


async def test_start_opens_all_that_was_closed(desk: Desk) -> None:
    """Also what a provider's own code has closed; where nothing was, it says so."""
    shard = desk.live.shards[0]
    await desk.text("STOP", OWN)
    await optouts.close(shard, of_sender(OWN), [optouts.OptOut(ANNA, "all", source="provider")])
    told = await desk.text("start", OWN)
    assert (told["intent"], told["opt_out"]) == ("start", "all")
    assert await desk.closed() == {}
    assert (await desk.text("START", OWN))["opt_out"] == ""


async def test_what_the_provider_did_itself_is_followed(desk: Desk) -> None:
    """Whatever the words are to the tenant."""
    told = await desk.text("CANCEL", "+353863333333", opt_out_type="stop")
    assert (told["intent"], told["opt_out"]) == ("cancel", "all")
    told = await desk.text("Takaisin", "+353863333333", opt_out_type="start")
    assert (told["intent"], told["opt_out"]) == ("start", "all")


async def test_a_repeat_changes_nothing(desk: Desk) -> None:
    """Not even when START has come meanwhile; it is written once."""
    await desk.text("STOP", OWN, provider_id="A")
    await desk.text("START", OWN)
    await desk.text("STOP", OWN, provider_id="A")
    assert await desk.closed() == {}
    assert [one["intent"] for one in await desk.read()] == ["stop", "start"]
    assert b'smsd_inbound_total{intent="stop",provider="main"} 1.0' in desk.metrics.render()


# ---- Shards ----------------------------------------------------------------------------------------------------------


async def test_a_shared_number_is_closed_in_every_shard(make: Make, store_url: str) -> None:
    """The text is in one; the tenant of the last message over all shards has it."""
    desk = await make(store_url, shards=3)
    first, last = await desk.sent("one", SHARED), await desk.sent("two", SHARED)
    assert first != last
    told = await desk.text("STOP", SHARED)
    assert (told["tenant"], told["in_reply_to"]) == ("two", last)
    assert await desk.closed() == {f"{n}s:{SHARED}": "all" for n in range(3)}
    assert len(await desk.read()) == 1
    assert (await desk.text("START", SHARED))["opt_out"] == "all"
    assert await desk.closed() == {}


async def test_start_says_what_it_opened_in_another_shard(make: Make, store_url: str) -> None:
    """What a provider's code has closed is in the shard of its message, and the text's may be another."""
    desk = await make(store_url, shards=3)
    for closed_in in range(3):
        await optouts.close(
            desk.live.shards[closed_in], of_sender(SHARED), [optouts.OptOut(ANNA, "all", source="provider")]
        )
        assert (await desk.text("START", SHARED))["opt_out"] == "all"
        assert await desk.closed() == {}


async def test_a_repeat_changes_nothing_whatever_was_sent_meanwhile(make: Make, store_url: str) -> None:
    """Another tenant of another shard has written to the person since: the text is written once, to the first."""
    desk = await make(store_url, shards=3)
    assert desk.live.shard_of("one") is not desk.live.shard_of("two")
    await desk.sent("one", SHARED)
    await desk.text("Hi", SHARED, provider_id="A")
    await desk.sent("two", SHARED)
    await desk.text("Hi", SHARED, provider_id="A")
    assert [one["tenant"] for one in await desk.read()] == ["one"]
    assert b'smsd_inbound_total{intent="",provider="main"} 1.0' in desk.metrics.render()


async def test_what_a_crash_left_half_done_is_done_by_the_repeat(make: Make, store_url: str) -> None:
    """The other shards had it, the text's own had not."""
    desk = await make(store_url, shards=2)
    home, other = desk.live.shards
    stop = Change((of_sender(SHARED),), ANNA, "marketing", "main")
    await write(other, "main", "A", stop, {}, 0)
    told = await desk.text("STOP", SHARED, provider_id="A")
    assert told["opt_out"] == "marketing"
    assert await optouts.get(home, of_sender(SHARED), ANNA) is not None


# ---- Parts -----------------------------------------------------------------------------------------------------------


async def test_parts_are_one_text(desk: Desk) -> None:
    """Nothing is told until all are there, and then once."""
    for n, body in ((2, "OP"), (1, "ST")):
        one = Inbound(f"P{n}", ANNA, OWN, body, 2, n, "7f")
        await desk.texts.take("main", [one])
    [told] = await desk.read()
    assert [told[name] for name in ("body", "parts", "provider_id", "intent")] == ["STOP", "2", "P1", "stop"]


async def test_the_parts_of_a_vendor_are_joined(desk: Desk) -> None:
    """As Vonage tells of them, without a plus; the last one told again is no new text."""
    env = {"KEY": "abcd1234", "SECRET": "secret", "TOKEN": "token-1"}
    key, secret, token = (Secret(f"env:{name}", env=env) for name in env)
    proven = Callbacks(by="path", secrets=(token,))
    vonage = VonageSms("main", VonageSmsOptions(api_key=key, api_secret=secret, callbacks=proven))
    for n, body in ((1, "AR"), (2, "RET"), (2, "RET")):
        form = {"msisdn": ANNA[1:], "to": OWN[1:], "messageId": f"V{n}", "text": body}
        query = urlencode(form | {"concat": "true", "concat-ref": "7", "concat-total": "2", "concat-part": str(n)})
        callback = Callback("GET", f"https://sms.example.com/webhooks/main/token-1/inbound?{query}", {}, b"")
        await desk.texts.take("main", vonage.inbound(callback))
    [told] = await desk.read()
    assert [told[name] for name in ("from", "to", "body", "intent")] == [ANNA, OWN, "ARRET", "stop"]


async def test_an_incomplete_text_is_written_with_what_is_there(make: Make, store_url: str) -> None:
    """After parts_wait, once, and the log tells of it without a number or a word of it."""
    desk = await make(store_url, extra='[opt_out]\nparts_wait = "10s"\n')
    await desk.texts.take("main", [Inbound("P2", ANNA, OWN, "the rest", 2, 2, "7f")])
    assert await desk.texts.write_late() == 0
    desk.live.shards[0].now_us = time.time_ns() // 1000 + 11_000_000
    assert await desk.texts.write_late() == 1
    assert await desk.texts.write_late() == 0
    [told] = await desk.read()
    assert (told["body"], told["parts"]) == ("the rest", "2")
    assert "text_incomplete" in str(desk.logs.lines)
    assert ANNA not in str(desk.logs.lines)


async def test_a_store_that_is_away_is_told_of(make: Make, start_valkey: Callable[..., Valkey]) -> None:
    """The provider comes again."""
    server = start_valkey()
    desk = await make(server.url)
    server.kill()
    with pytest.raises(Away, match="ConnectionError"):
        await desk.text("STOP", OWN)


async def test_closed_by_a_text_means_not_sent(desk: Desk) -> None:
    """The list of texts and that of admission are one."""
    await desk.text("STOP", OWN)
    shard, far = desk.live.shards[0], time.time_ns() // 1000 + 3600 * 10**6
    message = Message("acme", "x", ANNA, OWN, "Sale", "marketing", "default", "GSM-7", 1, "IE")
    assert await shard.admit([Send(message, "", "p", 0, far)], "marketing", from_inbox=False) == ["suppressed"]
    assert await optouts.get(shard, of_tenant("acme"), ANNA) is not None


async def test_what_people_sent_is_kept_as_long_as_events_are(make: Make, store_url: str) -> None:
    """A text that is older than [retention] events is forgotten, and not an hour before."""
    desk = await make(store_url, extra='[retention]\nevents = "24h"\n')
    await desk.texts.take("main", [Inbound("P9", ANNA, OWN, "Hello")])
    for hours, kept in ((23, 1), (25, 0)):
        desk.live.shards[0].now_us = time.time_ns() // 1000 + hours * 3_600_000_000
        await desk.texts.forget()
        assert len(await desk.read()) == kept
