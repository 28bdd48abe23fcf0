"""
The simulated Dify: a real HTTP server with the API of two releases, steered by the questions.

In a test: `async with DifySimulator.start(kind="chat") as dify:`; alone:
`python -m simulators.dify --port 5001 --release 1.13.0 --kind chatflow --api-key app-…`.
What a question may order stands in `simulators.dify_script`, what can be set for an app in
`simulators.dify_app`; `POST /_sim/apps` sets it while the server runs. With a real Dify switched on
(`simulators.dify_upstream`) it passes on what it is asked.
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from typing_extensions import override

from simulators.dify_app import App, parsed_settings
from simulators.dify_chat import OnQuestion, Questions
from simulators.dify_concurrency import Concurrency
from simulators.dify_control import AppPaths
from simulators.dify_description import DescriptionPaths
from simulators.dify_endpoint import Endpoint
from simulators.dify_errors import DifyRefused, failing, refused_response
from simulators.dify_faults import KINDS, STATUS_FAULTS
from simulators.dify_paths import StorePaths, json_body, stop_body_user
from simulators.dify_release import Kind, Release, body_json
from simulators.dify_speech import Hearing
from simulators.dify_store import Store
from simulators.dify_upstream import Upstream
from simulators.faults import FaultSwitches
from simulators.recorder import Record, Recorder
from simulators.serving import Simulator, cut, run_alone

API_KEY = "app-simulated"
PING_SECONDS = 10.0
IDLE_SECONDS = 300.0

#: Its answer is the real Dify's, headers and all.
PASSED_ON = web.RequestKey("passed_on", bool)

AppHandler = Callable[[web.Request, App], Awaitable[web.StreamResponse]]


class DifySimulator(Simulator):
    """Dify; `apps`, `store`, `faults`, `recorder` and `concurrency` are its state."""

    name = "dify"

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        release: str = Release.NEW,
        kind: str = Kind.CHAT,
        api_key: str = API_KEY,
        max_active: int = 0,
        connections: int = 0,
        moderated: bool = False,
        app: Mapping[str, Any] | None = None,
        pace: float = 0.0,
        ping_seconds: float = PING_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        name_seconds: float = 1.0,
        seed: int | None = None,
        log: Path | None = None,
    ) -> None:
        recorder = Recorder(log)
        faults = FaultSwitches(KINDS, seed)
        super().__init__(host=host, port=port, recorder=recorder, faults=faults)
        self.release = Release(release)
        self.api_key = api_key
        self.apps: dict[str, App] = {}
        self.default_app = self.add_app(
            api_key, kind, max_active=max_active, moderated=moderated, **(app or {})
        )
        self.store = Store()
        self._questions = Questions(
            release=self.release,
            store=self.store,
            faults=faults,
            closing=self.closing,
            pace=pace,
            ping_seconds=ping_seconds,
            idle_seconds=idle_seconds,
            name_seconds=name_seconds,
            connections=connections,
        )
        self.uploads = self._questions.uploads
        self.hearing = Hearing(self.release)
        AppPaths(self.apps, self.set_app).add_to(self.app)
        self._upstream = Upstream()
        self._upstream.add_to(self.app)
        self._add_routes(StorePaths(self.release, self.store), DescriptionPaths(self.release))
        self.app.on_response_prepare.append(self._add_headers)

    @classmethod
    @asynccontextmanager
    async def start(cls, **settings: Any) -> AsyncIterator["DifySimulator"]:
        """A running Dify; *settings* are those of the constructor."""
        simulator = cls(**settings)
        try:
            async with simulator.running():
                yield simulator
        finally:
            await simulator._questions.errands.cancel()  # its own part

    @property
    def base_url(self) -> str:
        """What a client takes for DIFY_BASE_URL."""
        return f"{self.url}/v1"

    @property
    def concurrency(self) -> Concurrency:
        """How many questions are and were answered at a time."""
        return self._questions.concurrency

    def hear_questions(self, listener: OnQuestion | None) -> None:
        """Have somebody told of each question before it is answered."""
        self._questions.on_question = listener

    def add_app(self, key: str, kind: str, **settings: Any) -> App:
        """
        Another app under its own key; *settings* are those of `simulators.dify_app`.

        Raises:
            BadSetting: one of them is unknown or makes no sense.
        """
        app = App(key=key, **parsed_settings({**settings, "kind": kind}))
        self.apps[key] = app
        return app

    def set_app(self, key: str, settings: Mapping[str, Any]) -> App:
        """
        Change the app of a key, or add one, a chat unless it is said; all or nothing.

        Raises:
            BadSetting: a setting is unknown or makes no sense.
        """
        app = self.apps.get(key)
        if app is None:
            return self.add_app(key, **{"kind": Kind.CHAT, **settings})
        app.change(settings)
        return app

    def questions(self) -> list[Record]:
        """The requests so far to the endpoints that take questions, oldest first."""
        names = {f"POST {endpoint.value}" for endpoint in Endpoint}
        return [record for record in self.recorder.of("request") if record.name in names]

    @override
    def about(self) -> dict[str, Any]:
        return {
            **super().about(),
            "baseUrl": self.base_url,
            "release": self.release.value,
            "kind": self.default_app.kind.value,
            "apps": len(self.apps),
            "conversations": len(self.store),
            "active": self.concurrency.active,
            "maxActive": self.concurrency.max_active,
            "maxOfOneUser": max(self.concurrency.max_by_user.values(), default=0),
            "overlaps": len(self.concurrency.overlaps),
        }

    def _add_routes(self, paths: StorePaths, description: DescriptionPaths) -> None:
        def add(method: str, path: str, handler: AppHandler) -> None:
            async def serve(request: web.Request, app: App, _record: Record) -> Outcome:
                response = await handler(request, app)
                return f"http_{response.status}", response

            self.app.router.add_route(method, path, self._guarded(serve))

        for endpoint in Endpoint:
            ask, stop = partial(self._ask, endpoint), partial(self._stop, endpoint)
            self.app.router.add_post(endpoint.value, self._guarded(ask))
            self.app.router.add_post(endpoint.stop_path, self._guarded(stop))
        add("GET", "/v1/messages", paths.messages)
        add("GET", "/v1/messages/{id}/suggested", paths.suggested)
        feedback = partial(self._rate, paths)
        self.app.router.add_post("/v1/messages/{id}/feedbacks", self._guarded(feedback))
        add("GET", "/v1/conversations", paths.conversations)
        add("DELETE", "/v1/conversations/{id}", paths.delete_conversation)
        add("GET", "/v1/workflows/run/{id}", paths.run)
        add("POST", "/v1/files/upload", self.uploads.upload)
        add("POST", "/v1/audio-to-text", self.hearing.transcribe)
        add("GET", "/v1/info", description.info)
        add("GET", "/v1/parameters", description.parameters)
        if self.release is Release.NEW:
            waiting = self._questions.human_input
            add("GET", "/v1/form/human_input/{token}", waiting.form)
            add("POST", "/v1/form/human_input/{token}", waiting.submit)
            add("GET", "/v1/workflow/{run}/events", waiting.events)
        if self.release is Release.OLD:
            self.app.router.add_get("/v1/", self._welcome)
        self.app.router.add_route("*", "/{path:.*}", self._nowhere)

    def _guarded(self, serve: "Serve") -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Record, misbehave, check the key, serve; errors become their bodies."""

        async def handle(request: web.Request) -> web.StreamResponse:
            record = self.recorder.open("request", f"{request.method} {request.path}")
            outcome = "failed"
            try:
                outcome, response = await self._attempt(serve, request, record)
            except DifyRefused as refused:
                outcome = f"http_{refused.status} {refused.code}"
                response = refused_response(self.release, refused)
            except ConnectionError:
                outcome = "client_left"
                response = web.Response(status=500)
            except asyncio.CancelledError:
                outcome = "stopped" if self.closing.is_set() else "client_left"
                raise
            finally:
                self.recorder.close(record, outcome, client_left=outcome == "client_left")
            return response

        return handle

    async def _attempt(self, serve: "Serve", request: web.Request, record: Record) -> "Outcome":
        if broken := self.faults.first_of(("down", "cut"), request.path):
            record.facts["fault"] = broken.name
            cut(request)
            return "cut", web.Response(status=500)
        if latency := self.faults.strike("latency", request.path):
            record.facts["fault"] = latency.name
            await asyncio.sleep(latency.value)
        if self.faults.strike("hang", request.path):
            record.facts["fault"] = "hang"
            return "hang", await self.silence()
        if status := self.faults.first_of(STATUS_FAULTS, request.path):
            record.facts["fault"] = status.name
            response = failing(self.release, int(status.name.removeprefix("http_")))
            if status.value:
                response.headers["Retry-After"] = f"{status.value:g}"
            return status.name, response
        if self._upstream.goes_round(request):
            return "goes_round", web.Response(status=508)
        app = self._app_of(request)
        if self._upstream.is_on:
            return await self._forward(request, record)
        return await serve(request, app, record)

    async def _forward(self, request: web.Request, record: Record) -> "Outcome":
        record.facts["upstream"] = True
        request[PASSED_ON] = True
        try:
            response = await self._upstream.forward(request)
        except (aiohttp.ClientError, TimeoutError):
            return "http_502", failing(self.release, 502)
        return f"http_{response.status}", response

    def _app_of(self, request: web.Request) -> App:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise DifyRefused(
                401,
                "unauthorized",
                "Authorization header must be provided and start with 'Bearer'",
            )
        app = self.apps.get(key.strip())
        if app is None:
            raise DifyRefused(401, "unauthorized", "Access token is invalid")
        return app

    async def _ask(
        self, endpoint: Endpoint, request: web.Request, app: App, record: Record
    ) -> "Outcome":
        if request.content_type != "application/json":
            raise DifyRefused(
                415,
                "unsupported_media_type",
                "Did not attempt to load JSON data because the request Content-Type was not "
                "'application/json'.",
            )
        try:
            body = await request.json()
        except ValueError as error:
            raise DifyRefused(400, "bad_request", "Failed to decode JSON object") from error
        return await self._questions.serve(endpoint, request, app, body, record)

    async def _rate(
        self, paths: StorePaths, request: web.Request, app: App, record: Record
    ) -> "Outcome":
        body = await json_body(request)
        told = {name: body.get(name) for name in ("user", "rating", "content")}
        record.facts |= {"message_id": request.match_info["id"], **told}
        response = await paths.feedback(request, app)
        return f"http_{response.status}", response

    async def _stop(
        self, endpoint: Endpoint, request: web.Request, app: App, _record: Record
    ) -> "Outcome":
        endpoint.admit(app.kind)
        self._questions.stop(request.match_info["task"], await stop_body_user(request))
        body = body_json(self.release, {"result": "success"})
        return "ok", web.Response(body=body, headers={"Content-Type": "application/json"})

    async def _welcome(self, _request: web.Request) -> web.Response:
        told = {"welcome": "Dify OpenAPI", "api_version": "v1", "server_version": self.release}
        body = body_json(self.release, told)
        return web.Response(body=body, headers={"Content-Type": "application/json"})

    async def _nowhere(self, request: web.Request) -> web.Response:
        self.recorder.note("request", f"{request.method} {request.path}", "http_404")
        return failing(self.release, 404)

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        if request.path.startswith("/_sim/") or request.get(PASSED_ON):
            return
        response.headers["Server"] = "gunicorn"
        response.headers["X-Version"] = self.release.value
        response.headers["X-Env"] = "PRODUCTION"
        if response.content_type == "text/html":
            return
        response.headers["Access-Control-Allow-Origin"] = "*"
        if self.release is Release.NEW:
            response.headers["Access-Control-Expose-Headers"] = "X-Env, X-Trace-Id, X-Version"


Outcome = tuple[str, web.StreamResponse]
Serve = Callable[[web.Request, App, Record], Awaitable[Outcome]]


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="simulators.dify", description="Dify 模拟器")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5001, help="0 = 由系统选择")
    parser.add_argument("--release", default="1.13.0", choices=[one.value for one in Release])
    parser.add_argument("--kind", default="chat", choices=[one.value for one in Kind])
    parser.add_argument("--api-key", default=API_KEY, help="应用的密钥")
    parser.add_argument("--max-active", type=int, default=0, help="应用的并发上限，0 = 不限")
    parser.add_argument(
        "--connections", type=int, default=0, help="同时接待的连接，多的等着；0 = 不限"
    )
    parser.add_argument("--pace", type=float, default=0.04, help="两段增量之间的秒数")
    parser.add_argument("--seed", type=int, default=None, help="随机种子，便于重现")
    parser.add_argument("--log", type=Path, default=None, help="逐行 JSON 记录文件")
    return run_alone(_open, parser.parse_args(argv))


@asynccontextmanager
async def _open(arguments: argparse.Namespace) -> AsyncIterator[Simulator]:
    async with DifySimulator.start(**vars(arguments)) as simulator:
        yield simulator


if __name__ == "__main__":
    sys.exit(main())
