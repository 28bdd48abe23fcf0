"""One call to the simulated gateway: refused, carried out or gone wrong, and what it is answered."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from simulators.callers import Callers
from simulators.ecloud_envelope import Endpoint, Refused
from simulators.ecloud_faults import AFTER_EFFECT, BEFORE_EFFECT, STATUS_OF
from simulators.ecloud_parameters import check
from simulators.ecloud_world import World
from simulators.faults import FaultSwitches
from simulators.recorder import Record, Recorder
from simulators.serving import cut, json_response

#: These answer also for an account that is offline, and say so.
STATE_PATHS = ("/isOnline", "/queryLoginWx")
LOGIN_PATH = "/member/login"


class Calls:
    """
    The gateway's API as HTTP; every call becomes a record.

    What is no call at all is refused by HTTP, as a web server does: 404 unknown path, 405 not POST,
    415 not JSON, 400 no object. All else that is refused is HTTP 200 with code 1001 and a sentence.
    """

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        world: World,
        faults: FaultSwitches,
        recorder: Recorder,
        *,
        authorization: str,
        closing: asyncio.Event,
        silence: Callable[[], Awaitable[web.StreamResponse]],
    ) -> None:
        """
        Args:
            closing: set when the server stops.
            silence: gives no answer until then.
        """
        #: Who hung up behind an answer.
        self.callers = Callers()
        self._endpoints = endpoints
        self._world = world
        self._faults = faults
        self._recorder = recorder
        self._authorization = authorization
        self._closing = closing
        self._silence = silence

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one call."""
        raw = await request.read()
        body = _read(raw)
        record = self._recorder.open("request", request.path, body=body, wcId=self._account(body))
        self.callers.ask(request.transport, record)
        outcome = "failed"
        try:
            outcome, response = await self._answer(request, body, record)
        except asyncio.CancelledError:
            outcome = "stopped" if self._closing.is_set() else "client_left"
            raise
        else:
            return response
        finally:
            self._recorder.close(record, outcome)

    def _account(self, body: Any) -> str:
        """The account whose present login the call names; empty: none."""
        w_id = body.get("wId") if isinstance(body, dict) else None
        account = self._world.account_of(w_id) if isinstance(w_id, str) else None
        return "" if account is None else account.wc_id

    async def _answer(
        self, request: web.Request, body: Any, record: Record
    ) -> tuple[str, web.StreamResponse]:
        """What happened in a word, and the answer."""
        if request.path not in self._endpoints:
            return _no_call(404, "Not Found")
        if request.method != "POST":
            return _no_call(405, "Method Not Allowed")
        slow = self._faults.strike("slow", request.path)
        if slow is not None:
            record.facts["fault"] = slow.name
            await asyncio.sleep(slow.value)
        if (early := self._faults.first_of(BEFORE_EFFECT, request.path)) is not None:
            record.facts["fault"] = early.name
            return await self._misbehave(early.name, early.value, request)
        if await request.read() and request.content_type != "application/json":
            return _no_call(415, "Unsupported Media Type")
        if not isinstance(body, dict):
            return _no_call(400, "Bad Request")
        return await self._carried_out(request, body, record)

    async def _carried_out(
        self, request: web.Request, body: dict[str, Any], record: Record
    ) -> tuple[str, web.StreamResponse]:
        outcome, envelope = await self._carry_out(self._endpoints[request.path], request, body)
        late = self._faults.first_of(AFTER_EFFECT, request.path) if outcome == "ok" else None
        if late is not None:
            record.facts["fault"] = late.name
            return await self._misbehave(late.name, late.value, request)
        return outcome, json_response(envelope)

    async def _carry_out(
        self, endpoint: Endpoint, request: web.Request, body: dict[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        path = request.path
        try:
            if path != LOGIN_PATH:
                self._check_authorization(request)
            self._check_online(path)
            check(path, body)
            done = await endpoint(body)
        except Refused as refused:
            return f"1001 {refused}", self._envelope("1001", str(refused), None, path)
        data = None if self._faults.strike("data_null", path) else done.data
        if self._faults.strike("data_reshaped", path):
            data = _reshaped(data)
        return "ok", self._envelope("1000", done.message, data, path)

    def _check_authorization(self, request: web.Request) -> None:
        if request.headers.get("Authorization") != self._authorization:
            raise Refused("Authorization无效，请重新登录")

    def _check_online(self, path: str) -> None:
        if path not in STATE_PATHS and self._faults.strike("offline", path):
            raise Refused("账号已离线，请重新登录")

    def _envelope(self, code: str, message: str, data: Any, path: str) -> dict[str, Any]:
        text = "msg" if self._faults.strike("msg_field", path) else "message"
        number = self._faults.strike("code_as_number", path)
        return {"code": int(code) if number else code, text: message, "data": data}

    async def _misbehave(
        self, name: str, seconds: float, request: web.Request
    ) -> tuple[str, web.StreamResponse]:
        if name in ("hang", "sent_but_timeout"):
            if not seconds:
                return name, await self._silence()
            await asyncio.sleep(seconds)
            cut(request)
        elif name in ("cut", "sent_but_cut"):
            cut(request)
        elif name == "html":
            return name, web.Response(
                text="<html><body>维护中</body></html>", content_type="text/html"
            )
        status = STATUS_OF.get(name, 500)
        return name, web.Response(text=f"<html>{status}</html>", status=status)


def _read(raw: bytes) -> Any:
    """The body; nothing and null are an empty object, what is no JSON is None."""
    if not raw.strip():
        return {}
    try:
        body = json.loads(raw)
    except ValueError:
        return None
    return {} if body is None else body


def _no_call(status: int, error: str) -> tuple[str, web.StreamResponse]:
    return f"http_{status}", json_response({"status": status, "error": error}, status)


def _reshaped(data: Any) -> Any:
    """The same as a list of one, or out of it."""
    if isinstance(data, dict):
        return [data]
    return data[0] if isinstance(data, list) and len(data) == 1 else data
