"""The rows of the table of routes about opt-outs: of a tenant, and for operators of a sender and of all.

Never does anything itself: api_optouts.py has the verbs.
"""

from collections.abc import Callable

from smsd.control.optouts import Whose
from smsd.shell.api_optouts import (
    CSV,
    FILE,
    Closed,
    OptOutFileQuery,
    OptOutQuery,
    OptOutsFound,
    OptOutsGiven,
    OptOutShown,
    OptOutsListed,
    OptOutWanted,
)
from smsd.shell.api_route import Call, Route

ALL = "/v1/opt-outs"
OF_TENANT = "/v1/tenants/{tenant}/opt-outs"
OF_SENDER = "/v1/senders/{sender}/opt-outs"


def _routes(path: str, whose: Callable[[Call], Whose], of: str, what: str, told: str, *, admin: bool) -> list[Route]:
    """Those of one list. `of`: in the names of operations; `what`: people opt out of; `told`: of the list."""
    return [
        Route(
            name=f"list{of}OptOuts",
            method="GET",
            path=path,
            verb=lambda api, call: api.opt_outs.list(whose(call), call.query),
            summary=f"List who has opted out of {what}",
            told=f"In pages: the answer's `after` is the next one's. {told}",
            answers={200: OptOutsFound},
            query=OptOutQuery,
            admin=admin,
            tag="opt-outs",
        ),
        Route(
            name=f"give{of}OptOuts",
            method="POST",
            path=path,
            verb=lambda api, call: api.opt_outs.give(whose(call), call.body),
            summary=f"Close marketing, or all, of {what} to up to 1,000 numbers",
            told="A wider scope that is closed already stays. One number that cannot be one, and nothing is done.",
            answers={200: Closed},
            problems=(415, 422),
            body=OptOutsGiven,
            large=True,
            admin=admin,
            tag="opt-outs",
        ),
        Route(
            name=f"show{of}OptOut",
            method="GET",
            path=f"{path}/{{number}}",
            verb=lambda api, call: api.opt_outs.show(whose(call), call.path["number"]),
            summary=f"Show what is closed to a number of {what}",
            told="404 where nothing is.",
            answers={200: OptOutShown},
            admin=admin,
            tag="opt-outs",
        ),
        Route(
            name=f"put{of}OptOut",
            method="PUT",
            path=f"{path}/{{number}}",
            verb=lambda api, call: api.opt_outs.put(whose(call), call.path["number"], call.body),
            summary=f"Close marketing, or all, of {what} to a number",
            told="In the place of what was closed to it, also of a wider scope. It holds for what is queued too.",
            answers={200: OptOutShown},
            problems=(415, 422),
            body=OptOutWanted,
            admin=admin,
            tag="opt-outs",
        ),
        Route(
            name=f"drop{of}OptOut",
            method="DELETE",
            path=f"{path}/{{number}}",
            verb=lambda api, call: api.opt_outs.drop(whose(call), call.path["number"]),
            summary=f"Open what is closed to a number of {what}",
            told="A provider that has blocked the number itself goes on to refuse it until the person texts START.",
            answers={204: None},
            admin=admin,
            tag="opt-outs",
        ),
    ]


OPT_OUT_ROUTES: tuple[Route, ...] = (
    *_routes(
        OF_TENANT,
        lambda call: Whose(call.path["tenant"]),
        "",
        "a tenant's texts",
        "Those who have opted out of a sender that tenants share are no tenant's, and not here.",
        admin=False,
    ),
    *_routes(
        OF_SENDER,
        lambda call: Whose(sender=call.path["sender"]),
        "Sender",
        "what comes from a sender",
        "`*` is for all messages that leave the sender to a provider.",
        admin=True,
    ),
    Route(
        name="listAllOptOuts",
        method="GET",
        path=ALL,
        verb=lambda api, call: api.opt_outs.list_all(call.query),
        summary="List who has opted out, of all tenants and senders",
        told="In pages, each entry with the tenant or the sender whose list it is on: all that `smsd optout export` "
        "writes.",
        answers={200: OptOutsListed},
        query=OptOutQuery,
        admin=True,
        tag="opt-outs",
    ),
    Route(
        name="exportOptOuts",
        method="GET",
        path=FILE,
        verb=lambda api, call: api.opt_outs.export(call.query),
        summary="Export all lists as CSV",
        told="As `smsd optout export` writes it, in pages that have a header each; a `Link` with rel=next leads to the "
        "next one.",
        answers={200: str},
        query=OptOutFileQuery,
        gives=CSV,
        admin=True,
        tag="opt-outs",
    ),
    Route(
        name="importOptOuts",
        method="POST",
        path=FILE,
        verb=lambda api, call: api.opt_outs.import_(call.request.body),
        summary="Import a CSV of those who have opted out",
        told="As `smsd optout import` reads it: a header with `number`, and any of `scope`, `tenant`, `sender`, `at`; "
        "each line names a tenant or a sender. A wider scope that is closed already stays. One line with a mistake, "
        "and nothing is done: `errors` name the lines.",
        answers={200: Closed},
        problems=(415, 422),
        body=str,
        raw=True,
        takes=CSV,
        large=True,
        admin=True,
        tag="opt-outs",
    ),
)
