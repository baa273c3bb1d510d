"""The rows of the table of routes about status webhooks: a tenant's own, and all receivers for operators.

Never does anything itself: api_hooks.py has the verbs.
"""

from smsd.control.hooks import HookMade, HookShown
from smsd.control.receivers import Replay
from smsd.shell.api_hooks import Enabled, HookWanted, Receivers, ReplayWanted
from smsd.shell.api_route import Route

HOOK_PATH = "/v1/tenants/{tenant}/status_webhook"
RECEIVERS = "/v1/status_webhooks"

HOOK_ROUTES: tuple[Route, ...] = (
    Route(
        name="showStatusWebhook",
        method="GET",
        path=HOOK_PATH,
        verb=lambda api, call: api.hooks.show(call.path["tenant"]),
        summary="Show a tenant's own status webhook",
        told="Where it is told of its events, and how much waits for it; the secret is not shown.",
        answers={200: HookShown},
        tag="tenants",
    ),
    Route(
        name="putStatusWebhook",
        method="PUT",
        path=HOOK_PATH,
        verb=lambda api, call: api.hooks.put(call.path["tenant"], call.body),
        summary="Set a tenant's own status webhook",
        told="In the place of one that was set before, with a new secret, which is in this answer and in no other; one "
        "that was disabled is told again. Only https, and no address that is not public, at any time.",
        answers={200: HookMade},
        problems=(415, 422),
        body=HookWanted,
        tag="tenants",
    ),
    Route(
        name="dropStatusWebhook",
        method="DELETE",
        path=HOOK_PATH,
        verb=lambda api, call: api.hooks.drop(call.path["tenant"]),
        summary="Drop a tenant's own status webhook",
        told="It is told nothing more, and what waits for it is dropped.",
        answers={204: None},
        tag="tenants",
    ),
    Route(
        name="listReceivers",
        method="GET",
        path=RECEIVERS,
        verb=lambda api, _: api.hooks.receivers(),
        summary="List who is told of events",
        told="The receivers of the config: what waits for each, since when, and who is disabled.",
        answers={200: Receivers},
        admin=True,
        tag="status webhooks",
    ),
    Route(
        name="enableReceiver",
        method="POST",
        path=RECEIVERS + "/{receiver}/enable",
        verb=lambda api, call: api.hooks.enable(call.path["receiver"]),
        summary="Tell a receiver again that answered 410",
        told="From where it stopped, as far as [retention] events goes. `enabled` false: it was not disabled.",
        answers={200: Enabled},
        admin=True,
        tag="status webhooks",
    ),
    Route(
        name="replayEvents",
        method="POST",
        path=RECEIVERS + "/{receiver}/replay",
        verb=lambda api, call: api.hooks.replay(call.path["receiver"], call.body),
        summary="Tell a receiver again what happened since some time",
        told="Only what it is told of anyway. The ids are the same, so that who drops repeats drops these. 409: "
        "another replay to it is under way.",
        answers={200: Replay},
        problems=(409, 415, 422),
        body=ReplayWanted,
        admin=True,
        tag="status webhooks",
    ),
)
