"""The API under /v1: finds the route, checks the key and the form of a request, and hands it to the verb.

Never knows what a verb does, and never lets a failure of the store out as anything but "come again".
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec
from redis.exceptions import RedisError
from structlog.typing import FilteringBoundLogger

from smsd.shell import api_pages
from smsd.shell.api_admit import Admission
from smsd.shell.api_dead import DeadVerbs
from smsd.shell.api_hooks import HookVerbs
from smsd.shell.api_keys import Keyring
from smsd.shell.api_messages import Messages, unknown_message
from smsd.shell.api_optouts import OptOutVerbs
from smsd.shell.api_problems import Fault, Refused, problem, refused, unreadable
from smsd.shell.api_route import Call, Route, pattern
from smsd.shell.api_routes import LARGE_MAX, OF_PATH
from smsd.shell.api_steering import Steering
from smsd.shell.api_tenants import TenantVerbs
from smsd.shell.live import Live
from smsd.shell.metrics import Metrics
from smsd.shell.server import BODY_MAX, Answer, Reply, Request, Response
from smsd.store.shard import ClockDiffers

if TYPE_CHECKING:
    from smsd.shell.traces import Traces

_PATTERNS = [(pattern(path), methods) for path, methods in OF_PATH.items()]


class Api:
    """The API of this process. `handle` and `room` are the server's."""

    def __init__(
        self,
        live: Live,
        metrics: Metrics,
        log: FilteringBoundLogger,
        *,
        nudge: Callable[[str], None],
        sheds: Callable[[int], frozenset[str]],
        traces: "Traces | None" = None,
    ) -> None:
        self.keys = Keyring(live, log)
        self.messages = Messages(live, Admission(live, metrics, nudge, sheds, traces))
        self.tenants = TenantVerbs(live)
        self.hooks = HookVerbs(live)
        self.steering = Steering(live)
        self.dead = DeadVerbs(live)
        self.opt_outs = OptOutVerbs(live, metrics)

    def room(self, method: str, target: str, headers: Mapping[str, str]) -> int:
        """A stranger's body is not worth reading."""
        route = _find(target.partition("?")[0])[0].get(method)
        large = route is not None and route.large and self.keys.key(headers) is not None
        return LARGE_MAX if large else BODY_MAX

    def handle(self, request: Request, reply: Reply) -> Answer:
        """Answers whatever path it is; `reply` is not used."""
        path, _, query = request.target.partition("?")
        page = api_pages.page(path)
        if page is not None:
            return page(request) if request.method in ("GET", "HEAD") else _not_allowed(("GET",))
        methods, values = _find(path)
        if not methods:
            return problem(404, "there is no such path: /openapi.json and /docs tell of those that there are")
        method = "GET" if request.method == "HEAD" else request.method
        route = methods.get(method)
        if route is None:
            return _not_allowed(methods)
        key = self.keys.key(request.headers)
        if key is None:
            why = "a key of [http.api_keys] is wanted: Authorization: Bearer KEY"
            return problem(401, why, headers=(("WWW-Authenticate", 'Bearer realm="smsd"'),))
        if request.unread:
            return _unread(request.unread, LARGE_MAX if route.large else BODY_MAX)
        if route.admin and not key.all_tenants:
            return problem(403, 'this is for keys of all tenants: tenants = ["*"]')
        if "tenant" in values and not key.may(values["tenant"]):
            return unknown_message()
        try:
            asked = Call(key, request, values, _query(route, query), _body(route, request))
        except Refused as refusal:
            return refusal.response
        return _guarded(route.verb(self, asked))


async def _guarded(work: Coroutine[Any, Any, Response]) -> Response:
    try:
        return await work
    except Refused as refusal:
        return refusal.response
    except (RedisError, OSError, ClockDiffers):
        return problem(503, "the store does not answer")


def _find(path: str) -> tuple[Mapping[str, Route], Mapping[str, str]]:
    """The methods of a path, and the values in it; none for a path that is not there."""
    if "%" in path:  # an encoded slash is none of the path's, and of no value either
        path = unquote(path.replace("%2F", "?").replace("%2f", "?"))
    for one, methods in _PATTERNS:
        if match := one.fullmatch(path):
            return methods, match.groupdict()
    return {}, {}


def _query(route: Route, query: str) -> msgspec.Struct | None:
    """Raises Refused."""
    known = route.query.__struct_encode_fields__ if route.query is not None else ()
    given: dict[str, str] = {}
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        name = unquote(name)
        if name not in known or name in given:
            what = f"the query takes {', '.join(known) or 'nothing'}" + (", each once" if known else "")
            raise refused(400, what, Fault("", "bad_request", what))
        given[name] = unquote(value)  # + is a plus here: numbers begin with it
    if route.query is None:
        return None
    try:
        return msgspec.convert(given, route.query, strict=False)
    except msgspec.ValidationError as error:
        what = unreadable(error)
        where = what.pointer.removeprefix("/")
        detail = f"query{f' {where}' if where else ''}: {what.detail}"
        raise refused(400, detail, Fault("", "bad_request", detail)) from None


def _body(route: Route, request: Request) -> Any:
    """Raises Refused."""
    if route.body is None:
        return None
    kind, _, _ = request.headers.get("content-type", "").partition(";")
    if kind.strip().lower() != route.takes:
        raise refused(415, f"the body has to be {route.takes.partition('/')[2].upper()}: Content-Type: {route.takes}")
    if route.raw:
        return None
    try:
        return msgspec.json.decode(request.body, type=route.body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        what = unreadable(error)
        raise refused(400, "the body is not what this path takes", what) from None


def _not_allowed(methods: Mapping[str, Route] | tuple[str, ...]) -> Response:
    allowed = [*methods, *(["HEAD"] if "GET" in methods else [])]
    return problem(405, "this path takes other methods", headers=(("Allow", ", ".join(allowed)),))


def _unread(status: int, most: int) -> Response:
    why = f"the body is larger than {most} bytes" if status == 413 else "the body did not arrive in time"
    return problem(status, why)
