"""
The simulated gateway: a real HTTP server that behaves as E云管家 does, and misbehaves by switch.

In a test: `async with EcloudSimulator.start(callback_url=…) as gateway:`; alone:
`python -m simulators.ecloud --port 9899 --callback-url http://127.0.0.1:8000/api/v1/callback`.
"""

import argparse
import asyncio
import hashlib
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from typing_extensions import override

from simulators.callers import Callers
from simulators.ecloud_acts import Acts
from simulators.ecloud_callbacks import DELIVERY_LIMIT, GROUP_TEXT, Courier, Delivery
from simulators.ecloud_control import ControlPaths
from simulators.ecloud_endpoints import AccountEndpoints, ContactEndpoints
from simulators.ecloud_envelope import Endpoint, Refused
from simulators.ecloud_faults import AFTER_EFFECT, BEFORE_EFFECT, KINDS, STATUS_OF
from simulators.ecloud_media import PLACE, MediaEndpoints
from simulators.ecloud_sends import REVOKE_LIMIT, Sends, SentMessage
from simulators.ecloud_speech import Said, Speech
from simulators.ecloud_world import World
from simulators.faults import FaultSwitches
from simulators.recorder import Record, Recorder
from simulators.serving import Simulator, cut, json_response, run_alone

AUTHORIZATION = "sim-authorization"
#: These answer also for an account that is offline, and say so.
STATE_PATHS = ("/isOnline", "/queryLoginWx")


class EcloudSimulator(Simulator):
    """The gateway; `world`, `faults`, `recorder`, `sent` and `events` are its state."""

    name = "ecloud"

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        authorization: str = AUTHORIZATION,
        callback_url: str | None = None,
        world: World | None = None,
        seed: int | None = None,
        log: Path | None = None,
        login_seconds: float = 0.0,
        delivery_limit: float = DELIVERY_LIMIT,
        revoke_limit: float = REVOKE_LIMIT,
        ping_seconds: float = 15.0,
    ) -> None:
        recorder = Recorder(log)
        faults = FaultSwitches(KINDS, seed)
        super().__init__(host=host, port=port, recorder=recorder, faults=faults)
        self.authorization = authorization
        self.world = World.playground(seed) if world is None else world
        self.courier = Courier(faults, recorder, limit=delivery_limit)
        self.speech = Speech(self.world, self.courier, faults, recorder)
        self.acts = Acts(self.world, self.speech)
        self.events = self.speech.events
        self._sends = Sends(
            self.world,
            faults,
            on_sent=self.speech.heard_sent,
            on_revoked=self.speech.heard_revoked,
            revoke_limit=revoke_limit,
        )
        self._accounts = AccountEndpoints(
            self.world,
            faults,
            authorization=authorization,
            login_seconds=login_seconds,
            on_callback_url=self._use_callback_url,
            on_offline=self.speech.offline_notice,
        )
        self._accounts.callback_url = self.courier.url = callback_url
        self.media = MediaEndpoints(self.world, faults, self.speech.history, self, recorder)
        #: Who hung up behind an answer.
        self.callers = Callers()
        self._endpoints = {
            **self._sends.table(),
            **self._accounts.table(),
            **ContactEndpoints(self.world, faults).table(),
            **self.media.table(),
        }
        self.app.router.add_get(PLACE + "{id}", self.media.serve)
        ControlPaths(self.speech, self.courier, self, ping_seconds).add_to(self.app)
        self.app.router.add_route("*", "/{path:.*}", self._serve)

    @classmethod
    @asynccontextmanager
    async def start(cls, **settings: Any) -> AsyncIterator["EcloudSimulator"]:
        """A running gateway; *settings* are those of the constructor."""
        simulator = cls(**settings)
        await simulator.courier.open()
        try:
            async with simulator.running():
                yield simulator
        finally:
            await simulator.courier.close()

    @property
    def base_url(self) -> str:
        """What a client takes for ECLOUD_BASE_URL."""
        return self.url

    @property
    def sent(self) -> list[SentMessage]:
        """What was sent so far, oldest first; recalled messages stay in it."""
        return list(self._sends.sent)

    @property
    def revoked(self) -> set[int]:
        """newMsgIds of recalled messages."""
        return self._sends.revoked

    @property
    def callback_url(self) -> str | None:
        """Where callbacks go."""
        return self.courier.url

    @callback_url.setter
    def callback_url(self, url: str | None) -> None:
        self._accounts.callback_url = self.courier.url = url

    def say(self, group: str, person: str, text: str, **how: Any) -> Said:
        """A member says something; *how*: mention_bot, mentions, message_type, extra, timestamp, quote."""
        return self.speech.say(group, person, text, **how)

    def send_picture(self, group: str, person: str, data: bytes) -> Said:
        """
        A member sends this very picture, which the gateway keeps for a while.

        Raises:
            NobodyThere: no such group or person.
        """
        name = hashlib.sha256(data).hexdigest()
        said = self.acts.send(group, person, "image", size=len(data), name=name)
        self.media.keep_picture(said.msg_id, data)
        return said

    async def post_raw(
        self, raw: bytes, *, label: str = "raw", content_type: str = "application/json"
    ) -> Delivery:
        """Post any bytes to the callback address."""
        return await self.courier.post_now(raw, label=label, content_type=content_type)

    async def wait_for_sent(self, count: int, seconds: float = 40.0) -> list[SentMessage]:
        """
        Returns what was sent as soon as it is at least *count*.

        Raises:
            TimeoutError: it was less after *seconds*.
        """
        await self.recorder.until(lambda: len(self._sends.sent) >= count, seconds)
        return self.sent

    def rotate(self, wc_id: str | None = None, *, replay: int = 0) -> str:
        """A re-login: the old wId is dead, the last *replay* sayings are posted under the new."""
        account = self.speech.find_account(wc_id)
        account.w_id = self.world.new_w_id()
        self.speech.replay(replay, [account])
        return account.w_id

    def set_online(self, wc_id: str | None, *, online: bool, notice: bool = True) -> None:
        """Log an account out or in; going offline is told by a callback unless *notice* is off."""
        account = self.speech.find_account(wc_id)
        went = account.online and not online
        account.online = online
        if went and notice:
            self.speech.offline_notice(account)

    @override
    def about(self) -> dict[str, Any]:
        return {
            **super().about(),
            "callbackUrl": self.courier.url,
            "groups": len(self.world.groups),
            "accounts": len(self.world.accounts),
            "sent": self.recorder.count("sent"),
            "messageType": GROUP_TEXT,
        }

    def _use_callback_url(self, url: str | None) -> None:
        self.courier.url = url
        if url is not None:
            self.speech.test_push()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        try:
            body = json.loads(raw) if raw.strip() else {}
        except ValueError:
            body = None
        record = self.recorder.open("request", request.path, body=body)
        self.callers.ask(request.transport, record)
        outcome = "failed"
        try:
            outcome, response = await self._answer(request, body, record)
        except asyncio.CancelledError:
            outcome = "stopped" if self.closing.is_set() else "client_left"
            raise
        else:
            return response
        finally:
            self.recorder.close(record, outcome)

    async def _answer(
        self, request: web.Request, body: Any, record: Record
    ) -> tuple[str, web.StreamResponse]:
        """What happened in a word, and the answer."""
        endpoint = self._endpoints.get(request.path)
        if endpoint is None:
            return "http_404", json_response({"status": 404, "error": "Not Found"}, 404)
        if request.method != "POST":
            return "http_405", json_response({"status": 405, "error": "Method Not Allowed"}, 405)
        slow = self.faults.strike("slow", request.path)
        if slow is not None:
            record.facts["fault"] = slow.name
            await asyncio.sleep(slow.value)
        if (early := self.faults.first_of(BEFORE_EFFECT, request.path)) is not None:
            record.facts["fault"] = early.name
            return await self._misbehave(early.name, early.value, request)
        if body is not None and not isinstance(body, dict):
            body = None
        if body is None:
            return "http_400", json_response({"status": 400, "error": "Bad Request"}, 400)
        outcome, envelope = await self._carry_out(endpoint, request, body)
        late = self.faults.first_of(AFTER_EFFECT, request.path) if outcome == "ok" else None
        if late is not None:
            record.facts["fault"] = late.name
            return await self._misbehave(late.name, late.value, request)
        return outcome, json_response(envelope)

    async def _carry_out(
        self, endpoint: Endpoint, request: web.Request, body: dict[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        try:
            if request.path != "/member/login":
                self._check_authorization(request)
            self._check_online(request)
            done = await endpoint(body)
        except Refused as refused:
            return f"1001 {refused}", self._envelope("1001", str(refused), None, request.path)
        data = None if self.faults.strike("data_null", request.path) else done.data
        return "ok", self._envelope("1000", done.message, data, request.path)

    def _check_authorization(self, request: web.Request) -> None:
        if request.headers.get("Authorization") != self.authorization:
            raise Refused("Authorization无效，请重新登录")

    def _check_online(self, request: web.Request) -> None:
        if request.path not in STATE_PATHS and self.faults.strike("offline", request.path):
            raise Refused("账号已离线，请重新登录")

    def _envelope(self, code: str, message: str, data: Any, path: str) -> dict[str, Any]:
        text = "msg" if self.faults.strike("msg_field", path) else "message"
        number = self.faults.strike("code_as_number", path)
        return {"code": int(code) if number else code, text: message, "data": data}

    async def _misbehave(
        self, name: str, seconds: float, request: web.Request
    ) -> tuple[str, web.StreamResponse]:
        if name in ("hang", "sent_but_timeout"):
            if not seconds:
                return name, await self.silence()
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


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="simulators.ecloud", description="E云管家模拟器")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9899, help="0 = 由系统选择")
    parser.add_argument("--callback-url", default=None, help="回调地址")
    parser.add_argument("--authorization", default=AUTHORIZATION, help="要求的 Authorization 原值")
    parser.add_argument("--seed", type=int, default=None, help="随机种子，便于重现")
    parser.add_argument("--log", type=Path, default=None, help="逐行 JSON 记录文件")
    return run_alone(_open, parser.parse_args(argv))


@asynccontextmanager
async def _open(arguments: argparse.Namespace) -> AsyncIterator[Simulator]:
    world = World.playground(arguments.seed)
    world.add_readme_example()
    async with EcloudSimulator.start(
        world=world,
        host=arguments.host,
        port=arguments.port,
        callback_url=arguments.callback_url,
        authorization=arguments.authorization,
        seed=arguments.seed,
        log=arguments.log,
    ) as simulator:
        yield simulator


if __name__ == "__main__":
    sys.exit(main())
