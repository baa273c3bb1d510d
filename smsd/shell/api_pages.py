"""The reference page of the API at /docs, with all that it needs: it works without the internet, and without a key.

Never lets the page run or load anything that is not ours: its policy allows no inline script and no other host. The
viewer is swagger-ui 5.35.0 (swagger-ui-dist; reference/LICENSE), kept compressed as it is served.
"""

import gzip
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources

from smsd.shell.api_openapi import document
from smsd.shell.server import Request, Response

_FOLDER = "reference"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SAFE = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", _POLICY),
)
_A_DAY = ("Cache-Control", "public, max-age=86400")

Page = Callable[[Request], Response]


def page(path: str) -> Page | None:
    """Who answers this path, if one of these pages is meant."""
    return PAGES.get(path)


def _openapi(_: Request) -> Response:
    return Response(200, (("Content-Type", "application/json"), *_SAFE), document())


def _file(name: str, kind: str) -> Page:
    def serve(_: Request) -> Response:
        return Response(200, (("Content-Type", kind), *_SAFE), _read(name))

    return serve


def _packed(name: str, kind: str) -> Page:
    def serve(request: Request) -> Response:
        headers = (("Content-Type", kind), ("Vary", "Accept-Encoding"), _A_DAY, *_SAFE)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(200, (("Content-Encoding", "gzip"), *headers), _read(name))
        return Response(200, headers, gzip.decompress(_read(name)))

    return serve


@cache
def _read(name: str) -> bytes:
    return (resources.files("smsd.shell") / _FOLDER / name).read_bytes()


PAGES: Mapping[str, Page] = {
    "/openapi.json": _openapi,
    "/docs": _file("index.html", "text/html; charset=utf-8"),
    "/docs/start.js": _file("start.js", "text/javascript; charset=utf-8"),
    "/docs/swagger-ui-bundle.js": _packed("swagger-ui-bundle.js.gz", "text/javascript; charset=utf-8"),
    "/docs/swagger-ui.css": _packed("swagger-ui.css.gz", "text/css; charset=utf-8"),
}
