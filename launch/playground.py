"""
The playground: the bridge on its embedded default between two simulators, all on this machine.

Nothing of the operator's is used: no ``.env``, no ``config.json``, no setting of the environment;
data lies in ``data/playground/``.
"""

import contextlib
import http.client
import os
import secrets
import shutil
import sys
import time
import webbrowser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from launch.children import Child
from launch.ports import Lock, browser_host, choose_ports, local_host
from launch.progress import Problem, Progress, say

READY_SECONDS = 90.0
BRIDGE_STOP_SECONDS = 35.0
SIMULATOR_STOP_SECONDS = 5.0
_POLL_SECONDS = 0.1


class Interrupted(BaseException):
    """Ctrl-C, SIGTERM or SIGHUP: a person or the system wants the launcher to end."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Who listens where, and the secrets made up for this run."""

    host: str
    bridge: int
    gateway: int
    dify: int
    authorization: str
    api_key: str

    @classmethod
    def make(cls, *, host: str, port: int | None) -> "Plan":
        """Choose free ports and fresh secrets; raises Problem when *port* is taken."""
        bridge, gateway, dify = choose_ports(host=host, wanted=port, count=3)
        return cls(
            host=host,
            bridge=bridge,
            gateway=gateway,
            dify=dify,
            authorization=secrets.token_hex(16),
            api_key=f"app-{secrets.token_hex(12)}",
        )

    @property
    def address(self) -> str:
        """The playground's page."""
        return f"http://{browser_host(self.host)}:{self.bridge}/playground/"

    def gateway_arguments(self) -> list[str]:
        """Give the fake gateway's command line."""
        callback = f"http://{local_host(self.host)}:{self.bridge}/api/v1/callback"
        listen = ["--host", self.host, "--port", str(self.gateway)]
        secret = ["--authorization", self.authorization]
        return ["-m", "simulators.ecloud", *listen, "--callback-url", callback, *secret]

    def dify_arguments(self) -> list[str]:
        """Give the fake Dify's command line; only the bridge talks to it."""
        listen = ["--host", "127.0.0.1", "--port", str(self.dify)]
        return ["-m", "simulators.dify", *listen, "--api-key", self.api_key]

    def bridge_settings(self) -> dict[str, str]:
        """Give every setting that differs from its default; paths are relative to the project."""
        return {
            "BRIDGE_ENV_FILE": "",
            "BRIDGE_CONFIG_FILE": "",
            "DATABASE_URL": "sqlite+aiosqlite:///./data/playground/bridge.db",
            "REDIS_URL": "embedded://",
            "SERVER_HOST": self.host,
            "SERVER_PORT": str(self.bridge),
            "SERVER_DRAIN_DELAY": "0",
            "LOG_DIR": "data/playground/logs",
            "ECLOUD_BASE_URL": f"http://{local_host(self.host)}:{self.gateway}",
            "ECLOUD_AUTHORIZATION": self.authorization,
            "ECLOUD_SENDS_PER_MINUTE": "0",
            "ECLOUD_SEND_GAP": "0.2",
            "ECLOUD_TARGET_GAP": "0.2",
            "DIFY_BASE_URL": f"http://127.0.0.1:{self.dify}/v1",
            "DIFY_API_KEY": self.api_key,
            "DIFY_STREAMING_ENABLED": "true",
            "PLAYGROUND_ENABLED": "true",
            "PLAYGROUND_GATEWAY_URL": f"http://{browser_host(self.host)}:{self.gateway}",
        }


class Playground:
    """Three programs, started in order and stopped in reverse."""

    def __init__(self, *, root: Path, python: Path, plan: Plan) -> None:
        self.root = root
        self.plan = plan
        self.logs = root / "data" / "playground" / "logs"
        self._python = python
        self._children: list[Child] = []

    def start(self, progress: Progress) -> None:
        """Take the two last steps; returns when the bridge is ready. Raises Problem."""
        plan = self.plan
        progress.step("启动模拟网关和模拟 Dify")
        gateway = self._launch("模拟网关", "gateway.out", plan.gateway_arguments(), {})
        dify = self._launch("模拟 Dify", "dify.out", plan.dify_arguments(), {})
        self._await(progress, gateway, local_host(plan.host), plan.gateway, "")
        self._await(progress, dify, "127.0.0.1", plan.dify, "")
        progress.done(f"模拟网关 :{plan.gateway},模拟 Dify :{plan.dify}")
        progress.step("启动桥(建表、恢复队列、开始监听)")
        bridge = self._launch("桥", "bridge.out", ["main.py"], plan.bridge_settings())
        self._await(progress, bridge, local_host(plan.host), plan.bridge, "/readyz")
        progress.done(f"已就绪 :{plan.bridge}")

    def watch(self) -> None:
        """Stay until a program ends by itself; raises Problem then."""
        while True:
            for child in self._children:
                child.check()
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """Stop the bridge, which finishes its work, then the simulators; a second wish ends all at once."""
        try:
            for child in reversed(self._children):
                bridge = child is self._children[-1]
                child.stop(BRIDGE_STOP_SECONDS if bridge else SIMULATOR_STOP_SECONDS)
        except Interrupted:
            say("立即结束。")
        finally:
            for child in self._children:
                child.kill()

    def _launch(self, name: str, log: str, arguments: list[str], settings: dict[str, str]) -> Child:
        child = Child.start(
            name,
            arguments,
            python=self._python,
            root=self.root,
            log=self.logs / log,
            settings=settings,
        )
        self._children.append(child)
        return child

    def _await(self, progress: Progress, child: Child, host: str, port: int, path: str) -> None:
        """Wait until *port* accepts, or with a *path* until that answers 200."""
        deadline = time.monotonic() + READY_SECONDS
        state = "尚未监听"
        while time.monotonic() < deadline:
            for each in self._children:
                each.check()
            state = _probe(host, port, path)
            if not state:
                return
            progress.moving(f"等待{child.name}:{state}")
            time.sleep(_POLL_SECONDS)
        raise Problem(
            f"{child.name} 在 {READY_SECONDS:.0f} 秒内没有就绪({state})。日志 {child.log} 的结尾:\n{child.tail()}",
        )


def run(
    *, root: Path, python: Path, host: str, port: int | None, browser: bool, progress: Progress
) -> None:
    """Start the playground, say where it is, and stay until it is interrupted. Raises Problem."""
    lock = Lock(root / "data" / "playground" / "start.lock")
    running = lock.take("正在启动")
    if running is not None:
        raise Problem(f"这个目录的演练场已经在运行({running})。要重新启动,先在它的窗口按 Ctrl-C。")
    plan = Plan.make(host=host, port=port)
    playground = Playground(root=root, python=python, plan=plan)
    with _stopping(playground):
        playground.start(progress)
        lock.write(plan.address)
        _announce(plan, root)
        if browser and _has_screen():
            webbrowser.open(plan.address)
        playground.watch()


@contextlib.contextmanager
def _stopping(playground: Playground) -> Iterator[None]:
    try:
        yield
    except Interrupted:
        say("\n正在停止(再按一次 Ctrl-C 立即结束)……")
        playground.stop()
        say("已停止。数据保留在 data/playground/,再次启动只需几秒。")
    finally:
        playground.stop()


def _announce(plan: Plan, root: Path) -> None:
    line = "─" * min(60, shutil.get_terminal_size().columns)
    say(f"{line}\n  演练场已就绪,请在浏览器打开:\n\n      {plan.address}\n")
    if os.environ.get("SSH_CONNECTION") and local_host(plan.host) == "127.0.0.1":
        ports = " ".join(f"-L {p}:127.0.0.1:{p}" for p in (plan.bridge, plan.gateway))
        say(f"  通过 SSH 登录时,先在自己的电脑上执行:ssh {ports} <这台机器>\n")
    say(f"  日志:{root / 'data' / 'playground' / 'logs'}\n  停止:Ctrl-C\n{line}")


def _has_screen() -> bool:
    """On a server without one, ``webbrowser`` would open a text browser over this terminal."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _probe(host: str, port: int, path: str) -> str:
    """Give what is still missing, or nothing when it is there."""
    connection = http.client.HTTPConnection(host.strip("[]"), port, timeout=2)
    try:
        connection.connect()
        if not path:
            return ""
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return "尚未监听"
    finally:
        connection.close()
    return "" if status == http.HTTPStatus.OK else f"{path} 返回 {status}"
