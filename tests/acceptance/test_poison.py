"""A message that kills whoever asks about it: buried at last, and its neighbours are answered."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from simulators.dify import API_KEY
from simulators.ecloud import EcloudSimulator
from tests.fixtures.bridge import Bridge
from tests.fixtures.ports import free_port

POISON = "毒"
LIMIT = 2


class DeadlyDify:
    """Answers with the question; at poison it kills the bridge before it says a word."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self.kills = 0

    async def chat(self, request: web.Request) -> web.Response:
        """``POST /v1/chat-messages``, blocking."""
        query = (await request.json())["query"]
        if POISON in query:
            assert self._bridge.process is not None
            self.kills += 1
            os.kill(self._bridge.process.pid, signal.SIGKILL)
            await asyncio.sleep(1)
        return web.json_response(
            {
                "event": "message",
                "task_id": "t-1",
                "id": "m-1",
                "message_id": "m-1",
                "conversation_id": "c-1",
                "mode": "chat",
                "answer": f"答{query}",
                "metadata": {},
                "created_at": 1_760_000_000,
            }
        )

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Runs it; gives its base URL."""
        app, port = web.Application(), free_port()
        app.router.add_post("/v1/chat-messages", self.chat)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            await runner.cleanup()


async def until_dead_or_settled(bridge: Bridge) -> bool:
    """Whether everything is settled; else the process died."""
    assert bridge.process is not None
    while bridge.process.poll() is None:
        open_ones = "SELECT count(*) AS n FROM messages WHERE state NOT IN ('done', 'dead')"
        [row] = await bridge.rows(open_ones)
        if not row["n"]:
            return True
        await asyncio.sleep(0.05)
    return False


async def test_a_message_that_kills_the_process_at_once_is_buried_after_its_crashes(
    idle_bridge: Bridge, gateway: EcloudSimulator
) -> None:
    """Two crashes make it a suspect, two more as the only one bury it; nobody else is."""
    deadly = DeadlyDify(idle_bridge)
    group = next(iter(gateway.world.groups.values()))
    people = [one for one in group.members if one not in gateway.world.accounts]
    async with deadly.serve() as url, asyncio.timeout(90):
        bridge = await idle_bridge.start(DIFY_BASE_URL="")
        for person, text in ((people[0], POISON), (people[1], "甲"), (people[0], "乙")):
            gateway.say(group.group_id, person, text)
        await gateway.courier.idle()
        await bridge.stop()
        bridge.launch(
            DIFY_BASE_URL=url,
            DIFY_API_KEY=API_KEY,
            MESSAGE_PROCESSING_CRASH_LIMIT=str(LIMIT),
            MESSAGE_PROCESSING_LEASE="2",
        )
        while not await until_dead_or_settled(bridge):
            bridge.launch()

    rows = await bridge.rows("SELECT * FROM messages ORDER BY id")
    assert {row["question"]: (row["state"], row["verdict"]) for row in rows} == {
        POISON: ("dead", "failed:crashed"),
        "甲": ("done", "answered"),
        "乙": ("done", "answered"),
    }
    assert deadly.kills == 2 + LIMIT
    assert sorted(one.content[-2:] for one in gateway.sent) == ["答乙", "答甲"]
