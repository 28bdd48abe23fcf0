"""
The real thing as child processes: simulated gateway, simulated Dify and bridge, as the launcher starts them.

Ports are free ones, data lies in the folder given.
"""

import http.client
import json
import sys
import time
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from launch.children import Child
from launch.playground import Plan
from tests.fixtures.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 120.0
STOP_SECONDS = 15.0
PAUSE = 0.05


class Stage:
    """Three programs; the gateway can be taken away and given back."""

    def __init__(self, folder: Path, *, lacks: Collection[str] = (), **settings: str) -> None:
        """
        Args:
            lacks: settings that the bridge is not given.
            settings: more of the bridge's.
        """
        self._lacks = lacks
        self._more = settings
        self.plan = Plan(
            host="127.0.0.1",
            bridge=free_port(),
            gateway=free_port(),
            dify=free_port(),
            authorization="e2e-authorization",
            api_key="app-e2e",
        )
        self._folder = folder
        self._children: dict[str, Child] = {}

    @property
    def address(self) -> str:
        """The playground's page."""
        return self.plan.address

    @property
    def console(self) -> str:
        """The console's page."""
        return self.address.replace("/playground/", "/console/")

    def start(self) -> None:
        """Start all three; returns when the bridge is ready."""
        self.start_gateway()
        self._launch("dify", self.plan.dify_arguments(), {})
        self.start_bridge()
        self._await("dify", self.plan.dify, "/_sim/about")

    def start_bridge(self) -> None:
        """Start the bridge, or the next one in the place of one that was stopped."""
        settings = {
            **self.plan.bridge_settings(),
            "DATABASE_URL": f"sqlite+aiosqlite:///{self._folder / 'bridge.db'}",
            "LOG_DIR": str(self._folder / "logs"),
            "MESSAGE_PROCESSING_RETRY_DELAY": "0.5",
            **self._more,
        }
        given = {name: value for name, value in settings.items() if name not in self._lacks}
        self._launch("bridge", ["main.py"], given)
        self._await("bridge", self.plan.bridge, "/healthz" if self._lacks else "/readyz")

    def stop_bridge(self) -> None:
        """Let the bridge finish its work and end."""
        self._children.pop("bridge").stop(STOP_SECONDS)

    def start_gateway(self) -> None:
        """Start the gateway, or a fresh one in the place of the one that was cut."""
        self._launch("gateway", self.plan.gateway_arguments(), {})
        self._await("gateway", self.plan.gateway, "/_sim/about")

    def start_real_dify(self, key: str) -> str:
        """Start another Dify beside the stage's own; its base URL."""
        port = free_port()
        arguments = ["-m", "simulators.dify", "--port", str(port), "--api-key", key, "--pace", "0"]
        self._launch("real", arguments, {})
        self._await("real", port, "/_sim/about")
        return f"http://127.0.0.1:{port}/v1"

    def cut_gateway(self) -> None:
        """End the gateway at once, without a farewell to anybody."""
        gateway = self._children.pop("gateway")
        gateway.kill()
        gateway.stop(STOP_SECONDS)  # closes the pipe to it

    def read(self, path: str, *, port: int | None = None) -> tuple[int, Any]:
        """GET from the bridge, or from another port: status and JSON, or None if it is none."""
        status, body = _get(self.plan.bridge if port is None else port, path)
        try:
            return status, json.loads(body)
        except ValueError:
            return status, None

    def stop(self) -> None:
        """End all of them, the bridge first."""
        with ExitStack() as stack:
            for child in self._children.values():
                stack.callback(child.stop, STOP_SECONDS)

    def _launch(self, name: str, arguments: list[str], settings: dict[str, str]) -> None:
        self._children[name] = Child.start(
            name,
            arguments,
            python=Path(sys.executable),
            root=ROOT,
            log=self._folder / f"{name}.out",
            settings=settings,
        )

    def _await(self, name: str, port: int, path: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            self._children[name].check()
            try:
                if _get(port, path)[0] == http.client.OK:
                    return
            except OSError:
                pass  # not listening yet
            time.sleep(PAUSE)
        raise AssertionError(f"{name} is not ready:\n{self._children[name].tail()}")


def _get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
