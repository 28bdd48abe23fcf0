"""Apps of every kind: each is asked at its own endpoint, named by the settings or found out."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from app.models.flow import Answer
from app.services.dify.assembly import collect
from app.services.dify.client import DifyClient
from app.services.dify.wire import ChatRequest
from app.services.errors import DifyRejected, DifyUnavailable
from tests.unit.dify.conftest import ClientMaker, FakeDify, Script, Seen, Wire

REQUEST = ChatRequest(query="今天几号?", user="wxid_a", inputs={"name": "小明"})
INPUTS = {"name": "小明", "query": "今天几号?"}
CHAT, RUN, COMPLETION = "/v1/chat-messages", "/v1/workflows/run", "/v1/completion-messages"


def refusal(code: str) -> Script:
    """The app is of another kind."""

    async def script(_seen: Seen, wire: Wire) -> None:
        body = {"code": code, "message": "Please check if your app mode matches", "status": 400}
        await wire.reply("400 BAD REQUEST", json.dumps(body).encode())

    return script


def finished(outputs: Mapping[str, Any], status: str = "succeeded", error: str = "") -> Any:
    """How a run ended."""
    return {
        "id": "r",
        "status": status,
        "outputs": outputs,
        "error": error or None,
        "total_tokens": 9,
    }


def run_answer(data: Mapping[str, Any]) -> Script:
    """A blocking call of a workflow."""

    async def script(_seen: Seen, wire: Wire) -> None:
        body = {"task_id": "t", "workflow_run_id": "r", "data": data}
        await wire.reply("200 OK", json.dumps(body).encode())

    return script


def run_stream(*chunks: str, data: Mapping[str, Any]) -> Script:
    """A streaming call of a workflow."""

    async def script(_seen: Seen, wire: Wire) -> None:
        ids = {"task_id": "t", "workflow_run_id": "r"}
        await wire.open_stream()
        await wire.ping()
        await wire.frame(event="workflow_started", **ids, data={"id": "r"})
        for text in chunks:
            await wire.frame(event="text_chunk", **ids, data={"text": text})
        await wire.frame(event="workflow_finished", **ids, data=data)
        await wire.end()

    return script


async def completion_answer(_seen: Seen, wire: Wire) -> None:
    """A blocking call of a completion app: no conversation."""
    body = {"event": "message", "message_id": "m", "task_id": "t", "answer": "好", "metadata": {}}
    await wire.reply("200 OK", json.dumps(body).encode())


async def completion_stream(_seen: Seen, wire: Wire) -> None:
    """A streaming one."""
    await wire.open_stream()
    for text in ("你", "好"):
        await wire.frame(event="message", message_id="m", task_id="t", answer=text)
    await wire.frame(event="message_end", message_id="m", task_id="t", metadata={})
    await wire.end()


async def ask(client: DifyClient, *, is_stream: bool) -> Answer:
    """One question in either mode."""
    if not is_stream:
        return await client.chat(REQUEST)
    async with client.stream_chat(REQUEST) as events:
        return await collect(events)


def paths(dify: FakeDify) -> list[str]:
    return [seen.path for seen in dify.seen]


async def test_a_workflow_is_found_by_its_refusal_and_asked_so_from_then_on(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """The refusal costs no model; the question is an input, with the others beside it."""
    answer = run_answer(finished({"answer": "三号"}))
    dify.answer(refusal("not_chat_app"), answer, answer)
    client = make_client()

    first, second = await client.chat(REQUEST), await client.chat(REQUEST)

    assert (first.text, first.workflow_run_id, first.conversation_id) == ("三号", "r", "")
    assert first.usage.total_tokens == 9
    assert second == first
    assert paths(dify) == [CHAT, RUN, RUN]
    assert dify.seen[1].json == {"inputs": INPUTS, "user": "wxid_a", "response_mode": "blocking"}


async def test_a_completion_app_is_found_behind_both_others(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """Its answers belong to no conversation."""
    dify.answer(refusal("not_chat_app"), refusal("not_workflow_app"), completion_answer)
    client = make_client()

    assert await client.chat(REQUEST) == Answer(text="好", dify_message_id="m", task_id="t")
    assert paths(dify) == [CHAT, RUN, COMPLETION]
    assert dify.seen[2].json["inputs"] == INPUTS


@pytest.mark.parametrize(
    ("scripts", "path", "text"),
    [
        ([run_stream("三", "号", data=finished({"answer": "三号"}))], RUN, "三号"),
        ([run_stream(data=finished({"text": "四号"}))], RUN, "四号"),
        ([refusal("not_workflow_app"), completion_stream], COMPLETION, "你好"),
    ],
)
async def test_streams_of_either_kind_are_found_too(
    scripts: list[Script], path: str, text: str, dify: FakeDify, make_client: ClientMaker
) -> None:
    """Text of a run's end only counts if none was streamed."""
    dify.answer(refusal("not_chat_app"), *scripts)

    answer = await ask(make_client(), is_stream=True)

    assert (answer.text, answer.task_id) == (text, "t")
    assert paths(dify)[-1] == path


@pytest.mark.parametrize(
    ("mode", "path"),
    [("workflow", RUN), ("completion", COMPLETION), ("advanced-chat", CHAT), ("new-kind", CHAT)],
)
async def test_a_release_that_says_the_kind_saves_the_refusal(
    mode: str, path: str, dify: FakeDify, make_client: ClientMaker
) -> None:
    """A look at ``/info`` before the first question."""

    async def info(_seen: Seen, wire: Wire) -> None:
        body = json.dumps({"name": "x", "mode": mode}).encode()
        await wire.reply("200 OK", body, "X-Version: 1.13.3")

    dify.answer(info, run_answer(finished({"answer": "好"})))
    client = make_client()
    await client.ping()
    if path == RUN:
        assert (await client.chat(REQUEST)).text == "好"

    assert client.traits.endpoint.path == path.removeprefix("/v1")


async def test_a_kind_that_the_settings_name_is_not_doubted(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """Neither a refusal nor ``/info`` moves it: the operator is told instead."""

    async def info(_seen: Seen, wire: Wire) -> None:
        await wire.reply("200 OK", b'{"name": "x", "mode": "chat"}')

    dify.answer(info, refusal("not_workflow_app"))
    client = make_client(kind="workflow")
    await client.ping()

    with pytest.raises(DifyRejected) as caught:
        await client.chat(REQUEST)

    assert caught.value.peer_code == "not_workflow_app"
    assert paths(dify) == ["/v1/info", RUN]


async def test_an_app_that_every_endpoint_refuses_is_told_once_per_endpoint(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """No question goes round in circles."""
    dify.answer(refusal("not_chat_app"), refusal("not_workflow_app"), refusal("app_unavailable"))

    with pytest.raises(DifyRejected) as caught:
        await make_client().chat(REQUEST)

    assert caught.value.peer_code == "app_unavailable"
    assert paths(dify) == [CHAT, RUN, COMPLETION]


async def test_an_app_that_no_endpoint_fitted_is_tried_at_all_of_them_again(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """Its author may have put it right."""
    run = run_answer(finished({"answer": "好"}))
    refusals = [refusal(code) for code in ("not_chat_app", "not_workflow_app", "not_chat_app")]
    dify.answer(*refusals, refusal("not_chat_app"), run)
    client = make_client()
    with pytest.raises(DifyRejected):
        await client.chat(REQUEST)

    assert (await client.chat(REQUEST)).text == "好"
    assert paths(dify) == [CHAT, RUN, COMPLETION, CHAT, RUN]


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_run_that_failed_is_a_failure_though_http_says_200(
    is_stream: bool, dify: FakeDify, make_client: ClientMaker
) -> None:
    """By what its node said it may be tried again, or not."""
    for error, kind in (
        ("Run failed: status code 429", DifyUnavailable),
        ("Variable not found", DifyRejected),
    ):
        data = finished({}, "failed", error)
        dify.answer(run_stream(data=data) if is_stream else run_answer(data))
        client = make_client(kind="workflow")
        with pytest.raises(kind):
            await ask(client, is_stream=is_stream)


@pytest.mark.parametrize("is_stream", [False, True])
async def test_outputs_of_which_none_is_known_to_be_the_answer_are_named(
    is_stream: bool, dify: FakeDify, make_client: ClientMaker
) -> None:
    """The operator chooses one; then it is the answer."""
    data = finished({"title": "题", "body": "文"})
    script = run_stream(data=data) if is_stream else run_answer(data)
    dify.answer(script)

    with pytest.raises(DifyRejected, match=r"body、title.*dify\.output_key"):
        await ask(make_client(kind="workflow"), is_stream=is_stream)
    chosen = make_client(kind="workflow", output_key="body")
    assert (await ask(chosen, is_stream=is_stream)).text == "文"


async def test_the_question_goes_into_the_input_that_the_settings_name(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """Whatever the app's author called it."""
    dify.answer(run_answer(finished({"answer": "好"})))
    await make_client(kind="workflow", input_key="问题").chat(REQUEST)

    assert dify.seen[0].json["inputs"] == {"name": "小明", "问题": "今天几号?"}


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("chat", "/v1/chat-messages/t/stop"),
        ("workflow", "/v1/workflows/tasks/t/stop"),
        ("completion", "/v1/completion-messages/t/stop"),
    ],
)
async def test_each_kind_is_stopped_at_its_own_address(
    kind: str, path: str, dify: FakeDify, make_client: ClientMaker
) -> None:
    """Dify says yes to any of them, and stops only at the right one."""
    dify.answer(b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"result":"success"}')
    await make_client(kind=kind).stop("t", "wxid_a")

    assert paths(dify) == [path]


def form_of(*fields: tuple[str, bool]) -> Script:
    """What ``/parameters`` say of an app's variables: name, and whether it is required."""

    async def script(_seen: Seen, wire: Wire) -> None:
        form = [{"text-input": {"variable": name, "required": need}} for name, need in fields]
        await wire.reply("200 OK", json.dumps({"user_input_form": form}).encode())

    return script


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ([("q", True)], "q"),
        ([("q", False)], "q"),
        ([("q", True), ("name", False)], "q"),
        ([("q", True), ("query", False)], "query"),
        ([("q", True), ("city", True)], "query"),
        ([], "query"),
    ],
)
async def test_where_the_question_goes_is_seen_in_the_apps_form(
    fields: list[tuple[str, bool]], key: str, dify: FakeDify, make_client: ClientMaker
) -> None:
    """If it declares no variable of the name in the settings, and it is clear which one is meant."""
    dify.answer(form_of(*fields), run_answer(finished({"answer": "好"})))
    client = make_client(kind="workflow")
    await client.parameters()
    await client.chat(REQUEST)

    assert client.question_key == key
    assert dify.seen[1].json["inputs"][key] == REQUEST.query
