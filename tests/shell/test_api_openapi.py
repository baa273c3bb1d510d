"""The OpenAPI says what the API does: held against the table, and by schemathesis against the API itself."""

import asyncio
import json
from typing import Any

import msgspec
import pytest

from bench.fuzz_api import command
from smsd.core.fields import FAULT_OF
from smsd.shell.api_openapi import document
from smsd.shell.api_routes import ROUTES
from tests.support.site import ALL, Site

EXAMPLES = 2  # of each path, beside the corners of each schema: some 800 requests


@pytest.fixture(scope="module")
def told() -> Any:
    return json.loads(document())


def test_every_route_is_told_with_all_that_it_answers(told: Any) -> None:
    """Each method of the table is there, under a name of its own, with its statuses, and nothing else is."""
    operations = {(path, method): one for path, methods in told["paths"].items() for method, one in methods.items()}
    assert set(operations) == {(route.path, route.method.lower()) for route in ROUTES}
    assert len({one["operationId"] for one in operations.values()}) == len(ROUTES)
    for route in ROUTES:
        one = operations[route.path, route.method.lower()]
        statuses = {int(status) for status in one["responses"]}
        assert statuses >= {*route.answers, *route.problems, 401, 503}
        assert ("404" in one["responses"]) is ("{" in route.path)
        assert ("403" in one["responses"]) is route.admin
        for status, response in one["responses"].items():
            kinds = set(response.get("content", {}))
            assert kinds <= ({route.gives} if int(status) < 400 else {"application/problem+json"})


def test_every_reference_leads_somewhere(told: Any) -> None:
    """A schema that is named is among the components, and each component is named by somebody."""
    text = document().decode()
    names = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names == set(told["components"]["schemas"])


def test_a_message_has_the_fields_of_the_streams(told: Any) -> None:
    """Those of the contract, and the class."""
    fields = set(told["components"]["schemas"]["Message"]["properties"])
    assert fields == {*FAULT_OF, "class"}


@pytest.mark.parametrize("name", ["PauseWanted", "CancelWanted", "DeadWanted"])
def test_a_client_made_from_it_sends_no_empty_names(told: Any, name: str) -> None:
    """What is refused when it is empty is told with no empty default, which such a client would send."""
    fields = told["components"]["schemas"][name]["properties"]
    assert fields["tenant"]["minLength"] == 1
    assert not any(one.get("minLength") and "default" in one for one in fields.values())


async def test_it_is_served_without_a_key(api: Site) -> None:
    """As JSON, the same bytes."""
    got = await api.ask("GET", "/openapi.json", key="")
    assert (got.status, got.headers["Content-Type"], got.body) == (200, "application/json", document())
    assert got.json["openapi"] == "3.1.0"


@pytest.mark.timeout(180)
async def test_no_request_is_answered_by_what_the_openapi_does_not_tell(api: Site, tmp_path: Any) -> None:
    """A small run of `make fuzz-api`: no 5xx, and no status, type, header or shape that is not documented."""
    words = command(api.url, EXAMPLES, seed=1, key=ALL)
    ran = await asyncio.create_subprocess_exec(
        *words, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await ran.communicate()
    assert ran.returncode == 0, said.decode()
    assert "No issues found" in said.decode()
    assert f"{len(ROUTES)} selected / {len(ROUTES)} total" in said.decode()
    assert msgspec.json.encode(api.counted())  # and it went on counting
