"""
The tables of ``docs/dify.md`` as rows, and the stage on which each row is played.

One bridge plays them all: every row has, for each mode, an app of its own with its own breaker,
places and deadlines, a group that asks this app, and one person in the group. So no row sees what
another one does to its Dify.
"""

import asyncio
import json
import re
import shutil
import sqlite3
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, insert

from app.models.account import GROUPS
from app.services.stages import utc_now
from simulators.dify import DifySimulator
from simulators.dify_release import Kind, Release
from simulators.ecloud import AUTHORIZATION, EcloudSimulator
from simulators.ecloud_media import VOICE
from simulators.ecloud_world import World
from tests.fixtures.bridge import ROOT, Bridge, Stores, embedded_stores

PAGE = ROOT / "docs" / "dify.md"
HEADER = "| 行 | 故障 | 模式 | 群里看到什么 | 日志说什么 | 结论 | 失败 | 问 | 于是 |"
BLOCKING, STREAMING = "blocking", "streaming"
MODES = {"阻塞": (BLOCKING,), "流式": (STREAMING,), "两种": (BLOCKING, STREAMING)}
WAITS = "等待"

BOT = "wxid_botpage0000b22"
#: What the group hears after the last failure.
NOTICE = "现在答不上来,请稍后再问。"
#: Of one try; longer than any deadline but that of the row about it.
TRY_SECONDS = 10.0
#: All rows share an account, which asks for a few files a minute: pacing is proved elsewhere.
HASTY = (
    "-m",
    "bench.chaos.planted",
    "none",
    "--hasten=app.services.enclosing:CALL_GAP=0.05",
    "--hasten=app.services.enclosing:CALLS_PER_MINUTE=1000",
    str(ROOT / "main.py"),
)
#: Between two tries of the bridge.
RETRY_SECONDS = 0.2
#: For what is written a moment after the outcome: counts, and the last lines of the log.
SETTLE_SECONDS = 8.0
LOOK_SECONDS = 0.05
#: Every message has these lines; whether an app moderates is told along with any first stream.
ROUTINE = frozenset(
    {"callback.accepted", "message.claimed", "dify.answered", "segment.sent", "dify.moderation"}
)


@dataclass(frozen=True, kw_only=True)
class PageRow:
    """One row as the page has it."""

    name: str
    modes: tuple[str, ...]
    #: In words; the test says what they mean.
    seen: str
    events: tuple[str, ...]
    #: The verdict; empty: the message still waits.
    verdict: str
    #: Counted failures, ``messages.attempts``.
    failures: int
    #: How often Dify was asked.
    asked: int
    #: One of ``FATES``.
    fate: str


def page_rows() -> list[PageRow]:
    """The rows of all tables with ``HEADER``, in order."""
    return [_row(cells) for cells in page_table(HEADER)]


def page_table(header: str) -> list[list[str]]:
    """The cells of all rows below a header line that begins so."""
    rows = []
    is_inside = False
    for line in PAGE.read_text("utf-8").splitlines():
        if line.startswith(header):
            is_inside = True
        elif not line.startswith("|"):
            is_inside = False
        elif is_inside and not line.startswith("|---"):
            rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def _row(cells: Sequence[str]) -> PageRow:
    name, _, mode, seen, log, verdict, failures, asked, then = cells
    return PageRow(
        name=name.strip("`"),
        modes=MODES[mode],
        seen=seen,
        events=tuple(re.findall(r"`([a-z]+\.[a-z_]+)`", log)),
        verdict="" if verdict == WAITS else verdict.strip("`"),
        failures=int(failures),
        asked=int(asked),
        fate=then.partition(":")[0],
    )


#: What the last decision about a failure comes to, and, without any failure, what was done instead.
DECISIONS = {"Bury": "放弃", "Retry": "重试", "Wait": "等待", "Park": "暂停"}
ANSWERED_AT_ONCE, NOT_ANSWERED = "回答", "不答"
FATES = {
    "dify.fallback": "代答",
    "reply.cut_short": "收尾",
    "dify.recovered": "取回",
    "dify.conversation_gone": "自愈",
    "dify.conversation_spoilt": "自愈",
    "dify.streams_instead": "改用流式",
    "dify.app_not_configured": "暂停",
    "voice.not_asked": NOT_ANSWERED,
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What could be seen of one message from outside, in its row and in the log."""

    segments: tuple[str, ...]
    verdict: str
    failures: int
    asked: int
    events: tuple[str, ...]
    fate: str


def fate_of(events: Sequence[str], decisions: Sequence[str]) -> str:
    """What became of a message, in the page's word."""
    if decisions and "dify.fallback" not in events:
        return DECISIONS[decisions[-1]]
    return next((word for event, word in FATES.items() if event in events), ANSWERED_AT_ONCE)


@dataclass(frozen=True, kw_only=True)
class Sim:
    """An app of the simulated Dify, which the question steers."""

    kind: Kind = Kind.CHAT
    release: Release = Release.NEW
    #: What it is otherwise, by the simulator's names.
    settings: Mapping[str, Any] = field(default_factory=dict)
    #: Nobody listens at first.
    is_away: bool = False


@dataclass(frozen=True, kw_only=True)
class Case:
    """How a row is played."""

    #: An app of the simulator, or the answers of one to its first, second … question, the last of
    #: them to all further ones; None: the settings do not name the app.
    peer: "Sim | tuple[Reply, ...] | None"
    question: str = "[[text=这是回答。]]"
    #: Everything the group gets, segment by segment.
    group: tuple[str, ...] = ("这是回答。",)
    #: It is spoken, and heard as what it says.
    is_spoken: bool = False
    #: They are compared as one text without white space: where it is cut is another test's.
    is_squeezed: bool = False
    #: Asked, and answered, first: then there is a conversation.
    before: str = ""
    #: It waits for seconds and does little: it begins with the stage, before its turn.
    is_early: bool = False
    #: Settings of the app.
    settings: Mapping[str, Any] = field(default_factory=dict)
    #: What is set for its group, by the columns of ``groups``.
    rules: Mapping[str, Any] = field(default_factory=dict)
    #: What an app of answers in bytes says beside its answers, by the end of the path.
    beside: "Mapping[str, Reply]" = field(default_factory=dict)
    #: Called behind ``before``; while the message is worked on; when it has its outcome.
    prepare: "Step | None" = None
    meanwhile: "Step | None" = None
    check: "Step | None" = None


@dataclass(eq=False)
class Ask:
    """One request as an app of answers in bytes got it."""

    app: str
    method: str
    #: Behind the app's own beginning of the path.
    path: str
    body: dict[str, Any]
    at: float = field(default_factory=time.monotonic)

    @property
    def is_question(self) -> bool:
        """Whether it asks the model, at this address or another one."""
        return self.path.endswith("/chat-messages")

    @property
    def is_streaming(self) -> bool:
        """In which mode."""
        return self.body.get("response_mode") == STREAMING


@dataclass(eq=False)
class Wire:
    """The server's end of one request."""

    ask: Ask
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def hang(self) -> None:
        """Say nothing until the client leaves."""
        while await self.reader.read(65536):
            pass

    def cut(self) -> None:
        """Break the connection."""
        self.writer.transport.abort()


Reply = bytes | Callable[[Wire, "Playing"], Awaitable[None]]
Step = Callable[["Playing"], Awaitable[None]]


def response(status: str, body: bytes, *headers: str, kind: str = "application/json") -> bytes:
    """A whole answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def refusal(status: str, code: str, message: str, *headers: str) -> bytes:
    """Dify's envelope of an error."""
    envelope = {"code": code, "message": message, "status": int(status.split(" ", maxsplit=1)[0])}
    return response(status, json.dumps(envelope).encode(), *headers)


def page(status: str, *headers: str) -> bytes:
    """What a proxy shows."""
    body = f"<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>"
    return response(status, body.encode(), *headers, kind="text/html")


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"X-Version: 1.13.0\r\nTransfer-Encoding: chunked\r\n\r\n"
)
STREAM_END = b"0\r\n\r\n"
PING = b"D\r\nevent: ping\n\n\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk of a body."""
    return b"%X\r\n%s\r\n" % (len(data), data)


def frame(event: str, **fields: Any) -> bytes:
    """One data frame, with the ids of an answer, as a chunk."""
    ids = {"conversation_id": "c-page", "message_id": "m-page", "task_id": "t-page"}
    text = json.dumps({"event": event, **ids, **fields}, ensure_ascii=False)
    return chunk(f"data: {text}\n\n".encode())


def stream(*frames: bytes) -> bytes:
    """A whole event stream."""
    return STREAM_HEAD + b"".join(frames) + STREAM_END


def answered(text: str) -> Reply:
    """A good answer, in the mode that is asked for."""

    async def reply(wire: Wire, _playing: "Playing") -> None:
        if wire.ask.is_streaming:
            await wire.send(stream(frame("message", answer=text), frame("message_end")))
            return
        ids = {"conversation_id": "c-page", "message_id": "m-page", "task_id": "t-page"}
        await wire.send(response("200 OK", json.dumps({**ids, "answer": text}).encode()))

    return reply


class RawDify:
    """A server whose apps, told by the first part of the path, answer questions by given bytes."""

    def __init__(self) -> None:
        self.port = 0
        self.asks: list[Ask] = []
        #: Who plays at which app.
        self.playing: dict[str, Playing] = {}
        #: What ``GET /messages`` tells of an app's one conversation; missing: it is unknown.
        self.kept: dict[str, list[dict[str, Any]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator["RawDify"]:
        """A listening server."""
        raw = cls()
        server = await asyncio.start_server(raw._connected, "127.0.0.1", 0, limit=2**20)
        raw.port = server.sockets[0].getsockname()[1]
        try:
            yield raw
        finally:
            server.close()
            for task in list(raw._tasks):
                task.cancel()
            await asyncio.gather(*raw._tasks, return_exceptions=True)

    def base_url(self, app: str) -> str:
        """What the settings of an app name."""
        return f"http://127.0.0.1:{self.port}/{app}/v1"

    def questions(self, app: str, query: str) -> list[Ask]:
        """How often an app was asked this."""
        own = (one for one in self.asks if one.app == app and one.is_question)
        return [one for one in own if one.body.get("query") == query]

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (ask := await _read(reader)) is not None:
                self.asks.append(ask)
                await self._answer(Wire(ask, reader, writer))
        except ConnectionError:
            pass  # the client left
        finally:
            writer.close()

    async def _answer(self, wire: Wire) -> None:
        ask = wire.ask
        if not ask.is_question:
            await self._answer_beside(wire)
            return
        playing = self.playing[ask.app]
        replies = playing.case.peer
        assert isinstance(replies, tuple)
        number = sum(one.app == ask.app and one.is_question for one in self.asks)
        reply = replies[min(number, len(replies)) - 1]
        if isinstance(reply, bytes):
            await wire.send(reply)
        else:
            await reply(wire, playing)

    async def _answer_beside(self, wire: Wire) -> None:
        ask, playing = wire.ask, self.playing[wire.ask.app]
        path = ask.path.partition("?")[0]
        own = (one for end, one in playing.case.beside.items() if path.endswith(end))
        reply = next(own, None) or self._beside(ask)
        if isinstance(reply, bytes):
            await wire.send(reply)
        else:
            await reply(wire, playing)

    def _beside(self, ask: Ask) -> bytes:
        """All that asks no model; an app of another kind than chat is none of them."""
        path = ask.path.partition("?")[0]
        if path in ("/v1/parameters", "/v1/info") or path.endswith("/stop"):
            return response("200 OK", b'{"result":"success"}')
        if path == "/v1/messages" and ask.app in self.kept:
            return response("200 OK", json.dumps({"data": self.kept[ask.app]}).encode())
        if path == "/v1/messages":
            return refusal("404 NOT FOUND", "not_found", "Conversation Not Exists.")
        if ask.method == "POST" and path == "/v1/workflows/run":
            return refusal("400 BAD REQUEST", "not_workflow_app", "Please check your app mode.")
        if ask.method == "POST" and path == "/v1/completion-messages":
            return refusal("400 BAD REQUEST", "app_unavailable", "App unavailable.")
        return page("404 Not Found")


async def _read(reader: asyncio.StreamReader) -> Ask | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, value in (one.split(": ", 1) for one in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    method, path, _ = first.split(" ")
    app, _, rest = path.lstrip("/").partition("/")
    return Ask(app=app, method=method, path=f"/{rest}", body=_object(body))


def _object(body: bytes) -> dict[str, Any]:
    """What a request says in JSON; a file is not looked into."""
    return dict(json.loads(body)) if body.startswith(b"{") else {}


_ROW = (
    "SELECT id, state, verdict, attempts, EXISTS (SELECT 1 FROM segments WHERE message_id = "
    "messages.id AND segments.state IN ('planned', 'sending')) AS owes "
    "FROM messages WHERE group_id = ? AND question = ?"
)
_SPOKEN = _ROW.replace("question = ?", "message_type = ?")
ENDS = ("done", "dead", "ignored")


@dataclass(eq=False)
class Playing:
    """One row in one mode on the stage."""

    stage: "Stage"
    name: str
    case: Case
    mode: str
    group: str
    person: str

    @property
    def app(self) -> str:
        """The app's name in the settings."""
        return f"{self.name}-{self.mode}"

    @property
    def key(self) -> str:
        """The app's key."""
        return f"app-{self.app}"

    @property
    def question(self) -> str:
        """What the row is about, as Dify is asked it."""
        return f"{self.app} {self.case.question}"

    @property
    def server(self) -> DifySimulator:
        """The simulated Dify that has the app."""
        assert isinstance(self.case.peer, Sim)
        return self.stage.server(self.case.peer, self.mode)

    @property
    def is_reachable(self) -> bool:
        """Whether its app can say anything of itself as the bridge starts."""
        return not (isinstance(self.case.peer, Sim) and self.case.peer.is_away)

    def settings(self) -> dict[str, Any] | None:
        """The app as ``dify.apps`` names it; None: it does not."""
        peer = self.case.peer
        if peer is None:
            return None
        if isinstance(peer, Sim):
            self.server.add_app(self.key, peer.kind, **peer.settings)
            base_url = self.server.base_url
        else:
            base_url = self.stage.raw.base_url(self.app)
        return {
            "name": self.app,
            "base_url": base_url,
            "api_key": self.key,
            "streaming_enabled": self.mode == STREAMING,
            **self.case.settings,
        }

    def say(self, text: str, person: str = "") -> None:
        """Somebody says it in the group."""
        self.stage.gateway.say(self.group, person or self.person, text)

    def ask(self) -> None:
        """The person asks the question, in writing or not."""
        if self.case.is_spoken:
            self.stage.gateway.acts.send(self.group, self.person, "voice")
        else:
            self.say(self.question)

    def segments(self) -> tuple[str, ...]:
        """What the group has got so far."""
        sent = self.stage.gateway.sent
        return tuple(one.content for one in sent if one.to == self.group)

    def asked(self) -> int:
        """How often Dify was asked the question."""
        if self.case.peer is None:
            return 0
        if isinstance(self.case.peer, tuple):
            return len(self.stage.raw.questions(self.app, self.question))
        queries = [one.facts.get("query") for one in self.server.questions()]
        return queries.count(self.question)

    def row(self, question: str) -> dict[str, Any] | None:
        """The row of a question; None: it is not there yet."""
        is_spoken = self.case.is_spoken and question == self.question
        asked = (_SPOKEN, self.group, VOICE) if is_spoken else (_ROW, self.group, question)
        rows = self.stage.rows(*asked)
        return rows[0] if rows else None

    async def until_settled(self, question: str) -> int:
        """The id of a question, as soon as it has its outcome and nothing is still to be sent."""
        async with asyncio.timeout(60):
            while True:
                row = self.row(question)
                if row and row["state"] in ENDS and not row["owes"]:
                    return int(row["id"])
                await asyncio.sleep(LOOK_SECONDS)

    async def until_logged(self, event: str) -> None:
        """Wait until the log tells this of the question."""
        async with asyncio.timeout(60):
            while (row := self.row(self.question)) is None or event not in self._events(row["id"]):
                await asyncio.sleep(LOOK_SECONDS)

    def _events(self, message_id: int) -> tuple[str, ...]:
        """What the log tells of a message, each event once, without what it tells of any."""
        found = dict.fromkeys(self.stage.log.events(message_id))
        return tuple(one for one in found if one not in ROUTINE)

    def wanted(self, row: PageRow) -> Outcome:
        """What the page and the case promise."""
        return Outcome(
            segments=self.case.group,
            verdict=row.verdict,
            failures=row.failures,
            asked=row.asked,
            events=row.events,
            fate=row.fate,
        )

    async def play(self, row: PageRow) -> Outcome:
        """Play it, and tell what became of it; what comes a moment later is waited for."""
        case = self.case
        if case.before:
            self.say(case.before)
            await self.until_settled(case.before)
        if case.prepare is not None:
            await case.prepare(self)
        heard = len(self.segments())
        self.ask()
        if case.meanwhile is not None:
            await case.meanwhile(self)
        if row.verdict:
            await self.until_settled(self.question)
        ends_at = time.monotonic() + SETTLE_SECONDS
        while (found := self._outcome(heard)) != self.wanted(row):
            if time.monotonic() >= ends_at:
                break
            await asyncio.sleep(LOOK_SECONDS)
        if case.check is not None:
            await case.check(self)
        return found

    def _outcome(self, heard: int) -> Outcome:
        row = self.row(self.question)
        assert row is not None
        segments = self.segments()[heard:]
        if self.case.is_squeezed:
            segments = (re.sub(r"\s", "", "".join(segments)),)
        events = self._events(row["id"])
        return Outcome(
            segments=segments,
            verdict=row["verdict"],
            failures=row["attempts"],
            asked=self.asked(),
            events=events,
            fate=fate_of(events, self.stage.log.decisions[row["id"]]),
        )


class LogReader:
    """What the bridge's log tells of each message; only what is new is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._events: defaultdict[int, list[str]] = defaultdict(list)
        #: What was decided about a message's failures, one after the other.
        self.decisions: defaultdict[int, list[str]] = defaultdict(list)

    def events(self, message_id: int) -> list[str]:
        """The names of a message's lines so far."""
        with self._path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if line.endswith(b"\n"):
                    self._read += len(line)
                    self._take(line.decode("utf-8", "replace"))
        return self._events[message_id]

    def _take(self, line: str) -> None:
        found = re.search(r"\[(\d+)\] ([a-z]+\.[a-z_]+)", line)
        if found is None:
            return
        message_id = int(found[1])
        self._events[message_id].append(found[2])
        if decision := re.search(r'message\.failed .*?decision="?(\w+)', line):
            self.decisions[message_id].append(decision[1])


class Stage:
    """The bridge, the simulated gateway and every Dify there is."""

    def __init__(
        self,
        gateway: EcloudSimulator,
        raw: RawDify,
        servers: Mapping[str, DifySimulator],
        stores: Stores,
    ) -> None:
        self.gateway = gateway
        self.raw = raw
        self._servers = servers
        self.playing: dict[str, list[Playing]] = {}
        self._early: dict[str, asyncio.Task[list[Outcome]]] = {}
        self.bridge = Bridge(stores, {}, program=HASTY)
        self.log = LogReader(self.bridge.log_path)
        path = stores.folder / "data" / "bridge.db"
        self._database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        self._database.row_factory = sqlite3.Row

    def rows(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """Rows of the bridge's database; everybody looks often, so it has to cost little."""
        return [dict(row) for row in self._database.execute(statement, values)]

    def server(self, sim: Sim, mode: str) -> DifySimulator:
        """The simulated Dify of a release, or the one of a mode that is away."""
        return self._servers[mode if sim.is_away else sim.release]

    def cast(self, rows: Sequence[PageRow], cases: Mapping[str, Case]) -> None:
        """Give every row, in each of its modes, a group and a person."""
        number = 41_000_000_000
        for row in rows:
            self.playing[row.name] = []
            for mode in row.modes:
                number += 1
                person, group = f"wxid_page{number}", f"{number}@chatroom"
                one = Playing(self, row.name, cases[row.name], mode, group, person)
                world = self.gateway.world
                world.add_person(person, f"群友{number}")
                world.add_person(f"{person}b", f"群友{number}乙")
                world.add_group(group, one.app, [person, f"{person}b"])
                self.playing[row.name].append(one)
                self.raw.playing[one.app] = one

    async def begin(self) -> None:
        """Start the bridge; the groups have their apps already."""
        everybody = [one for some in self.playing.values() for one in some]
        settings = [one.settings() for one in everybody]
        chosen = [one for one, named in zip(everybody, settings, strict=True) if named]
        choose_apps(self.bridge.stores.database_url, chosen)
        self.gateway.callback_url = self.bridge.callback_url
        self.bridge.variables = {
            "PYTHONPATH": str(ROOT),
            "ECLOUD_BASE_URL": self.gateway.base_url,
            "ECLOUD_AUTHORIZATION": AUTHORIZATION,
            "DIFY_APPS": json.dumps([one for one in settings if one]),
            "REPLY_MENTION_SENDER": "false",
            "MESSAGE_PROCESSING_FAILURE_REPLY": NOTICE,
            "MESSAGE_PROCESSING_QUEUE_TIMEOUT": str(TRY_SECONDS),
            "MESSAGE_PROCESSING_RETRY_DELAY": str(RETRY_SECONDS),
            "MESSAGE_PROCESSING_LEASE": "30",
        }
        await self.bridge.start()
        await self._until_known([one for one in chosen if one.is_reachable])

    async def _until_known(self, everybody: Sequence["Playing"]) -> None:
        """Wait until the bridge has looked what each app says of itself."""
        async with asyncio.timeout(60):
            while True:
                log = self.bridge.log
                if all(f"check.server server={one.app} " in log for one in everybody):
                    return
                await asyncio.sleep(LOOK_SECONDS)

    async def play(self, row: PageRow) -> list[Outcome]:
        """What becomes of a row, in each of its modes."""
        if (early := self._early.pop(row.name, None)) is not None:
            return await early
        return await self._play(row)

    async def _play(self, row: PageRow) -> list[Outcome]:
        return await asyncio.gather(*(one.play(row) for one in self.playing[row.name]))

    def begin_early(self, rows: Sequence[PageRow]) -> None:
        """Play what takes long beside the others."""
        for row in rows:
            if self.playing[row.name][0].case.is_early:
                self._early[row.name] = asyncio.create_task(self._play(row), name=row.name)

    async def end(self) -> None:
        """What began early and nobody asked for is given up."""
        left = list(self._early.values())
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        self._database.close()
        self.bridge.kill()


#: Columns of ``groups`` that a row of the page may set.
RULES = ("citations", "suggestions", "trigger", "prefixes")


def choose_apps(database_url: str, chosen: Sequence[Playing]) -> None:
    """Let groups, as the table has them, ask their apps, by their rules."""
    rows = [
        {
            "bot_wc_id": BOT,
            "group_id": one.group,
            "dify_app": one.app,
            "first_seen_at": utc_now(),
            **dict.fromkeys(RULES),
            **one.case.rules,
        }
        for one in chosen
    ]
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(insert(GROUPS), rows)
    engine.dispose()


@asynccontextmanager
async def open_stage(
    folder: Path, database: Path, rows: Sequence[PageRow], cases: Mapping[str, Case]
) -> AsyncIterator[Stage]:
    """
    A stage with everybody on it.

    Args:
        folder: for the bridge.
        database: a migrated, empty one, to be copied.
    """
    stores = embedded_stores(folder)
    (folder / "data").mkdir()
    shutil.copy(database, folder / "data" / "bridge.db")
    world = World(seed=1)
    world.add_account(BOT, "小助手")
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(EcloudSimulator.start(world=world))
        raw = await stack.enter_async_context(RawDify.start())
        servers = {}
        for name in (Release.OLD, Release.NEW, *MODES["两种"]):
            release = name if isinstance(name, Release) else Release.NEW
            started = DifySimulator.start(release=release, ping_seconds=0.5)
            servers[str(name)] = await stack.enter_async_context(started)
        for mode in MODES["两种"]:
            await servers[mode].close_port()
        stage = Stage(gateway, raw, servers, stores)
        stage.cast(rows, cases)
        try:
            await stage.begin()
            yield stage
        finally:
            await stage.end()
