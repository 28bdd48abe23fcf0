"""``/docs`` and ``/openapi.json``: whole without the internet, and true."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import aiohttp
import pytest

from app.api.app import create_app
from app.api.callback import EXAMPLE, callback_router
from app.api.callers import Callers
from app.api.health import HealthView, health_router
from app.api.server import bind, make_server
from app.services.ecloud.callback import parse_callback
from app.services.metrics import Metrics
from app.services.reception import Reception
from app.services.tracing import NoTracer

TOKEN = "abcdefgh-12345678"


@asynccontextmanager
async def served() -> AsyncIterator[str]:
    """The application on a port; gives its address."""
    listener = bind("127.0.0.1", 0)
    listener.listen()
    server = make_server(create_app(version="1.2.3", routers=[]))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
        listener.close()


def schema(*tokens: str) -> dict[str, Any]:
    """What /openapi.json holds; nobody is called."""
    nobody = cast("Any", None)
    routers = [
        health_router(cast("HealthView", nobody)),
        callback_router(
            cast("Reception", nobody), Metrics(version="1"), NoTracer(), tokens, Callers()
        ),
    ]
    return create_app(version="1.2.3", routers=routers).openapi()


async def test_page_and_all_its_files_come_from_this_process_alone() -> None:
    """No address of another host; scripts and connections of this origin only."""
    async with served() as address, aiohttp.ClientSession() as http:
        async with http.get(f"{address}/docs") as response:
            page, policy = await response.text(), response.headers["Content-Security-Policy"]
        named = re.findall(r'(?:src|href)="([^"]+)"', page)
        got = {}
        for name in (one for one in named if not one.startswith("data:")):
            async with http.get(f"{address}/{name}") as response:
                got[name] = (response.status, response.content_type, len(await response.read()))
                assert response.headers["X-Content-Type-Options"] == "nosniff"

    assert not re.search(r"(?:https?:)?//", page)
    assert {status for status, _, _ in got.values()} == {200}
    assert got["docs/swagger-ui.css"][1] == "text/css"
    assert got["docs/swagger-ui-bundle.js"][1].endswith("/javascript")
    assert got["docs/swagger-ui-bundle.js"][2] > 500_000
    assert got["docs/start.js"][1].endswith("/javascript")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert (rules["default-src"], rules["script-src"], rules["connect-src"]) == (
        "'none'",
        "'self'",
        "'self'",
    )


@pytest.mark.parametrize(
    "path", ["/docs/x.js", "/docs/redoc.standalone.js", "/docs/..%2Fcore.py", "/redoc"]
)
async def test_nothing_else_of_the_package_is_served(path: str) -> None:
    """Only the files that the page names."""
    async with (
        served() as address,
        aiohttp.ClientSession() as http,
        http.get(f"{address}{path}") as response,
    ):
        assert response.status == 404


def test_every_route_is_described_with_each_answer_it_gives() -> None:
    """In Chinese; 404 is for whom the settings keep out."""
    paths = schema()["paths"]
    answers = {
        path: set(one["responses"]) for path, methods in paths.items() for one in methods.values()
    }

    assert answers == {
        "/api/v1/callback": {"200", "404", "408", "413", "503"},
        "/api/v1/health": {"200", "503"},
        "/healthz": {"200"},
        "/readyz": {"200", "503"},
        "/metrics": {"200"},
    }
    for methods in paths.values():
        for one in methods.values():
            texts = [one["summary"], *(each["description"] for each in one["responses"].values())]
            assert all(re.search(r"[\u4e00-\u9fff]", text) for text in texts), texts


def test_callback_behind_a_token_is_described_without_the_token() -> None:
    """The parameter is named; its value is nowhere."""
    found = schema(TOKEN)

    [path] = [path for path in found["paths"] if "callback" in path]
    one = found["paths"][path]["post"]
    assert path == "/api/v1/callback/{token}"
    assert [parameter["name"] for parameter in one["parameters"]] == ["token"]
    assert set(one["responses"]) == {"200", "404", "408", "413", "503"}
    assert TOKEN not in json.dumps(found)


def test_example_of_a_callback_is_one() -> None:
    """What the page shows is read as a message of a group."""
    body = schema()["paths"]["/api/v1/callback"]["post"]["requestBody"]
    example = body["content"]["application/json"]["example"]

    message = parse_callback(json.dumps(example).encode())

    assert example == EXAMPLE
    assert type(message).__name__ == "GroupMessage"
