"""What Dify keeps of a question, read over a real socket: the recorded list, and what releases say of runs."""

import json
from typing import Any

import pytest

from app.models.flow import Usage
from app.services.dify import side_calls
from app.services.dify.wire import StoredMessage, StoredRun
from app.services.errors import DifyError, DifyProtocolError, DifyRejected, DifyUnavailable
from tests.unit.dify import captures
from tests.unit.dify.conftest import ClientMaker, FakeDify, Script, Seen, Wire

CONVERSATION = "f436bd75-5ce2-48b7-abf2-ff584683a1b5"
FIRST, SECOND = "d37cb057-1308-401e-a3a1-1fe90ad3acd0", "2c73ae3c-4278-4749-811c-6c9e41b13ebf"


def says(
    body: Any, status: str = "200 OK", *, version: str = "1.13.0", kind: str = "json"
) -> Script:
    """A script that answers so."""

    async def script(_seen: Seen, wire: Wire) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        await wire.reply(status, data, f"X-Version: {version}", kind=kind)

    return script


def entry(number: int) -> dict[str, Any]:
    """A message of a list."""
    return {"id": f"m-{number}", "query": "问", "answer": "答", "status": "normal", "created_at": 1}


async def test_the_recorded_list_is_read(dify: FakeDify, make_client: ClientMaker) -> None:
    """Ids, texts, state and time; asked with the user and the conversation."""
    dify.answer(captures.load("1.13.0/messages__list").response())
    records = make_client().records
    found = await records.newest(CONVERSATION, "wxid_a&b")

    assert [one.message_id for one in found] == [FIRST, SECOND]
    assert found[1] == StoredMessage(
        message_id=SECOND,
        query="第二轮 [[n=3]] [[hist]]",
        answer="第0段，你好world 第1段，你好world 第2段，你好world (历史5条)",
        status="normal",
        created_at=1795374687,
    )
    [seen] = dify.seen
    assert seen.path.startswith("/v1/messages?")
    assert f"conversation_id={CONVERSATION}" in seen.path
    assert "wxid_a%26b" in seen.path


async def test_a_message_is_found_on_an_earlier_page(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """Each page goes on before the oldest of the one before."""
    pages = [{"data": [entry(n) for n in range(start, start + 10)]} for start in (20, 10)]
    dify.answer(*[says(page) for page in pages])
    found = await make_client().records.message("c-1", "m-13", "u")

    assert found is not None
    assert found.message_id == "m-13"
    assert ["first_id=m-20" in seen.path for seen in dify.seen] == [False, True]


@pytest.mark.parametrize("ends_early", [True, False])
async def test_a_message_that_is_not_there_is_looked_for_on_three_pages_at_most(
    dify: FakeDify, make_client: ClientMaker, *, ends_early: bool
) -> None:
    """Fewer where the conversation ends before."""
    length = 4 if ends_early else 10
    dify.answer(says({"data": [entry(n) for n in range(length)], "has_more": True}))

    assert await make_client().records.message("c-1", "m-99", "u") is None
    assert len(dify.seen) == (1 if ends_early else 3)


NOT_EXISTS = {"code": "not_found", "message": "Conversation Not Exists. You have …", "status": 404}


async def test_an_unknown_conversation_has_no_messages(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """Deleted, or another user's: the same 404."""
    dify.answer(says(NOT_EXISTS, "404 NOT FOUND"))

    assert await make_client().records.message("c-1", "m-1", "u") is None


@pytest.mark.parametrize(
    ("status", "body", "kind", "error"),
    [
        ("401 UNAUTHORIZED", {"code": "unauthorized", "message": "x"}, "json", DifyRejected),
        ("502 Bad Gateway", b"<html><title>502</title></html>", "html", DifyUnavailable),
        ("200 OK", b"<html>log in</html>", "html", DifyProtocolError),
        ("200 OK", {"data": {"id": "m-1"}}, "json", DifyProtocolError),
        ("302 Found", b"", "html", DifyRejected),
    ],
)
async def test_other_answers_are_errors_by_fault(
    dify: FakeDify,
    make_client: ClientMaker,
    status: str,
    body: Any,
    kind: str,
    error: type[DifyError],
) -> None:
    """As for a question; a redirect is not followed."""
    dify.answer(says(body, status, kind=kind))

    with pytest.raises(error):
        await make_client().records.message("c-1", "m-1", "u")
    assert len(dify.seen) == 1


async def test_a_list_that_does_not_come_is_waited_for_not_too_long(
    dify: FakeDify, make_client: ClientMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of a look is its own, not that of a question."""
    monkeypatch.setattr(side_calls, "SIDE_CALL_TIMEOUT", 0.1)

    async def hang(_seen: Seen, wire: Wire) -> None:
        await wire.hang()

    dify.answer(hang)
    with pytest.raises(DifyUnavailable):
        await make_client().records.message("c-1", "m-1", "u")


def run(**fields: Any) -> dict[str, Any]:
    """The body of a run."""
    return {
        "id": "r-1",
        "workflow_id": "w-1",
        "status": "succeeded",
        "inputs": "{}",
        "outputs": {"answer": "答", "files": []},
        "error": None,
        "total_steps": 3,
        "total_tokens": 17,
        **fields,
    }


@pytest.mark.parametrize(
    ("body", "version", "expected"),
    [
        (run(), "1.13.0", ("succeeded", "答", "", 17, True)),
        (run(outputs='{"answer": "答"}'), "1.6.0", ("succeeded", "答", "", 17, False)),
        (run(status="running", outputs={}), "1.13.3", ("running", "", "", 17, True)),
        (run(status="running", outputs=None), "1.12.1", ("running", "", "", 17, False)),
        (run(status="running", outputs="null"), "", ("running", "", "", 17, True)),
        (run(status="failed", error="x"), "2.0.0", ("failed", "答", "x", 17, True)),
        (run(outputs="{", total_tokens=None), "odd", ("succeeded", "", "", 0, True)),
    ],
)
async def test_a_run_is_read_as_its_release_writes_it(
    dify: FakeDify, make_client: ClientMaker, body: Any, version: str, expected: Any
) -> None:
    """Outputs as an object or as text; only newer releases let a run go on by itself."""
    dify.answer(says(body, version=version))
    found = await make_client().records.run("r/1")

    status, answer, error, tokens, goes_on = expected
    assert found == StoredRun(
        status=status,
        answer=answer,
        error=error,
        usage=Usage(total_tokens=tokens),
        goes_on_alone=goes_on,
    )
    assert dify.seen[0].path == "/v1/workflows/run/r%2F1"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("400 BAD REQUEST", {"code": "not_workflow_app", "message": "x", "status": 400}),
        (
            "404 NOT FOUND",
            {"code": "not_found", "message": "Workflow run not found.", "status": 404},
        ),
        ("500 ERROR", {"code": "internal_server_error", "message": "x", "status": 500}),
        ("200 OK", dict.fromkeys(run())),
    ],
)
async def test_of_a_run_that_dify_does_not_tell_nothing_is_known(
    dify: FakeDify, make_client: ClientMaker, status: str, body: Any
) -> None:
    """Old releases refuse for chatflows; of an unknown run each release has its own way."""
    dify.answer(says(body, status))

    assert await make_client().records.run("r-1") is None


async def test_a_proxy_that_finds_nobody_is_no_answer_about_a_run(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """Dify is away, and may know the run."""
    dify.answer(says(b"<html><title>502</title></html>", "502 Bad Gateway", kind="html"))

    with pytest.raises(DifyUnavailable):
        await make_client().records.run("r-1")
