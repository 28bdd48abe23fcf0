"""
The simulated gateway: a real HTTP server that behaves as E云管家 does, and misbehaves by switch.

In a test: `async with EcloudSimulator.start(callback_url=…) as gateway:`; alone:
`python -m simulators.ecloud --port 9899 --callback-url http://127.0.0.1:8000/api/v1/callback`.
"""

import argparse
import hashlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from typing_extensions import override

from simulators.ecloud_acts import Acts
from simulators.ecloud_callbacks import GROUP_TEXT
from simulators.ecloud_calls import Calls
from simulators.ecloud_control import ControlPaths
from simulators.ecloud_courier import DELIVERY_LIMIT, RETRY_SECONDS, Courier, Delivery
from simulators.ecloud_endpoints import AccountEndpoints, ContactEndpoints
from simulators.ecloud_faults import KINDS
from simulators.ecloud_gaps import Gaps, measure
from simulators.ecloud_media import PLACE, MediaEndpoints
from simulators.ecloud_sends import MOST_LETTERS, REVOKE_LIMIT, Sends, SentMessage
from simulators.ecloud_speech import Said, Speech
from simulators.ecloud_world import Account, World
from simulators.faults import FaultSwitches
from simulators.recorder import Recorder
from simulators.serving import Simulator, run_alone

AUTHORIZATION = "sim-authorization"


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
        retry_seconds: float = RETRY_SECONDS,
        revoke_limit: float = REVOKE_LIMIT,
        most_letters: int = MOST_LETTERS,
        ping_seconds: float = 15.0,
    ) -> None:
        recorder = Recorder(log)
        faults = FaultSwitches(KINDS, seed)
        super().__init__(host=host, port=port, recorder=recorder, faults=faults)
        self.authorization = authorization
        self.world = World.playground(seed) if world is None else world
        self.courier = Courier(faults, recorder, limit=delivery_limit, retry_seconds=retry_seconds)
        self.speech = Speech(self.world, self.courier, faults, recorder)
        self.acts = Acts(self.world, self.speech)
        self.events = self.speech.events
        self._sends = Sends(
            self.world,
            faults,
            on_sent=self.speech.heard_sent,
            on_revoked=self.speech.heard_revoked,
            revoke_limit=revoke_limit,
            most_letters=most_letters,
        )
        self._accounts = AccountEndpoints(
            self.world,
            faults,
            authorization=authorization,
            login_seconds=login_seconds,
            on_callback_url=self._use_callback_url,
            on_login=self._replay_after_login,
            on_offline=self.speech.offline_notice,
        )
        self._accounts.callback_url = self.courier.url = callback_url
        self.media = MediaEndpoints(self.world, faults, self.speech.history, self, recorder)
        self._endpoints = {
            **self._sends.table(),
            **self._accounts.table(),
            **ContactEndpoints(self.world, faults).table(),
            **self.media.table(),
        }
        self._calls = Calls(
            self._endpoints,
            self.world,
            faults,
            recorder,
            authorization=authorization,
            closing=self.closing,
            silence=self.silence,
        )
        self.callers = self._calls.callers
        self._add_routes(ping_seconds)

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

    def gaps(self, path: str, wc_id: str = "") -> Gaps:
        """
        How far apart the calls of an endpoint came; *path* may be a pattern: ``/send*``.

        With *wc_id* only those that named the login which this account had just then.
        """
        about = {"wcId": wc_id} if wc_id else {}
        return measure(self.recorder.starts(path, **about))

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

    def _add_routes(self, ping_seconds: float) -> None:
        """The first one that fits is taken: the calls, which fit everything, come last."""
        self.app.router.add_get(PLACE + "{id}", self.media.serve)
        ControlPaths(self.speech, self.courier, self, ping_seconds).add_to(self.app)
        self.app.router.add_route("*", "/{path:.*}", self._calls.serve)

    def _replay_after_login(self, account: Account, path: str) -> None:
        if (fault := self.faults.strike("replay", path)) is not None:
            self.speech.replay(int(fault.value) or 1, [account])

    def _use_callback_url(self, url: str | None, *, native: bool) -> None:
        self.courier.url, self.courier.native = url, native
        if url is not None:
            self.speech.test_push()


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
