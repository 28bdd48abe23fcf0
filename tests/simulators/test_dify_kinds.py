"""The simulated Dify's workflow and completion apps, and the refusals of wrong kinds."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from simulators.dify_outputs import as_text, filled
from tests.simulators.captures import answer_of, frames
from tests.simulators.test_dify import Asker, asking

OLD, NEW = "0.15.3", "1.13.0"
RUN, COMPLETE, CHAT = "/workflows/run", "/completion-messages", "/chat-messages"
BOTH = pytest.mark.parametrize("release", [OLD, NEW])
SEVERAL = {
    "answer": "{answer}",
    "title": "题",
    "count": 3,
    "result": {"text": "{answer}", "tags": ["a"]},
}


def ask(query: str, **more: Any) -> dict[str, Any]:
    """Fields of a body whose question is the input `query`."""
    return {"inputs": {"query": query}, **more}


def chunks_of(body: bytes) -> list[str]:
    """The texts of a workflow's stream."""
    return [frame["data"]["text"] for frame in frames(body) if frame["event"] == "text_chunk"]


@BOTH
async def test_a_workflow_streams_chunks_between_its_nodes(release: str) -> None:
    """start, llm, end; each frame has the run's and the task's id and none of a message."""
    async with asking(release=release, kind="workflow") as asker:
        status, body = await asker.send(RUN, **ask("[[text=你好世界啊真好]]"))
        facts = asker.dify.questions()[0].facts

    got = frames(body)
    events = [frame["event"] for frame in got]
    others = [event for event in events if event != "text_chunk"]
    around = ["node_started", "node_finished"]
    assert (status, body.startswith(b"event: ping\n\n")) == (200, release == NEW)
    assert others == ["workflow_started", *around * 3, "workflow_finished"]
    assert 3 < events.index("text_chunk") < events.index("node_finished", 4)
    assert "".join(chunks_of(body)) == "你好世界啊真好"
    assert {(frame["workflow_run_id"], frame["task_id"]) for frame in got} == {
        (facts["run_id"], facts["task_id"])
    }
    assert not {"conversation_id", "message_id", "answer"} & {key for one in got for key in one}
    assert got[-1]["data"]["status"] == "succeeded"
    assert got[-1]["data"]["outputs"] == {"answer": "你好世界啊真好"}


@BOTH
async def test_a_blocking_run_is_told_as_json(release: str) -> None:
    """Ids and how it ended, as one object, in both releases."""
    async with asking(release=release, kind="workflow") as asker:
        status, body = await asker.send(RUN, **ask("[[text=好]]", response_mode="blocking"))
        facts = asker.dify.questions()[0].facts

    told = json.loads(body)
    data = told.pop("data")
    assert (status, told) == (
        200,
        {"task_id": facts["task_id"], "workflow_run_id": facts["run_id"]},
    )
    assert (data["id"], data["status"], data["outputs"], data["error"]) == (
        facts["run_id"],
        "succeeded",
        {"answer": "好"},
        None,
    )
    assert (data["total_tokens"], data["total_steps"]) == (12, 3)


@pytest.mark.parametrize(("release", "nothing"), [(OLD, None), (NEW, {})])
async def test_a_failed_run_is_http_200(release: str, nothing: Any) -> None:
    """Streaming it ends with workflow_finished and no error event, blocking it is a body."""
    async with asking(release=release, kind="workflow") as asker:
        streamed, body = await asker.send(RUN, **ask("[[n=4]] [[error=2]]"))
        whole, told = await asker.send(RUN, **ask("[[error]]", response_mode="blocking"))
        run = asker.dify.questions()[0].facts["run_id"]
        _, kept = await asker.get(f"{RUN}/{run}")

    last, blocking = frames(body)[-1], json.loads(told)["data"]
    assert (streamed, whole, last["event"]) == (200, 200, "workflow_finished")
    for data in (last["data"], blocking):
        assert (data["status"], data["outputs"], data["total_tokens"]) == ("failed", nothing, 0)
        assert "status code 500" in data["error"]
    assert chunks_of(body)[-2:] == ["第0段，你好world ", "第1段，你好world "]
    assert (kept["status"], "status code 500" in kept["error"]) == ("failed", True)


async def test_question_input_and_outputs_are_as_set() -> None:
    """The orders are read from the input that the app says, the outputs follow its template."""
    app = {"question_input": "q", "outputs": {"text": "{answer}"}}
    async with asking(kind="workflow", app=app) as asker:
        _, body = await asker.send(RUN, inputs={"q": "[[text=好]]"})
        _, told = await asker.send(RUN, inputs={"q": "[[text=好]]"}, response_mode="blocking")

    assert frames(body)[-1]["data"]["outputs"] == {"text": "好"}
    assert json.loads(told)["data"]["outputs"] == {"text": "好"}


@pytest.mark.parametrize(
    ("outputs", "given"),
    [
        (
            SEVERAL,
            {"answer": "好", "title": "题", "count": 3, "result": {"text": "好", "tags": ["a"]}},
        ),
        ({"count": 3, "ok": True}, {"count": 3, "ok": True}),
        ({"result": {"text": "{answer}"}}, {"result": {"text": "好"}}),
        ({"all": ["{answer}", None]}, {"all": ["好", None]}),
        ({}, {}),
    ],
)
@BOTH
async def test_outputs_of_any_shape_are_given_in_both_modes(
    release: str, outputs: dict[str, Any], given: dict[str, Any]
) -> None:
    """Several, none that is a text, nested ones, none at all; a code node makes what is no answer."""
    async with asking(release=release, kind="workflow", app={"outputs": outputs}) as asker:
        _, body = await asker.send(RUN, **ask("[[text=好]]"))
        _, told = await asker.send(RUN, **ask("[[text=好]]", response_mode="blocking"))

    finished, blocking = frames(body)[-1]["data"], json.loads(told)["data"]
    assert finished["outputs"] == blocking["outputs"] == given
    assert finished["total_steps"] == blocking["total_steps"] == (4 if outputs else 3)


@pytest.mark.parametrize(
    ("release", "text"),
    [
        (NEW, '好好好\n题\n3\n{\n  "text": "好好好"\n}'),
        (OLD, '好好好\n题3{\n  "text": "好好好"\n}'),
    ],
)
async def test_chunks_of_several_outputs_are_more_than_the_answer(release: str, text: str) -> None:
    """All outputs are streamed one behind the other; the selector tells whose a chunk is."""
    outputs = {"answer": "{answer}", "title": "题", "count": 3, "result": {"text": "{answer}"}}
    async with asking(release=release, kind="workflow", app={"outputs": outputs}) as asker:
        _, body = await asker.send(RUN, **ask("[[text=好好好]] [[size=1]]"))

    of_model = [
        frame["data"]["text"]
        for frame in frames(body)
        if frame["event"] == "text_chunk"
        and frame["data"]["from_variable_selector"] == ["llm", "text"]
    ]
    assert "".join(chunks_of(body)) == text
    assert "".join(of_model) == "好好好"


@pytest.mark.parametrize(
    ("release", "outputs", "chunks"),
    [
        (NEW, {"title": "题", "answer": "{answer}"}, ["题", "\n", "一", "二"]),
        (OLD, {"title": "题", "answer": "{answer}"}, ["题", "\n一二"]),
        (NEW, {"count": 3}, ["3"]),
        (OLD, {"count": 3}, ["3"]),
    ],
)
async def test_an_answer_that_is_not_the_first_output_is_not_streamed_at_once(
    release: str, outputs: dict[str, Any], chunks: list[str]
) -> None:
    """It waits for the outputs before it; where it is no output, it is not streamed at all."""
    async with asking(release=release, kind="workflow", app={"outputs": outputs}) as asker:
        _, body = await asker.send(RUN, **ask("[[text=一二]] [[size=1]]"))

    assert chunks_of(body) == chunks


def test_values_are_streamed_as_text() -> None:
    """Lists line by line, objects as JSON, nothing as nothing."""
    assert [as_text(value) for value in ("a", None, 1.5, ["x", 2], {"键": 1})] == [
        "a",
        "",
        "1.5",
        "x\n2",
        '{\n  "键": 1\n}',
    ]
    assert filled({"a": "<{answer}>", "b": 7}, "好") == {"a": "<好>", "b": 7}


@pytest.mark.parametrize(
    ("release", "mode", "status"),
    [
        (OLD, "streaming", 400),
        (OLD, "blocking", 400),
        (NEW, "blocking", 400),
        (NEW, "streaming", 200),
    ],
)
async def test_a_workflow_without_its_question_is_refused_or_lost(
    release: str, mode: str, status: int
) -> None:
    """A stream of the newer release pings once and falls silent; everything else is a 400."""
    async with asking(release=release, kind="workflow", idle_seconds=0.1) as asker:
        got, body = await asker.send(RUN, response_mode=mode)
        record = asker.dify.questions()[0]

    assert got == status
    if status == 200:
        assert (body, record.outcome) == (b"event: ping\n\n", "lost_before_graph")
    else:
        refused = json.loads(body)
        assert (refused["code"], refused["message"]) == (
            "invalid_param",
            "query is required in input form",
        )
        assert record.outcome == "http_400 invalid_param"


@pytest.mark.parametrize(
    ("release", "mode", "until"),
    [
        (NEW, "streaming", "succeeded"),
        (NEW, "blocking", "succeeded"),
        (OLD, "streaming", "running"),
    ],
)
async def test_which_runs_go_on_when_their_client_leaves(
    release: str, mode: str, until: str
) -> None:
    """What is in a worker or tells its client nothing goes on, a stream in the API's process dies."""
    async with asking(release=release, kind="workflow") as asker:
        url = f"{asker.dify.base_url}{RUN}"
        body = {"user": "u", "response_mode": mode, **ask("[[n=3]] [[delay=0.2]]")}
        if mode == "streaming":
            async with asker.http.post(url, json=body) as response:
                while not (await response.content.readline()).startswith(b"data: "):
                    pass
        else:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3), asker.http.post(url, json=body):
                    pass
        dify = asker.dify
        await dify.recorder.until(lambda: dify.questions()[-1].outcome is not None)
        run = dify.store.find_run(dify.default_app, dify.questions()[0].facts["run_id"])
        assert run is not None
        ended = await settled(asker, run.run_id)

    assert (run.run_status, run.answer) == (
        until,
        "".join(f"第{number}段，你好world " for number in range(3)) if ended else "",
    )


async def settled(asker: Asker, run_id: str) -> bool:
    """Whether a run has ended when nothing is under way any more."""
    await asyncio.gather(*asker.dify._questions.errands._tasks)
    _, told = await asker.get(f"{RUN}/{run_id}")
    return bool(told["finished_at"])


@pytest.mark.parametrize(
    ("release", "outputs"), [(OLD, '{"answer": "好"}'), (NEW, {"answer": "好"})]
)
async def test_a_run_is_told_with_its_outputs(release: str, outputs: Any) -> None:
    """An object in the newer release, a text that holds JSON in the older one."""
    async with asking(release=release, kind="workflow") as asker:
        await asker.send(RUN, **ask("[[text=好]]"))
        _, told = await asker.get(f"{RUN}/{asker.dify.questions()[0].facts['run_id']}")
        missing, _ = await asker.get(f"{RUN}/00000000-0000-4000-8000-000000000000")

    assert (told["status"], told["outputs"], missing) == ("succeeded", outputs, 404)
    assert json.loads(told["inputs"]) == {"query": "[[text=好]]"}
    assert (told["total_tokens"], told["total_steps"]) == (12, 3)


@pytest.mark.parametrize(
    ("kind", "path", "stop"),
    [
        ("workflow", RUN, "/workflows/tasks/{}/stop"),
        ("completion", COMPLETE, "/completion-messages/{}/stop"),
    ],
)
@BOTH
async def test_stop_ends_the_run_of_the_same_user(
    release: str, kind: str, path: str, stop: str
) -> None:
    """Another user's stop has no effect; a workflow ends as stopped, a completion as any other."""
    async with asking(release=release, kind=kind) as asker:
        url = f"{asker.dify.base_url}{path}"
        body = {"user": "u", "response_mode": "streaming", **ask("[[n=2000]] [[delay=0.01]]")}
        async with asker.http.post(url, json=body) as response:
            line = b""
            while not line.startswith(b"data: "):
                line = await response.content.readline()
            path = stop.format(json.loads(line[6:])["task_id"])
            other = await asker.send(path, user="v")
            more = [await response.content.readline() for _ in range(40)]
            own = await asker.send(path)
            rest = await response.read()

    assert [(status, json.loads(said)) for status, said in (other, own)] == [
        (200, {"result": "success"})
    ] * 2
    assert b"" not in more
    assert len(frames(rest)) < 1900
    last = frames(rest)[-1]
    if kind == "workflow":
        assert (last["data"]["status"], last["data"]["error"]) == ("stopped", "Stopped by user.")
    else:
        assert last["event"] == "message_end"
    assert asker.dify.questions()[0].outcome == "stopped_by_user"


async def test_a_workflow_replaces_its_text_by_an_event_of_its_own() -> None:
    """`text_replace`, and the outputs hold what it says."""
    async with asking(kind="workflow") as asker:
        _, body = await asker.send(RUN, **ask("[[n=2]] [[replace=换]]"))

    [replaced] = [frame for frame in frames(body) if frame["event"] == "text_replace"]
    assert replaced["data"] == {"text": "换"}
    assert frames(body)[-1]["data"]["outputs"] == {"answer": "换"}


@BOTH
async def test_a_completion_is_an_answer_without_a_conversation(release: str) -> None:
    """Streaming and blocking: message id and task id, but nothing of a conversation."""
    async with asking(release=release, kind="completion") as asker:
        _, body = await asker.send(COMPLETE, **ask("[[text=你好世界啊真好]]"))
        _, whole = await asker.send(COMPLETE, **ask("[[text=好]]", response_mode="blocking"))
        facts = asker.dify.questions()[1].facts

    got, told = frames(body), json.loads(whole)
    assert {frame["event"] for frame in got[:-1]} == {"message"}
    assert (got[-1]["event"], answer_of(body)) == ("message_end", "你好世界啊真好")
    assert not any("conversation_id" in frame for frame in got)
    assert list(told) == [
        *("event", "task_id", "id", "message_id", "mode", "answer", "metadata", "created_at")
    ]
    assert (told["mode"], told["answer"], told["message_id"], told["task_id"]) == (
        "completion",
        "好",
        facts["message_id"],
        facts["task_id"],
    )


async def test_a_completion_takes_its_question_from_either_place() -> None:
    """The input counts first; a form that asks for the input is not content with the other."""
    async with asking(kind="completion") as asker:
        _, top = await asker.send(COMPLETE, query="[[text=上]]")
        _, both = await asker.send(COMPLETE, **ask("[[text=里]]"), query="[[text=上]]")
        wrong, _ = await asker.send(COMPLETE, query=7)
        asker.dify.default_app.change({"form": [{"name": "query", "required": True}]})
        status, _ = await asker.send(COMPLETE, query="[[text=上]]")

    assert (answer_of(top), answer_of(both), wrong, status) == ("上", "里", 400, 400)


async def test_a_failed_completion_is_an_error_in_either_mode() -> None:
    """An event behind what was streamed, or HTTP 400."""
    async with asking(kind="completion") as asker:
        _, body = await asker.send(COMPLETE, **ask("[[n=4]] [[error=2]]"))
        status, whole = await asker.send(COMPLETE, **ask("[[error]]", response_mode="blocking"))

    last = frames(body)[-1]
    assert (last["event"], last["code"], "conversation_id" in last) == (
        "error",
        "completion_request_error",
        False,
    )
    assert (status, json.loads(whole)["code"]) == (400, "completion_request_error")


@pytest.mark.parametrize(
    ("path", "kinds", "code"),
    [
        (CHAT, ("workflow", "completion"), "not_chat_app"),
        (RUN, ("chat", "agent", "chatflow", "completion"), "not_workflow_app"),
        (COMPLETE, ("chat", "agent", "chatflow", "workflow"), "app_unavailable"),
    ],
)
@BOTH
async def test_an_app_of_another_kind_is_refused(
    release: str, path: str, kinds: tuple[str, ...], code: str
) -> None:
    """In either mode, before the body is looked at, and to stop as well; the record names the kind."""
    stop = "/workflows/tasks/x/stop" if path == RUN else f"{path}/x/stop"
    async with asking(release=release) as asker:
        for kind in kinds:
            asker.dify.default_app.change({"kind": kind})
            for mode in ("streaming", "blocking"):
                status, body = await asker.send(path, query="问", inputs=None, response_mode=mode)
                assert (status, json.loads(body)["code"]) == (400, code)
            assert asker.dify.questions()[-1].facts["kind"] == kind
            status, body = await asker.send(stop)
            assert (status, json.loads(body)["code"]) == (400, code)


async def test_history_is_not_for_apps_without_conversations() -> None:
    """Neither messages nor conversations."""
    async with asking(kind="workflow") as asker:
        await asker.send(RUN, **ask("[[empty]]"))
        facts = asker.dify.questions()[0].facts
        conversation = facts["answered_conversation_id"]
        messages = await asker.get("/messages", user="u", conversation_id=conversation)
        conversations = await asker.get("/conversations", user="u")

    for status, body in (messages, conversations):
        assert (status, body["code"]) == (400, "not_chat_app")


@pytest.mark.parametrize(("kind", "path"), [("workflow", RUN), ("completion", COMPLETE)])
async def test_what_goes_wrong_goes_wrong_here_too(kind: str, path: str) -> None:
    """Switched faults, orders and the app's limit hold for these endpoints."""
    async with asking(kind=kind) as asker:
        asker.dify.faults.set("http_503", times=1)
        down, _ = await asker.send(path, **ask("问"))
        failed, _ = await asker.send(path, **ask("[[fail=429]]"))
        asker.dify.faults.set("eof_midway", times=1)
        _, half = await asker.send(path, **ask("[[n=4]]"))
        with pytest.raises(aiohttp.ClientPayloadError):
            await asker.send(path, **ask("[[n=4]] [[cut=2]]"))

    assert (down, failed) == (503, 429)
    assert not {"message_end", "workflow_finished"} & {frame["event"] for frame in frames(half)}


@pytest.mark.parametrize(("kind", "path"), [("workflow", RUN), ("completion", COMPLETE)])
async def test_the_record_tells_all_that_was_asked(kind: str, path: str) -> None:
    """Kind, endpoint, inputs, user, mode and the question, wherever it stood."""
    inputs = {"query": "[[text=好]]", "extra": [1]}
    async with asking(kind=kind) as asker:
        await asker.send(path, inputs=inputs, user="wxid_a", response_mode="blocking")
        async with asker.http.get(f"{asker.dify.url}/_sim/log") as response:
            [record] = (await response.json())["records"]

    assert (record["kind"], record["endpoint"], record["inputs"]) == (kind, f"/v1{path}", inputs)
    assert (record["user"], record["query"], record["mode"], record["outcome"]) == (
        "wxid_a",
        "[[text=好]]",
        "blocking",
        "answered",
    )
