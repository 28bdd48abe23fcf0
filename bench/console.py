"""
How long the server takes for every page of the console on a million messages.

``python -m bench console`` fills a private MariaDB (the sequence engine is needed, so no MySQL) and a
private Redis, starts one bridge (``--role api``), logs in and asks for each page some times, also
with filters, far back in the list and with nothing to be found. Told are, in milliseconds, the first time,
the median and the longest, and the processor time of bridge and MariaDB for one page, the first and
the median: what a busy machine does not change, and what the goal is about there.
"""

import argparse
import asyncio
import contextlib
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from statistics import median
from urllib.parse import quote

import aiohttp

from app.console.site import PAGES
from app.models.flow import MessageId, WcId
from app.services.queue.protocol import Entry
from app.services.queue.redis_queue import RedisQueue
from app.utils.ids import id_at
from app.utils.redis_client import close_redis, make_redis
from bench.chaos.servers import missing_servers
from bench.console_rows import Amount, fill
from bench.measuring import machine
from tests.fixtures.bridge import Bridge, read_rows, server_stores
from tests.fixtures.console import Browser, address_of
from tests.fixtures.mariadb import MariadbServer
from tests.fixtures.redis_server import RedisServer

PASSWORD = "correct horse battery"  # noqa: S105 - of a private server
GOAL_MS = 150.0
#: Nanoseconds of a millisecond.
NANO = 1e6
#: What MariaDB has by default, and so what most installations have.
BUFFER_POOL = 128 * 1024 * 1024
HEADER = "| 页 | 首次 | 中位 | 最长 | 处理器首次 | 处理器中位 | < 150 | |\n|---|---|---|---|---|---|---|---|"
DAY = 86_400
#: A page deep in the lists begins where this share of all is newer.
DEEP = 0.7
#: Of one page; far more than any goal, so that a page that hangs is told.
PATIENCE = 60.0

#: Addresses of pages that ask more of the stores than the plain page does.
ASKED = (
    "/?range=15m",
    "/?range=24h",
    "/?range=7d",
    "/messages/?range=90d",
    "/messages/?state=waiting",
    "/messages/?state=dead&range=90d",
    "/messages/?state=ignored&range=90d",
    "/messages/?state=refused&range=90d",
    "/messages/?verdict=answered",
    "/messages/?verdict=failed:crashed&range=90d",
    "/messages/?verdict=failed:nothing_like_it&range=90d",
    "/messages/?state=done&verdict=failed:crashed&range=90d",
    "/messages/?person=wxid_9000&range=90d",
    "/messages/?person=小90&range=90d",
    "/messages/?person=nobody&range=90d",
    "/messages/?group=17@chatroom&range=90d",
    "/messages/?group=体验群1&range=90d",
    "/messages/?person=小90&group=17@chatroom&range=90d",
    "/messages/?q=退款",
    "/messages/?q=nothing-like-it",
    "/messages/?q=nothing-like-it&range=90d",
    "/messages/?q=nothing-like-it&range=90d&group=0@chatroom",
    "/messages/?q=nothing-like-it&range=90d&state=done",
    "/messages/?q=nothing-like-it&range=90d&person=小1",
    "/messages/?id=7000000000000000077",
    "/messages/?range=90d&before={deep}",
    "/messages/?range=90d&state=dead&before={deep}",
    "/messages/?range=90d&group=17@chatroom&before={deep}",
    "/failures/?range=24h",
    "/failures/?range=30d",
    "/failures/?range=all",
    "/failures/?range=all&cause=crashed",
    "/failures/?range=all&cause=partly_sent",
    "/failures/?range=all&before={deep}",
    "/queues/?user=小1",
    "/queues/?user=nobody",
    "/groups/?page=10",
    "/groups/?q=体验群1",
    "/talks/?group=0@chatroom",
    "/talks/?group=0@chatroom&before={deep}",
    "/talks/?group=nowhere@chatroom",
    "/contacts/?q=小77",
    "/contacts/?q=nobody",
    "/contacts/?kind=group",
    "/contacts/?before=300",
    "/audit/?operator=小王",
    "/audit/?action=queue.clear",
    "/audit/?operator=nobody",
    "/audit/?before=300",
)
#: Somebody who waits.
PERSON = "wxid_0"
#: No page: it does not end.
STREAMS = ("/events",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One address and its times in milliseconds, in their order."""

    address: str
    times: Sequence[float]
    #: Processor time of each, of bridge and database together.
    worked: Sequence[float]
    status: int

    @property
    def is_kept(self) -> bool:
        """Whether each page takes less than the goal, but for what others do to the machine."""
        is_quick = max(self.worked[0], median(self.worked)) < GOAL_MS
        return is_quick and self.status < HTTPStatus.INTERNAL_SERVER_ERROR

    def row(self) -> str:
        """Its row, Markdown."""
        figures = (self.times[0], median(self.times), max(self.times))
        shown = " | ".join(f"{one:.0f}" for one in (*figures, self.worked[0], median(self.worked)))
        verdict = "达到" if self.is_kept else "未达到"
        remark = "" if self.status == HTTPStatus.OK else str(self.status)
        return f"| `{self.address}` | {shown} | {verdict} | {remark} |"


def addresses(deep: int, message: int) -> list[str]:
    """
    Every page that can be read, in its plain form and as ``ASKED``; new ones by themselves (pure).

    Raises:
        RuntimeError: nothing stands for the parameter of one.
    """
    plain = [
        address_of(page.path, message=message, person=PERSON)
        for page in PAGES
        if page.method == "GET" and page.path not in STREAMS
    ]
    return [*plain, *(one.replace("{deep}", str(deep)) for one in ASKED)]


async def enqueue(redis_url: str, database_url: str) -> None:
    """Everybody waits in Redis, too."""
    waiting = read_rows(
        database_url,
        "SELECT id, from_user, bot_wc_id, dedupe_key FROM messages WHERE state = 'received' ORDER BY id",
    )
    entries = [
        Entry(
            user=WcId(row["from_user"]),
            message_id=MessageId(row["id"]),
            bot_wc_id=WcId(row["bot_wc_id"]),
            dedupe_key=row["dedupe_key"],
        )
        for row in waiting
    ]
    redis = make_redis(redis_url)
    try:
        queue = RedisQueue(redis, worker="bench", lease=60.0)
        await queue.begin_rebuild("bench", seconds=60)
        await queue.restore(entries)
        await queue.finish_rebuild("bench", "bench")
    finally:
        await close_redis(redis)


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """A console, somebody who is logged in there, and the processes that work for it."""

    http: aiohttp.ClientSession
    url: str
    pids: Sequence[int]

    @property
    def worked(self) -> float:
        """Processor time of the processes so far, in milliseconds."""
        nanoseconds = 0
        for task in (task for pid in self.pids for task in Path(f"/proc/{pid}/task").iterdir()):
            with contextlib.suppress(OSError):  # a thread that has just ended
                nanoseconds += int((task / "schedstat").read_text("ascii").split()[0])
        return nanoseconds / NANO

    async def measure(self, address: str, times: int) -> Measured:
        """Ask for one address some times, one after the other."""
        taken, worked, status = [], [], 0
        url = f"{self.url}/console{quote(address, safe='/?&=:@%')}"
        for _ in range(times):
            before, began = self.worked, time.perf_counter()
            async with self.http.get(url, allow_redirects=False) as response:
                await response.read()
                status = response.status
            taken.append((time.perf_counter() - began) * 1000)
            worked.append(self.worked - before)
        return Measured(address=address, times=taken, worked=worked, status=status)


async def run(arguments: argparse.Namespace) -> list[Measured]:
    """Fill, start, log in, measure; prints each row as soon as it is known."""
    amount = Amount(
        messages=arguments.messages,
        people=arguments.contacts,
        groups=arguments.groups,
        waiting=arguments.waiting,
        deeds=20_000,
    )
    began = time.time()
    async with AsyncExitStack() as stack:
        served = await serve(amount, began, stack)
        return await every_page(served, began - amount.days * DAY * DEEP, arguments)


async def serve(amount: Amount, now: float, stack: AsyncExitStack) -> Served:
    """A console on rows up to now; all of it ends with the stack."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="console-")))
    mariadb = MariadbServer()
    stack.callback(mariadb.close)
    mariadb.start()
    mariadb.execute(f"SET GLOBAL innodb_buffer_pool_size = {BUFFER_POOL}")
    redis = RedisServer(folder)
    redis.start()
    stack.callback(redis.kill)
    database = mariadb.create_database()
    stores = server_stores(folder, redis, mariadb.url(database))
    await asyncio.to_thread(fill, mariadb, database, amount, round(now * 1000))
    print(f"# {machine()}; {amount.messages} messages filled in {time.time() - now:.0f} s")
    bridge = Bridge(stores, {"CONSOLE_PASSWORD": PASSWORD, "LOG_LEVEL": "WARNING"})
    stack.callback(bridge.kill)
    process = bridge.launch("--role", "api")
    await bridge.until_ready()
    await enqueue(redis.url, stores.database_url)
    session = aiohttp.ClientSession(
        cookie_jar=aiohttp.CookieJar(unsafe=True), timeout=aiohttp.ClientTimeout(total=PATIENCE)
    )
    http = await stack.enter_async_context(session)
    await Browser(http, bridge.url).log_in(password=PASSWORD)
    return Served(http=http, url=bridge.url, pids=(process.pid, mariadb.pid))


async def every_page(served: Served, deep: float, arguments: argparse.Namespace) -> list[Measured]:
    """All addresses, with one message among those found there; prints each row."""
    async with served.http.get(f"{served.url}/console/messages/?state=done&range=90d") as response:
        found = re.search(r"/console/messages/(\d+)", await response.text())
    if found is None:
        raise RuntimeError("the list of messages is empty")
    print(HEADER, flush=True)
    measured = []
    for address in addresses(id_at(deep), int(found[1])):
        if arguments.only in address:
            measured.append(await served.measure(address, arguments.times))
            print(measured[-1].row(), flush=True)
    return measured


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns 0 when every page is fast enough, 1 when one is not."""
    parser = argparse.ArgumentParser(prog="python -m bench console", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--contacts", type=int, default=10_000)
    parser.add_argument("--groups", type=int, default=300)
    parser.add_argument("--waiting", type=int, default=200, help="people with five messages each")
    parser.add_argument("--times", type=int, default=15, help="each address is asked for")
    parser.add_argument("--only", default="", help="addresses with this in them")
    chosen = parser.parse_args(arguments)
    if reason := missing_servers():
        parser.error(reason)
    measured = asyncio.run(run(chosen))
    slow = [one.address for one in measured if not one.is_kept]
    print(f"{len(measured)} addresses, {len(slow)} too slow: {' '.join(slow)}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
