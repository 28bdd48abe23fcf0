"""The simulated Dify beyond the recordings: orders in questions, faults, scoping, history, counting."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.dify import DifySimulator
from simulators.dify_release import Release
from simulators.dify_script import make_plan, parse_script
from tests.simulators.captures import answer_of, frames

OLD, NEW = "0.15.3", "1.13.0"


class Asker:
    """A client of the simulated Dify."""

    def __init__(self, dify: DifySimulator, http: aiohttp.ClientSession) -> None:
        self.dify = dify
        self.http = http

    def post(self, query: str, **fields: Any) -> Any:
        """A question by user "u", streaming, without naming the conversation."""
        body = {
            "inputs": {},
            "query": query,
            "user": "u",
            "response_mode": "streaming",
            "auto_generate_name": False,
            **fields,
        }
        return self.http.post(f"{self.dify.base_url}/chat-messages", json=body)

    async def ask(self, query: str, **fields: Any) -> tuple[int, bytes]:
        """Status and whole body."""
        async with self.post(query, **fields) as response:
            return response.status, await response.read()

    async def send(self, path: str, **body: Any) -> tuple[int, bytes]:
        """Status and whole body of any POST, by user "u" and streaming unless it is said."""
        body = {"inputs": {}, "user": "u", "response_mode": "streaming", **body}
        async with self.http.post(f"{self.dify.base_url}{path}", json=body) as response:
            return response.status, await response.read()

    async def get(self, path: str, **params: str) -> tuple[int, Any]:
        """Status and JSON of a reading path."""
        async with self.http.get(f"{self.dify.base_url}{path}", params=params) as response:
            return response.status, await response.json()


@asynccontextmanager
async def asking(**settings: Any) -> AsyncIterator[Asker]:
    """A client of a simulated Dify; what is lost in silence is lost after 5 seconds."""
    async with (
        DifySimulator.start(**{"idle_seconds": 5.0, **settings}) as dify,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {dify.api_key}"}) as http,
    ):
        yield Asker(dify, http)


async def test_friendly_answer_names_the_turn_and_the_question() -> None:
    """Without orders the answer holds the question and its number in the conversation."""
    async with asking() as asker:
        _, first = await asker.ask("今天星期几")
        conversation = frames(first)[0]["conversation_id"]
        _, second = await asker.ask("那明天呢", conversation_id=conversation)

    assert answer_of(first).startswith("第 1 轮：你问的是“今天星期几”。\n\n")
    assert answer_of(second).startswith("第 2 轮：你问的是“那明天呢”。\n\n")


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        (r"[[text=甲\n\n乙]]", "甲\n\n乙"),
        ("[[empty]]", ""),
        ("[[n=2]]x", "第0段，你好world 第1段，你好world "),
        ("[[think]][[text=好]]", "<think>\n我先想一想…用户问了问题。\n</think>\n\n好"),
        ("[[u2028]]", "前\u2028后\u0085\u000b\f\u001c末\r\n尾"),
    ],
)
async def test_orders_decide_the_answer(query: str, answer: str) -> None:
    """The text of a streamed and of a blocking answer is what the question ordered."""
    async with asking() as asker:
        _, streamed = await asker.ask(query)
        _, whole = await asker.ask(query, response_mode="blocking")

    assert answer_of(streamed) == answer
    assert json.loads(whole)["answer"] == answer


async def test_long_answer_has_the_ordered_length() -> None:
    """`long` counts characters."""
    async with asking() as asker:
        _, body = await asker.ask("[[long=5000]]")

    assert len(answer_of(body)) == 5000


@pytest.mark.parametrize("kind", ["chat", "agent", "chatflow"])
async def test_big_frame_is_one_frame_outside_the_answer(kind: str) -> None:
    """`big` makes one frame of several MiB; the answer stays what it was."""
    async with asking(kind=kind) as asker:
        _, body = await asker.ask("[[big=3000000]] [[text=好]]")

    assert answer_of(body) == "好"
    assert max(map(len, body.split(b"\n"))) > 3_000_000


async def test_split_cuts_chunks_inside_characters() -> None:
    """With `split` a chunk ends inside a character, and the whole is still right."""
    async with asking() as asker, asker.post("[[split]] [[text=你好世界]]") as response:
        pieces = [piece async for piece, _ in response.content.iter_chunks()]

    broken = 0
    for piece in pieces:
        try:
            piece.decode()
        except UnicodeDecodeError:
            broken += 1
    assert broken > 0
    assert answer_of(b"".join(pieces)) == "你好世界"


async def test_fault_with_times_strikes_only_the_first_tries() -> None:
    """`;times=2` fails twice for one user's query, then answers; another user starts anew."""
    async with asking() as asker:
        statuses = [(await asker.ask("[[fail=500;times=2]]问"))[0] for _ in range(3)]
        other, _ = await asker.ask("[[fail=500;times=2]]问", user="v")

    assert statuses == [500, 500, 200]
    assert other == 500


@pytest.mark.parametrize(
    ("order", "status", "content_type", "code"),
    [
        ("fail=500", 500, "application/json", "internal_server_error"),
        ("fail=429", 429, "application/json", "too_many_requests"),
        ("fail=400:provider_quota_exceeded", 400, "application/json", "provider_quota_exceeded"),
        ("fail=504", 504, "text/html", None),
    ],
)
async def test_fail_gives_the_status(
    order: str, status: int, content_type: str, code: str | None
) -> None:
    """`fail` answers with that status, as the app or as the proxy before it."""
    async with asking() as asker, asker.post(f"[[{order}]]") as response:
        body = await response.read()

        assert (response.status, response.content_type) == (status, content_type)
        assert code is None or json.loads(body)["code"] == code


async def test_error_comes_after_part_of_the_answer() -> None:
    """`error` streams some deltas, then an error event without task_id, then the end."""
    async with asking() as asker:
        _, body = await asker.ask("[[n=4]] [[error=2]]")

    last = frames(body)[-1]
    assert answer_of(body) == "第0段，你好world 第1段，你好world "
    assert (last["event"], last["status"], "task_id" in last) == ("error", 400, False)


async def test_error_in_blocking_mode_is_http_400() -> None:
    """The same failure without a stream is an HTTP error."""
    async with asking() as asker:
        status, body = await asker.ask("[[error]]", response_mode="blocking")

    assert (status, json.loads(body)["code"]) == (400, "completion_request_error")


async def test_cut_breaks_the_connection_after_some_deltas() -> None:
    """`cut` aborts the socket: the client has part of the answer and an error."""
    got = b""
    broken: type[Exception] | None = None
    async with asking() as asker:
        async with asker.post("[[n=5]] [[cut=3]] [[delay=0.01]]") as response:
            try:
                async for piece in response.content.iter_any():
                    got += piece
            except aiohttp.ClientError as error:
                broken = type(error)
        outcome = asker.dify.questions()[0].outcome

    assert answer_of(got) == "第0段，你好world 第1段，你好world 第2段，你好world "
    assert (broken, outcome) == (aiohttp.ClientPayloadError, "cut")


async def test_eof_ends_properly_without_a_last_event() -> None:
    """`eof` closes the body as if all were well, but no message_end came."""
    async with asking() as asker:
        _, body = await asker.ask("[[n=3]] [[eof=2]]")

    assert [frame["event"] for frame in frames(body)] == ["message"] * 3
    assert answer_of(body) == "第0段，你好world 第1段，你好world "


async def test_hang_sends_no_byte_and_stall_sends_pings() -> None:
    """`hang` gives not even headers; `stall` gives pings for ever."""
    async with asking(ping_seconds=0.05) as asker:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await asker.ask("[[hang]]", user="v")
        async with asker.post("[[n=2]] [[stall=1]]") as response:
            body = b""
            async for piece in response.content.iter_any():
                body += piece
                if body.count(b"event: ping") >= 3:
                    break

    assert answer_of(body) == "第0段，你好world "


async def test_stopping_ends_the_run_without_pings_or_delay() -> None:
    """Hanging and stalling requests do not hold the server's end."""
    async with asking() as asker:
        hanging = [asyncio.create_task(asker.ask(order)) for order in ("[[hang]]", "[[stall]]")]
        await asker.dify.recorder.until(lambda: asker.dify.concurrency.active == 2)
        started = asyncio.get_running_loop().time()
    took = asyncio.get_running_loop().time() - started
    await asyncio.gather(*hanging, return_exceptions=True)

    assert took < 10


@pytest.mark.parametrize(
    ("release", "kind", "last", "status"),
    [
        (NEW, "chat", "message_end", None),
        (NEW, "chatflow", "workflow_finished", "stopped"),
        (OLD, "chatflow", "message_end", None),
    ],
)
async def test_stop_ends_the_stream_of_the_same_user(
    release: str, kind: str, last: str, status: str | None
) -> None:
    """A stop by another user has no effect; by the same it ends the stream normally."""
    async with (
        asking(release=release, kind=kind) as asker,
        asker.post("[[n=1000]] [[delay=0.01]]") as response,
    ):
        line = b""
        while not line.startswith(b"data: "):
            line = await response.content.readline()
        url = f"{asker.dify.base_url}/chat-messages/{json.loads(line[6:])['task_id']}/stop"
        body = line
        more: list[bytes] = []
        for user in ("v", "u"):
            async with asker.http.post(url, json={"user": user}) as stopped:
                assert await stopped.json() == {"result": "success"}
            if user == "v":
                more = [await response.content.readline() for _ in range(40)]
                body += b"".join(more)
        body += await response.read()

    assert len(more) == 40
    assert b"" not in more
    final = frames(body)[-1]
    assert final["event"] == last
    assert status is None or final["data"]["status"] == status
    assert len(frames(body)) < 500
    assert asker.dify.questions()[0].outcome == "stopped_by_user"


async def test_conversation_belongs_to_its_user_and_app() -> None:
    """Another user or another app's key gets the same 404 as for an unknown id."""
    async with asking() as asker:
        other = asker.dify.add_app("app-other", "chat")
        _, body = await asker.ask("一")
        conversation = frames(body)[0]["conversation_id"]
        status, refused = await asker.ask("二", user="v", conversation_id=conversation)
        asker.http.headers["Authorization"] = f"Bearer {other.key}"
        foreign, _ = await asker.ask("二", conversation_id=conversation)

    assert (status, foreign) == (404, 404)
    assert json.loads(refused)["message"].startswith("Conversation Not Exists.")


async def test_client_that_leaves_a_chat_leaves_an_empty_answer() -> None:
    """The run dies with the connection; history has the question and ""; the recorder knows."""
    async with asking() as asker:
        async with asker.post("[[n=100]] [[delay=0.05]]") as response:
            line = await response.content.readline()
        await asker.dify.recorder.until(lambda: asker.dify.questions()[0].outcome is not None)
        _, history = await asker.get(
            "/messages", user="u", conversation_id=json.loads(line[6:])["conversation_id"]
        )
        record = asker.dify.questions()[0]

    assert [(one["answer"], one["status"]) for one in history["data"]] == [("", "normal")]
    assert (record.outcome, record.facts["client_left"]) == ("client_left", True)


async def test_client_that_leaves_a_new_chatflow_finds_the_answer_later() -> None:
    """The worker goes on: first the run is running, then it has the whole answer."""
    async with asking(kind="chatflow") as asker:
        async with asker.post("[[n=3]] [[delay=0.1]]") as response:
            line = b""
            while not line.startswith(b"data: "):
                line = await response.content.readline()
        run = json.loads(line[6:])["workflow_run_id"]
        _, before = await asker.get(f"/workflows/run/{run}")
        after = before
        async with asyncio.timeout(30):
            while after["status"] == "running":
                await asyncio.sleep(0.05)
                _, after = await asker.get(f"/workflows/run/{run}")

    assert before["status"] == "running"
    assert after["outputs"]["answer"] == "第0段，你好world 第1段，你好world 第2段，你好world "


async def left(asker: Asker, query: str, **fields: Any) -> dict[str, Any]:
    """Ids of a question whose client leaves behind the first frame, or before any in blocking mode."""
    if fields.get("response_mode") == "blocking":
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await asker.ask(query, **fields)
    else:
        async with asker.post(query, **fields) as response:
            while not (await response.content.readline()).startswith(b"data: "):
                pass
    await asker.dify.recorder.until(lambda: asker.dify.questions()[-1].outcome is not None)
    return asker.dify.questions()[-1].facts


async def saved(asker: Asker, facts: dict[str, Any], *, until: str) -> dict[str, Any]:
    """The message of a question as soon as it has an answer or is an error."""
    async with asyncio.timeout(20):
        while True:
            _, page = await asker.get(
                "/messages", user="u", conversation_id=facts["answered_conversation_id"]
            )
            [message] = page["data"]
            if (message["answer"] or message["status"]) == until:
                return dict(message)
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("kind", "query", "mode", "until"),
    [
        ("chat", "[[wait=0.6]] [[text=好]]", "blocking", "好"),
        ("chat", "[[n=9]] [[delay=0.3]] [[saved=0.2]] [[kept=好]]", "streaming", "好"),
        ("chatflow", "[[n=3]] [[delay=0.2]] [[replace=换]]", "streaming", "换"),
        ("chatflow", "[[n=3]] [[delay=0.2]] [[error=2]]", "streaming", "error"),
    ],
)
async def test_what_is_saved_of_a_run_whose_client_left(
    kind: str, query: str, mode: str, until: str
) -> None:
    """A blocking call's run and a worker's end as they would have; `saved` lets any other go on."""
    async with asking(kind=kind) as asker:
        await saved(asker, await left(asker, query, response_mode=mode), until=until)


async def test_a_run_that_goes_on_alone_can_be_stopped_or_lost() -> None:
    """A stop by the same user reaches it; of a lost one nobody ever hears again."""
    async with asking(kind="chatflow") as asker:
        facts = await left(asker, "[[n=900]] [[delay=0.05]]")
        lost = await left(asker, "[[n=2]] [[delay=0.3]] [[lost]]")
        url = f"{asker.dify.base_url}/chat-messages/{facts['task_id']}/stop"
        await (await asker.http.post(url, json={"user": "u"})).read()
        run: dict[str, Any] = {}
        async with asyncio.timeout(20):
            while run.get("status") != "stopped":
                _, run = await asker.get(f"/workflows/run/{facts['run_id']}")
        _, dead = await asker.get(f"/workflows/run/{lost['run_id']}")

    assert (run["error"], run["outputs"]) == ("Stopped by user.", {})
    assert (dead["status"], dead["finished_at"]) == ("running", None)


@pytest.mark.parametrize(("release", "kind"), [(OLD, "chatflow"), (NEW, "chat")])
async def test_a_run_is_told_of_chatflows_of_the_newer_release_only(
    release: str, kind: str
) -> None:
    """All others are refused."""
    async with asking(release=release, kind=kind) as asker:
        await asker.ask("好")
        run = asker.dify.questions()[0].facts["run_id"]
        status, body = await asker.get(f"/workflows/run/{run}")

    assert (status, body["code"]) == (400, "not_workflow_app")


async def test_history_pages_from_the_newest() -> None:
    """A page is the newest messages, oldest first; first_id goes back from there."""
    async with asking() as asker:
        _, body = await asker.ask("[[text=答0]]")
        conversation = frames(body)[0]["conversation_id"]
        for number in (1, 2):
            await asker.ask(f"[[text=答{number}]]", conversation_id=conversation)
        _, page = await asker.get("/messages", user="u", conversation_id=conversation, limit="2")
        _, rest = await asker.get(
            "/messages", user="u", conversation_id=conversation, first_id=page["data"][0]["id"]
        )

    assert ([one["answer"] for one in page["data"]], page["has_more"]) == (["答1", "答2"], True)
    assert ([one["answer"] for one in rest["data"]], rest["has_more"]) == (["答0"], False)


@pytest.mark.parametrize(("release", "statuses"), [(OLD, [200, 404]), (NEW, [204, 204])])
async def test_deleted_conversation_is_gone(release: str, statuses: list[int]) -> None:
    """Deleting answers as the release does, the conversation is unknown from then on."""
    async with asking(release=release) as asker:
        _, body = await asker.ask("一")
        conversation = frames(body)[0]["conversation_id"]
        url = f"{asker.dify.base_url}/conversations/{conversation}"
        got = []
        for _ in range(2):
            async with asker.http.delete(url, json={"user": "u"}) as response:
                got.append(response.status)
        again, _ = await asker.ask("二", conversation_id=conversation)
        _, listed = await asker.get("/conversations", user="u")

    assert (got, again, listed["data"]) == (statuses, 404, [])


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"user": None}, 400, "invalid_param"),
        ({"user": ["x"]}, 400, "invalid_param"),
        ({"inputs": None}, 400, "invalid_param"),
        ({"query": ""}, 400, "invalid_param"),
        ({"response_mode": ["x"]}, 400, "invalid_param"),
        ({"conversation_id": "nonsense"}, 400, "invalid_param"),
        ({"conversation_id": ""}, 200, None),
        ({"user": 7}, 200, None),
    ],
)
@pytest.mark.parametrize("release", [OLD, NEW])
async def test_body_is_checked(
    release: str, change: dict[str, Any], status: int, code: str | None
) -> None:
    """Missing and wrong fields are refused by status and code, tolerated ones are not."""
    async with asking(release=release) as asker:
        got, body = await asker.ask(**{"query": "问", **change})

    assert got == status
    assert code is None or json.loads(body)["code"] == code


async def test_body_that_is_not_json_is_refused() -> None:
    """Broken JSON is 400, another content type 415."""
    async with asking() as asker:
        url = f"{asker.dify.base_url}/chat-messages"
        statuses = []
        for content_type in ("application/json", "text/plain"):
            headers = {"Content-Type": content_type}
            async with asker.http.post(url, data=b"{", headers=headers) as response:
                statuses.append(response.status)

    assert statuses == [400, 415]


async def test_naming_a_new_conversation_costs_time_in_the_new_release() -> None:
    """Only a first turn that is not told otherwise waits."""
    async with asking(name_seconds=0.5) as asker:
        loop = asyncio.get_running_loop()
        seconds = []
        for naming in (True, False):
            started = loop.time()
            await asker.ask("[[empty]]", auto_generate_name=naming)
            seconds.append(loop.time() - started)

    assert seconds[0] >= 0.5 > seconds[1]


@pytest.mark.parametrize(
    ("fault", "status"), [("http_429", 429), ("http_500", 500), ("http_502", 502)]
)
async def test_switched_status_strikes_as_often_as_told(fault: str, status: int) -> None:
    """A fault set over HTTP with `times` strikes so often and is counted."""
    async with asking() as asker:
        order = {"name": fault, "times": 2}
        async with asker.http.post(f"{asker.dify.url}/_sim/faults", json=order) as response:
            assert response.status == 200
        statuses = [(await asker.ask("问"))[0] for _ in range(3)]
        async with asker.http.get(f"{asker.dify.url}/_sim/faults") as response:
            shown = await response.json()

    assert statuses == [status, status, 200]
    assert (shown["faults"][0]["struck"], shown["faults"][0]["times"]) == (2, 0)


async def test_chance_repeats_with_the_seed() -> None:
    """Two simulators of one seed fail the same requests."""
    runs = []
    for _ in range(2):
        async with asking(seed=5) as asker:
            asker.dify.faults.set("http_500", probability=0.5)
            runs.append([(await asker.ask("[[empty]]"))[0] for _ in range(12)])

    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 500}


@pytest.mark.parametrize("fault", ["cut", "down", "cut_midway"])
async def test_switched_cut_breaks_the_connection(fault: str) -> None:
    """Before the answer, everywhere, or half-way: the client sees a broken connection."""
    async with asking() as asker:
        asker.dify.faults.set(fault)
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await asker.ask("[[n=4]]")


@pytest.mark.parametrize(("fault", "last"), [("eof_midway", "message"), ("error_midway", "error")])
async def test_switched_fault_strikes_midway(fault: str, last: str) -> None:
    """Half the answer comes, then what was switched on."""
    async with asking() as asker:
        asker.dify.faults.set(fault)
        _, body = await asker.ask("[[n=4]]")

    assert frames(body)[-1]["event"] == last
    assert answer_of(body) == "第0段，你好world 第1段，你好world "


async def test_closed_port_refuses_and_comes_back_at_the_same_place() -> None:
    """A machine that is down refuses connections; up again it has the same address."""
    async with asking() as asker:
        url = asker.dify.url
        await asker.dify.close_port()
        async with aiohttp.ClientSession() as fresh:
            with pytest.raises(aiohttp.ClientConnectorError):
                await fresh.get(f"{url}/_sim/about")
            await asker.dify.open_port()
            async with fresh.get(f"{url}/_sim/about") as response:
                about = await response.json()

    assert (about["simulator"], about["url"]) == ("dify", url)


async def test_overlap_of_one_user_is_counted() -> None:
    """Two questions of one user at a time are an overlap, of two users they are not."""
    async with asking() as asker:
        await asyncio.gather(asker.ask("[[wait=0.1]]", user="a"), asker.ask("[[wait=0.1]]"))
        none = list(asker.dify.concurrency.overlaps)
        await asyncio.gather(asker.ask("[[wait=0.1]]"), asker.ask("[[wait=0.1]]"))
        seen = asker.dify.concurrency

    assert (none, seen.overlaps, seen.max_active, seen.active) == ([], ["u"], 2, 0)
    assert seen.max_by_user == {"a": 1, "u": 2}


async def test_more_questions_than_connections_wait_without_a_byte_and_are_answered() -> None:
    """The stock image has ten; nobody is refused."""
    async with asking(connections=2) as asker:
        began = time.monotonic()
        await asyncio.gather(*(asker.ask("[[wait=0.2]]", user=user) for user in "abcd"))
        seconds = time.monotonic() - began

    assert asker.dify.concurrency.max_active == 2
    assert seconds >= 0.4
    assert [record.outcome for record in asker.dify.questions()] == ["answered"] * 4


async def test_recorder_tells_of_each_question() -> None:
    """User, conversation, mode, ids, outcome and times of a request stand in the log."""
    async with asking() as asker:
        await asker.ask("问", response_mode="blocking")
        async with asker.http.get(f"{asker.dify.url}/_sim/log", params={"since": "0"}) as response:
            log = await response.json()

    record = log["records"][0]
    assert (record["user"], record["mode"], record["query"]) == ("u", "blocking", "问")
    assert (record["outcome"], record["conversation_id"]) == ("answered", None)
    assert record["started"] <= record["ended"]
    assert log["next"] == log["last"] == record["n"]


@given(st.text(max_size=200))
def test_any_query_has_a_plan(query: str) -> None:
    """Whatever a member types, the script parser and the planner take it."""
    script = parse_script(query)
    plan = make_plan(script, release=Release.NEW, turn=1, pace=0.0)

    assert plan.final == plan.answer or plan.replacement is not None


@given(
    st.sampled_from(["n", "wait", "error", "cut", "fail"]),
    st.text(max_size=10) | st.sampled_from(["inf", "nan", "-1", "1e9", "1e400", "²"]),
)
def test_any_value_of_an_order_has_a_plan(name: str, value: str) -> None:
    """A number that is none falls back; nothing raises."""
    plan = make_plan(parse_script(f"[[{name}={value}]]"), release=Release.OLD, turn=1, pace=0.0)

    assert plan.seconds >= 0
