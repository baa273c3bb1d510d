"""Every path of the API, in one table: what it takes, what it answers, who may ask, and which verb does it.

Never does anything itself: api.py asks by it, and api_openapi.py tells of it.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta

from smsd.control.dead import Letter, Page, Redriven
from smsd.control.limits import Limits
from smsd.control.standing import Standing
from smsd.shell.api_admit import Outcome
from smsd.shell.api_dead import DeadQuery, DeadShow, DeadWanted, Purged
from smsd.shell.api_messages import Cancelled, FindQuery, FoundAll, MessageShown
from smsd.shell.api_route import Route
from smsd.shell.api_routes_hooks import HOOK_ROUTES
from smsd.shell.api_routes_optouts import OPT_OUT_ROUTES
from smsd.shell.api_steering import CancelDone, Cancels, CancelWanted, Changed, Pauses, PauseWanted, Which
from smsd.shell.api_tenants import Settings, TenantMade, TenantSettings, TenantShown

MESSAGES, PAUSES, CANCELS = "/v1/messages", "/v1/pauses", "/v1/cancels"
TENANTS, TENANT_PATH = "/v1/tenants", "/v1/tenants/{tenant}"
LARGE_MAX = 4 * 1024 * 1024  # bytes of a list: 4 KB for each of a thousand

ROUTES: tuple[Route, ...] = (
    Route(
        name="sendMessages",
        method="POST",
        path=MESSAGES,
        verb=lambda api, call: api.messages.send(call.key, call.request),
        summary="Send messages, one or up to 1,000; or cancel some",
        told="Each element of an array succeeds or fails by itself: the answer has one outcome for each, in order. "
        "What is answered with 202 is durable, as [store] durability has it, and can be read at once. An id that "
        "was used before is taken once: the repeat changes nothing. Give every message an `id`, or the request an "
        "`Idempotency-Key`: without, a repeat after a lost answer is another message. Where the store goes away "
        "half-way, the elements that it did not tell of are `unsure` or `not_tried`: send these again, by their ids.",
        answers={202: Outcome | list[Outcome]},
        problems=(408, 409, 413, 415, 422, 429, 500),
        body=list[Outcome],
        raw=True,
        large=True,
    ),
    Route(
        name="showMessage",
        method="GET",
        path="/v1/tenants/{tenant}/messages/{id}",
        verb=lambda api, call: api.messages.show(call.path["tenant"], call.path["id"]),
        summary="Tell the story of one message",
        told="Its state, what holds it now and until when (an estimate says that it is one), where its time went, and "
        "its whole history, until [retention] messages after its end.",
        answers={200: MessageShown},
    ),
    Route(
        name="findMessages",
        method="GET",
        path="/v1/tenants/{tenant}/messages",
        verb=lambda api, call: api.messages.find(call.path["tenant"], call.query),
        summary="Find the messages to a recipient",
        told="The newest first.",
        answers={200: FoundAll},
        query=FindQuery,
    ),
    Route(
        name="cancelMessage",
        method="POST",
        path="/v1/tenants/{tenant}/messages/{id}/cancel",
        verb=lambda api, call: api.messages.cancel(call.path["tenant"], call.path["id"]),
        summary="Cancel one message",
        told="200: it will not leave (also when asked again). 202: it is just leaving, and ends cancelled if it turns "
        "out not to have been taken; or it is not known yet, and ends cancelled when it comes. 409: it has left, "
        "or has ended.",
        answers={200: Cancelled, 202: Cancelled},
        problems=(409,),
    ),
    Route(
        name="showTenant",
        method="GET",
        path=TENANT_PATH,
        verb=lambda api, call: api.tenants.show(call.path["tenant"]),
        summary="Show a tenant's settings",
        told="What was made for it by command or API, and what holds for it.",
        answers={200: TenantShown},
        tag="tenants",
    ),
    Route(
        name="putTenant",
        method="PUT",
        path=TENANT_PATH,
        verb=lambda api, call: api.tenants.put(call.path["tenant"], call.body),
        summary="Make a tenant's settings",
        told="In the place of what was made for it before, over the file's and the plan's. In force in every process "
        "within a second; what is queued goes on under them.",
        answers={200: TenantShown},
        problems=(415, 422),
        body=dict[str, Any],
        asked=Settings,
        admin=True,
        tag="tenants",
    ),
    Route(
        name="putTenants",
        method="PUT",
        path=TENANTS,
        verb=lambda api, call: api.tenants.put_many(call.body),
        summary="Make the settings of up to 1,000 tenants",
        told="Each element succeeds or fails by itself, as a PUT of that tenant would: the answer has one outcome for "
        "each, in order. After a 503 some may have been made; the same request again is harmless.",
        answers={200: list[TenantMade]},
        problems=(415,),
        body=Annotated[list[Any], Meta(min_length=1, max_length=1000)],
        asked=Annotated[list[TenantSettings], Meta(min_length=1, max_length=1000)],
        large=True,
        admin=True,
        tag="tenants",
    ),
    Route(
        name="dropTenant",
        method="DELETE",
        path=TENANT_PATH,
        verb=lambda api, call: api.tenants.drop(call.path["tenant"]),
        summary="Drop what was made for a tenant",
        told="No message is dropped: what was taken goes on under the file's or the default settings.",
        answers={204: None},
        admin=True,
        tag="tenants",
    ),
    Route(
        name="showLimits",
        method="GET",
        path="/v1/tenants/{tenant}/limits",
        verb=lambda api, call: api.tenants.limits(call.path["tenant"]),
        summary="Show how a tenant's limits stand",
        told="What each is, where it comes from, how much is used, who waits at it, and which binds now.",
        answers={200: Limits},
        tag="tenants",
    ),
    *HOOK_ROUTES,
    *OPT_OUT_ROUTES,
    Route(
        name="showStatus",
        method="GET",
        path="/v1/status",
        verb=lambda api, _: api.steering.status(),
        summary="Show how smsd stands",
        told="What waits, what is in flight, which config holds where, who works, who reads, and the store's memory.",
        answers={200: Standing},
        admin=True,
        tag="steering",
    ),
    Route(
        name="listPauses",
        method="GET",
        path=PAUSES,
        verb=lambda api, _: api.steering.pauses(),
        summary="List the pauses",
        told="Those that hold now, with who set them, when and why.",
        answers={200: Pauses},
        admin=True,
        tag="steering",
    ),
    Route(
        name="pause",
        method="POST",
        path=PAUSES,
        verb=lambda api, call: api.steering.pause(call.key, call.body),
        summary="Pause",
        told="A tenant, a class, a tenant's campaign, a sender, a provider, or all.",
        answers={200: Changed},
        problems=(415, 422),
        body=PauseWanted,
        admin=True,
        tag="steering",
    ),
    Route(
        name="resume",
        method="DELETE",
        path=PAUSES,
        verb=lambda api, call: api.steering.resume(call.query),
        summary="Resume",
        told="What is meant is named as it was paused.",
        answers={200: Changed},
        problems=(422,),
        query=Which,
        admin=True,
        tag="steering",
    ),
    Route(
        name="listCancels",
        method="GET",
        path=CANCELS,
        verb=lambda api, _: api.steering.cancels(),
        summary="List the cancels of many",
        told="Those of tenants, classes and campaigns, and whether every message has its event.",
        answers={200: Cancels},
        admin=True,
        tag="steering",
    ),
    Route(
        name="cancelMany",
        method="POST",
        path=CANCELS,
        verb=lambda api, call: api.steering.cancel(call.key, call.body),
        summary="Cancel a tenant's, a class's or a campaign's messages",
        told="Nothing of it leaves from now on, and each message gets its event. A campaign's holds for what comes "
        "later too, until it is lifted.",
        answers={200: CancelDone},
        problems=(415, 422),
        body=CancelWanted,
        admin=True,
        tag="steering",
    ),
    Route(
        name="liftCancel",
        method="DELETE",
        path=CANCELS,
        verb=lambda api, call: api.steering.lift(call.query),
        summary="Lift a cancel",
        told="What comes from now on is sent; what was cancelled stays so.",
        answers={200: Changed},
        problems=(422,),
        query=Which,
        admin=True,
        tag="steering",
    ),
    Route(
        name="listDead",
        method="GET",
        path="/v1/dead",
        verb=lambda api, call: api.dead.list(call.query),
        summary="List dead letters",
        told="Entries of the streams that could not be taken, the oldest first, without what they say to whom. The "
        "`next` of a page is the `after` of the one behind it; an empty one says that there is none. A page may have "
        "few entries, or none, and still a next one: no more than 10,000 entries of a shard are read for it.",
        answers={200: Page},
        query=DeadQuery,
        admin=True,
        tag="dead letters",
    ),
    Route(
        name="showDead",
        method="GET",
        path="/v1/dead/{entry}",
        verb=lambda api, call: api.dead.show(call.path["entry"], call.query),
        summary="Show one dead letter whole",
        told="By its id; where there are several shards, `@` and the shard tell which is meant. Fields that may tell "
        "to whom it goes or what it says are shown to who asks with `private`, else only how long they are.",
        answers={200: Letter},
        query=DeadShow,
        admin=True,
        tag="dead letters",
    ),
    Route(
        name="redriveDead",
        method="POST",
        path="/v1/dead/redrive",
        verb=lambda api, call: api.dead.redrive(call.body),
        summary="Put dead letters back into their inbox",
        told="Each in the step that takes it off the dead, so that none is lost or doubled.",
        answers={200: Redriven},
        problems=(415, 422),
        body=DeadWanted,
        admin=True,
        tag="dead letters",
    ),
    Route(
        name="purgeDead",
        method="POST",
        path="/v1/dead/purge",
        verb=lambda api, call: api.dead.purge(call.body),
        summary="Forget dead letters",
        told="For good.",
        answers={200: Purged},
        problems=(415, 422),
        body=DeadWanted,
        admin=True,
        tag="dead letters",
    ),
)


OF_PATH: Mapping[str, Mapping[str, Route]] = {
    one.path: {route.method: route for route in ROUTES if route.path == one.path} for one in ROUTES
}
"""Path -> method -> route."""
