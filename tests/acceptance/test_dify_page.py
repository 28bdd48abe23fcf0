"""
Every row of the tables in ``docs/dify.md``, played through the whole running bridge.

What is expected of the message and of the log stands in the page and is read from there; how
Dify fails, and the exact segments of the group, stand here.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from app.models.tables import Base
from app.services import recovery
from app.services.dify import moderation
from app.services.dify.assembly import MAX_ANSWER
from app.services.dify.client import STOP_TIMEOUT, STRAY_STREAM_PATIENCE
from app.services.dify.responses import MAX_RETRY_AFTER
from app.services.dify.side_calls import SIDE_CALL_TIMEOUT
from app.services.dify.sse import MAX_EVENT_BYTES
from app.services.dify.stream import GRACE
from app.services.dify.transport import CONNECT_TIMEOUT, MAX_BODY_BYTES, DifyApp
from app.services.planning import PLAN_SECONDS
from app.services.queue import breakers
from app.services.resuming import FORM_GONE, FORM_REFUSED
from app.services.suggesting import SUGGEST_SECONDS
from config import describe_settings
from simulators.dify_release import Kind, Release
from simulators.dify_script import PREAMBLE, make_plan, parse_script
from simulators.ecloud_media import PNG
from tests.acceptance.dify_page import (
    NOTICE,
    PING,
    STREAM_END,
    STREAM_HEAD,
    Case,
    PageRow,
    Playing,
    Reply,
    Sim,
    Stage,
    Wire,
    answered,
    chunk,
    frame,
    open_stage,
    page,
    page_rows,
    page_table,
    refusal,
    response,
    stream,
)
from tests.unit.dify.captures import load

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANSWER = "这是回答。"
GOOD = answered(ANSWER)
NOTHING, GIVEN_UP = (), (NOTICE,)
SENTENCE = "这一段讲的是怎样一步一步地把事情做完。"
#: Each is worth a message of its own while the next one is written.
PARTS = tuple(f"{name}{SENTENCE * 12}" for name in "甲乙丙")
LONG = "[[delay=0.15]] [[size=60]] [[text={}]]".format("\\n\\n".join(PARTS))
LONGEST = "[[long=5000]]"
#: A deadline that a healthy answer keeps on a busy machine, too; seconds.
SHORT = 3
BIG = 17 * 1024 * 1024
BEFORE = f"起 [[text={ANSWER}]]"

CHATFLOW = Sim(kind=Kind.CHATFLOW)
OLD_CHATFLOW = Sim(kind=Kind.CHATFLOW, release=Release.OLD)


def good(orders: str = "") -> str:
    """A question with these orders and the answer."""
    return f"{orders} [[text={ANSWER}]]".strip()


#: What ``/parameters`` says of an app that suggests.
SUGGESTS = {"suggested_questions_after_answer": {"enabled": True}}
LIST = "你还可以问:\n1. 怎么退货\n2. 多久到账"


def said(body: Mapping[str, object]) -> bytes:
    """A whole answer to a call beside the questions."""
    return response("200 OK", json.dumps(body).encode())


def failed_call(words: str) -> bytes:
    """A blocking call whose model failed, with what its provider said."""
    message = f"[openai_api_compatible] Error: {words}"
    return refusal("400 BAD REQUEST", "completion_request_error", message)


def finished(status: str, error: str | None = None, answer: str | None = None) -> bytes:
    """The end of a run."""
    outputs = {} if answer is None else {"answer": answer, "files": []}
    data = {"id": "r-page", "status": status, "outputs": outputs, "error": error}
    return frame("workflow_finished", workflow_run_id="r-page", data=data)


def run(event: str, **data: object) -> bytes:
    """A frame of a run."""
    return frame(event, workflow_run_id="r-page", data=data)


# Peers that do more than answer by given bytes -------------------------------------------------


async def hang(wire: Wire, _playing: Playing) -> None:
    """Not a byte."""
    await wire.hang()


async def ping_and_hang(wire: Wire, _playing: Playing) -> None:
    """A stream that never tells anything."""
    await wire.send(STREAM_HEAD + PING)
    await wire.hang()


async def cut(wire: Wire, _playing: Playing) -> None:
    """The connection breaks before an answer."""
    wire.cut()


async def cut_after_two_parts(wire: Wire, playing: Playing) -> None:
    """The third part is begun; what came before the break has been read."""
    texts = (f"{PARTS[0]}\n\n", f"{PARTS[1]}\n\n", f"丙{SENTENCE * 4}这一")
    await wire.send(STREAM_HEAD + b"".join(frame("message", answer=text) for text in texts))
    await playing.stage.gateway.recorder.until(lambda: len(playing.segments()) == 2)
    wire.cut()


async def ping_and_cut(wire: Wire, _playing: Playing) -> None:
    """As a server breaks off that has too much to do."""
    await wire.send(STREAM_HEAD + PING + PING)
    wire.cut()


async def redirect(wire: Wire, playing: Playing) -> None:
    """To a place where it would be answered."""
    location = f"Location: /{playing.app}/v2/chat-messages"
    await wire.send(response("307 Temporary Redirect", b"", location))


async def stay_open(wire: Wire, _playing: Playing) -> None:
    """The answer ends, the stream does not."""
    frames = frame("message", answer=ANSWER) + frame("message_end")
    await wire.send(STREAM_HEAD + frames)
    await wire.hang()


async def save_late(wire: Wire, playing: Playing) -> None:
    """The proxy waits no longer; Dify goes on, and keeps the answer."""
    message = {
        "id": "m-late",
        "query": playing.question,
        "answer": ANSWER,
        "status": "normal",
        "created_at": int(time.time()),
    }
    playing.stage.raw.kept[playing.app] = [message]
    await wire.send(page("504 Gateway Time-out"))


async def send_big_body(wire: Wire, _playing: Playing) -> None:
    """More than anybody reads."""
    await wire.send(response("200 OK", b'{"answer":"' + b"a" * BIG + b'"}'))


async def send_big_event(wire: Wire, _playing: Playing) -> None:
    """A line without an end."""
    piece = chunk(b"a" * 2**20)
    await wire.send(STREAM_HEAD + chunk(b"data: "))
    for _ in range(BIG // 2**20):
        await wire.send(piece)


def replaced_by(text: str) -> Reply:
    """Two parts are written, the first one is out; then the text is replaced."""

    async def reply(wire: Wire, playing: Playing) -> None:
        await wire.send(STREAM_HEAD + frame("message", answer=f"{PARTS[0]}\n\n{PARTS[1]}"))
        await playing.stage.gateway.recorder.until(lambda: bool(playing.segments()))
        replacement = frame("message_replace", answer=text, reason="output_moderation")
        await wire.send(replacement + frame("message_end") + STREAM_END)

    return reply


async def fail_when_others_had_answers(wire: Wire, playing: Playing) -> None:
    """The third try of the row's question fails only when somebody else was answered."""
    body = wire.ask.body
    if body["query"] != playing.question:
        await GOOD(wire, playing)  # type: ignore[operator]
        return
    if playing.asked() == 3:
        await playing.until_settled(BEFORE)
    await wire.send(page("500 Internal Server Error"))


# What happens besides ---------------------------------------------------------------------------


async def delete_conversation(playing: Playing) -> None:
    """As an operator does in Dify's console."""
    server = playing.server
    [conversation] = server.store.of_user(server.apps[playing.key], playing.person)
    conversation.deleted = True


async def check_new_conversation(playing: Playing) -> None:
    """The one that answered is in force from now on."""
    rows = playing.stage.rows("SELECT conversation_id FROM sessions WHERE app = ?", playing.app)
    given = [one.facts.get("answered_conversation_id") for one in playing.server.questions()]
    mine = [
        one.facts["answered_conversation_id"]
        for one in playing.server.questions()
        if one.facts.get("query") == playing.question and "answered_conversation_id" in one.facts
    ]
    assert [row["conversation_id"] for row in rows] == mine[-1:]
    assert given.count(mine[-1]) == 1


async def check_old_conversation(playing: Playing) -> None:
    """The conversation was not to blame, and goes on."""
    [row] = playing.stage.rows("SELECT conversation_id FROM sessions WHERE app = ?", playing.app)
    [first] = [
        one.facts["answered_conversation_id"]
        for one in playing.server.questions()
        if one.facts.get("query") == BEFORE and one.facts["user"] == playing.person
    ]
    assert row["conversation_id"] == first


async def open_port_when_parked(playing: Playing) -> None:
    """Dify comes back after the breaker has opened."""
    await playing.until_logged("breaker.opened")
    await playing.server.open_port()


async def let_another_speak(playing: Playing) -> None:
    """Between the failures of one person another one is answered."""
    async with asyncio.timeout(30):
        while playing.asked() < 3:
            await asyncio.sleep(0.02)
    playing.say(BEFORE, f"{playing.person}b")


async def until_held_up(playing: Playing) -> None:
    """Its app is not there."""
    await playing.until_logged("breaker.opened")


async def check_kept(playing: Playing) -> None:
    """What a later look into the table finds of the answer."""
    [row] = playing.stage.rows(
        "SELECT dify_app, dify_conversation_id, dify_message_id, dify_task_id, total_tokens "
        "FROM messages WHERE group_id = ? AND question = ?",
        playing.group,
        playing.question,
    )
    [told] = [
        one.facts
        for one in playing.server.questions()
        if one.facts.get("query") == playing.question
    ]
    assert row.pop("total_tokens") > 0
    assert row == {
        "dify_app": playing.app,
        "dify_conversation_id": told["answered_conversation_id"],
        "dify_message_id": told["message_id"],
        "dify_task_id": told["task_id"],
    }


async def check_pause(playing: Playing) -> None:
    """As long as Dify asked for."""
    *_, former, last = playing.stage.raw.questions(playing.app, playing.question)
    assert last.at - former.at >= 2


async def check_streams_from_now_on(playing: Playing) -> None:
    """The next question is asked in the right way at once."""
    playing.say(BEFORE)
    await playing.until_settled(BEFORE)
    asked = [one.facts for one in playing.server.questions() if one.facts.get("query") == BEFORE]
    own = [one["mode"] for one in asked if one["user"] == playing.person]
    assert own == ["streaming"]


async def check_stopped(playing: Playing) -> None:
    """Dify was told to stop what nobody reads."""
    first, _ = [
        one for one in playing.server.questions() if one.facts.get("query") == playing.question
    ]
    path = f"POST /v1/chat-messages/{first.facts['task_id']}/stop"
    await playing.server.recorder.until(lambda: bool(playing.server.recorder.of("request", path)))


def squeezed(text: str) -> str:
    """Without white space, which gets lost where an answer is cut."""
    return re.sub(r"\s", "", text)


def long_answer() -> str:
    """What the simulated model makes of ``LONGEST``."""
    return make_plan(parse_script(LONGEST), release=Release.NEW, turn=1, pace=0).answer


# The rows ---------------------------------------------------------------------------------------

KEYS: Mapping[str, Case] = {
    "bad-key": Case(peer=(load("1.13.0/err__bad_key").response(),), group=GIVEN_UP),
    "no-authorization": Case(
        peer=(
            refusal(
                "401 UNAUTHORIZED",
                "unauthorized",
                "Authorization header must be provided and start with 'Bearer'",
            ),
        ),
        group=GIVEN_UP,
    ),
    "api-disabled": Case(peer=Sim(), question="[[fail=403]]", group=GIVEN_UP),
    "wrong-path": Case(peer=(load("1.13.0/err__unknown_path").response(),), group=GIVEN_UP),
    "redirect": Case(
        peer=(redirect, GOOD),
        group=GIVEN_UP,
    ),
    "wrong-kind": Case(
        peer=(refusal("400 BAD REQUEST", "not_chat_app", "Please check your app mode."),),
        group=GIVEN_UP,
        settings={"kind": "chat"},
    ),
    "not-published": Case(
        peer=(refusal("400 BAD REQUEST", "invalid_param", "Workflow not published"),),
        group=GIVEN_UP,
    ),
    "config-broken": Case(peer=Sim(), question="[[fail=400:app_unavailable]]", group=GIVEN_UP),
    "no-provider": Case(
        peer=Sim(), question="[[fail=400:provider_not_initialize]]", group=GIVEN_UP
    ),
    "plugin-removed": Case(
        peer=(refusal("400 BAD REQUEST", "invalid_param", "Provider x does not exist."),),
        group=GIVEN_UP,
    ),
    "provider-quota": Case(
        peer=Sim(), question="[[fail=400:provider_quota_exceeded]]", group=GIVEN_UP
    ),
    "model-withdrawn": Case(
        peer=Sim(), question="[[fail=400:model_currently_not_support]]", group=GIVEN_UP
    ),
    "input-missing": Case(
        peer=(refusal("400 BAD REQUEST", "invalid_param", "city is required in input form"),),
        group=GIVEN_UP,
    ),
    "input-known": Case(
        peer=Sim(settings={"form": [{"name": "city", "required": True}]}), group=GIVEN_UP
    ),
    "plan-quota": Case(
        peer=(refusal("429 TOO MANY REQUESTS", "rate_limit_error", "Rate limit of your plan"),),
        group=GIVEN_UP,
    ),
    "no-app": Case(peer=None, group=NOTHING, meanwhile=until_held_up),
}

BUSY: Mapping[str, Case] = {
    "too-many-at-once": Case(
        is_early=True,
        peer=(
            load("0.15.3/limit__max_active_requests_1_blocking").response(),
            load("1.13.0/limit__max_active_requests_1_streaming").response(),
            GOOD,
        ),
    ),
    "too-many-requests": Case(
        peer=(
            refusal(
                "429 TOO MANY REQUESTS", "too_many_requests", "Too many requests.", "Retry-After: 2"
            ),
            GOOD,
        ),
        check=check_pause,
    ),
    "proxy-429": Case(peer=(page("429 Too Many Requests"), GOOD)),
    "internal-error": Case(
        is_early=True,
        peer=(
            refusal("500 INTERNAL SERVER ERROR", "internal_server_error", "please contact support"),
            response(
                "500 INTERNAL SERVER ERROR",
                b'{"message":"Internal Server Error","code":"unknown"}',
            ),
            GOOD,
        ),
    ),
    "proxy-502-503": Case(
        is_early=True,
        peer=(page("502 Bad Gateway"), page("503 Service Unavailable", "Retry-After: 2"), GOOD),
        check=check_pause,
    ),
    "proxy-504-524": Case(
        is_early=True, peer=(page("504 Gateway Time-out"), page("524 A Timeout Occurred"), GOOD)
    ),
    "proxy-504-saved": Case(peer=(GOOD, save_late), before=BEFORE),
    "reset": Case(peer=(cut, GOOD)),
    "unreachable": Case(
        is_early=True, peer=Sim(is_away=True), question=good(), meanwhile=open_port_when_parked
    ),
    "fallback": Case(
        is_early=True,
        peer=(page("502 Bad Gateway"),),
        question=good(),
        settings={"fallback": "chat-blocking"},
    ),
    "fails-for-all": Case(is_early=True, peer=(page("500 Internal Server Error"),) * 4 + (GOOD,)),
    "fails-for-one": Case(
        peer=(fail_when_others_had_answers,),
        group=(ANSWER, NOTICE),
        meanwhile=let_another_speak,
    ),
    "model-busy": Case(
        is_early=True,
        peer=(
            failed_call('API request failed with status code 429: {"error":"slow down"}'),
            failed_call("API request failed with status code 500: oops"),
            failed_call("The read operation timed out"),
            GOOD,
        ),
    ),
    "model-refuses": Case(peer=(failed_call("Incorrect API key provided"),), group=GIVEN_UP),
    "model-quota": Case(peer=(failed_call("status code 429: insufficient_quota"),), group=GIVEN_UP),
    "node-busy": Case(peer=OLD_CHATFLOW, question=good("[[error=0;times=1]]")),
    "node-fails": Case(
        peer=(refusal("400 BAD REQUEST", "invalid_param", "Run failed: variable not found"),),
        group=GIVEN_UP,
    ),
}

HEALTHY: Mapping[str, Case] = {
    "chat": Case(peer=Sim(), question=good(), check=check_kept),
    "chat-old": Case(peer=Sim(release=Release.OLD), question=good(), check=check_kept),
    "agent": Case(
        peer=Sim(kind=Kind.AGENT),
        question=good("[[tool]]"),
        group=(PREAMBLE + ANSWER,),
        check=check_kept,
    ),
    "chatflow": Case(peer=CHATFLOW, question=good(), check=check_kept),
    "chatflow-old": Case(peer=OLD_CHATFLOW, question=good(), check=check_kept),
}

SIGNED_PNG = "/files/tools/a.png?timestamp=1&nonce=2&sign=x"
SIGNED_PDF = "/files/tools/b.pdf?timestamp=1&nonce=2&sign=y"
OUTSIDE = {"files_url": "https://files.example.com"}

FILES: Mapping[str, Case] = {
    "picture": Case(
        peer=Sim(),
        question=f"[[text=见图![图]({SIGNED_PNG})和[报告]({SIGNED_PDF})。]]",
        group=(
            "见图和报告。",
            f"https://files.example.com{SIGNED_PNG}",
            f"https://files.example.com{SIGNED_PDF}",
        ),
        settings=OUTSIDE,
    ),
    "picture-of-a-tool": Case(
        peer=Sim(kind=Kind.AGENT),
        question=f"[[empty]] [[tool_file={SIGNED_PNG}]]",
        group=(f"https://files.example.com{SIGNED_PNG}",),
        settings=OUTSIDE,
    ),
    "picture-inside": Case(
        peer=(answered("见图![图](http://api:5001/files/a.png?sign=x)"),),
        group=("见图", "[图片:图] (http://api:5001/files/a.png?sign=x)"),
    ),
}

PICTURE = "<msg><img aeskey='00' length='51361' /></msg>"


def showing(data: bytes = PNG) -> Callable[[Playing], Awaitable[None]]:
    """The person sends a picture first; the gateway keeps *data* as it."""

    async def show(playing: Playing) -> None:
        gateway = playing.stage.gateway
        said = gateway.say(playing.group, playing.person, PICTURE, message_type="80002")
        gateway.media.kept[str(said.msg_id)] = data

    return show


async def check_with_picture(playing: Playing) -> None:
    """Dify has it, and the question names it."""
    [asked] = [one for one in playing.server.questions() if one.facts["query"] == playing.question]
    [file] = asked.facts["files"]

    assert file["type"] == "image"
    assert playing.server.uploads.files[file["upload_file_id"]].data == PNG


async def check_without_picture(playing: Playing) -> None:
    """The question goes alone."""
    [asked] = [one for one in playing.server.questions() if one.facts["query"] == playing.question]

    assert asked.facts["files"] == []


NO_FILES = Sim(settings={"parameters": {"file_upload": {"enabled": False}}})

ATTACHED: Mapping[str, Case] = {
    "attachment": Case(peer=Sim(), question=good(), prepare=showing(), check=check_with_picture),
    "attachment-unwanted": Case(
        peer=NO_FILES, question=good(), prepare=showing(), check=check_without_picture
    ),
    "attachment-torn": Case(
        peer=Sim(),
        question=good(),
        prepare=showing(b"<html>expired</html>"),
        check=check_without_picture,
    ),
    "attachment-too-large": Case(
        peer=Sim(),
        question=good(),
        prepare=showing(PNG + bytes(10 * 1024 * 1024)),
        check=check_without_picture,
    ),
}

#: From the beginning; what it hears is told later.
EAR = Sim(settings={"speech": ""})
HEARS = {"speech_to_text": {"enabled": True}}
NO_MODEL = refusal(
    "400 BAD REQUEST", "provider_not_support_speech_to_text", "Provider not support speech to text."
)


async def hear_it(playing: Playing) -> None:
    """The app hears of every recording what the row is about."""
    playing.server.set_app(playing.key, {"speech": playing.question})


async def hear_it_later(playing: Playing) -> None:
    """The first time it fails inside."""
    await hear_it(playing)
    playing.server.faults.set("http_500", endpoints=["/v1/audio-to-text"], times=1)


async def tear_voices(playing: Playing) -> None:
    """The gateway has a page in the place of a recording."""
    await hear_it(playing)
    playing.stage.gateway.media.kept_of[playing.person] = b"<html>expired</html>"


def spoken(**how: Any) -> Case:
    """A question that is spoken."""
    return Case(**{"peer": EAR, "prepare": hear_it, **how, **VOICE_ON})


VOICE_ON: Mapping[str, Any] = {"is_spoken": True, "settings": {"voice": True}}
VOICES: Mapping[str, Case] = {
    "voice": spoken(question=good()),
    "voice-not-asked": spoken(group=NOTHING, rules={"trigger": "prefix", "prefixes": ["问"]}),
    "voice-deaf": spoken(peer=Sim(), group=NOTHING, prepare=None),
    "voice-busy": spoken(question=good(), prepare=hear_it_later),
    "voice-refused": spoken(
        peer=(GOOD,),
        prepare=None,
        beside={"/parameters": said(HEARS), "/audio-to-text": NO_MODEL},
        group=GIVEN_UP,
    ),
    "voice-torn": spoken(prepare=tear_voices, group=GIVEN_UP),
}

CONVERSATIONS: Mapping[str, Case] = {
    "conversation-unknown": Case(
        peer=Sim(),
        question=good(),
        before=BEFORE,
        prepare=delete_conversation,
        check=check_new_conversation,
    ),
    "conversation-silent": Case(
        is_early=True,
        peer=CHATFLOW,
        question=good(),
        before=BEFORE,
        settings={"first_event_timeout": SHORT},
        prepare=delete_conversation,
        check=check_new_conversation,
    ),
    "conversation-completed": Case(
        peer=Sim(),
        question=good("[[fail=400:conversation_completed;times=1]]"),
        before=BEFORE,
        check=check_new_conversation,
    ),
    "conversation-spoilt": Case(
        peer=Sim(),
        question=good("[[fail=400:completion_request_error;times=1]]"),
        before=BEFORE,
        check=check_new_conversation,
    ),
    "question-refused": Case(
        peer=Sim(),
        question="[[fail=400:completion_request_error]]",
        group=GIVEN_UP,
        before=BEFORE,
        check=check_old_conversation,
    ),
    "silent-without-conversation": Case(is_early=True, peer=(stream(PING),) * 4 + (GOOD,)),
}

STRANGE: Mapping[str, Case] = {
    "not-json": Case(peer=(page("200 OK"), GOOD)),
    "no-answer-field": Case(peer=(response("200 OK", b'{"result":"success"}'), GOOD)),
    "error-in-200": Case(
        peer=(
            response("200 OK", b'{"code":"internal_server_error","message":"x","status":500}'),
            GOOD,
        )
    ),
    "big-body": Case(peer=(send_big_body,), group=GIVEN_UP),
    "big-event": Case(peer=(send_big_event,), group=GIVEN_UP),
    "torn-frame": Case(peer=(stream(chunk(b'data: {"event":"message","answ\n\n')), GOOD)),
    "empty": Case(peer=Sim(), question="[[empty]]", group=NOTHING),
    "blank": Case(peer=Sim(), question="[[text= \\n ]]", group=NOTHING),
    "long": Case(peer=Sim(), question=LONGEST, group=(squeezed(long_answer()),), is_squeezed=True),
    "odd-characters": Case(
        peer=Sim(), question="[[u2028]] [[split]]", group=("前\u2028后\u0085\u000b\f\u001c末\n尾",)
    ),
    "json-for-a-stream": Case(
        peer=(response("200 OK", b'{"answer":"' + ANSWER.encode() + b'"}'),),
    ),
}

MUST_STREAM: Mapping[str, Case] = {
    "agent-blocking": Case(
        peer=Sim(kind=Kind.AGENT, release=Release.OLD),
        question=good("[[tool]]"),
        group=(PREAMBLE + ANSWER,),
        check=check_streams_from_now_on,
    ),
    "agent-known": Case(
        peer=Sim(kind=Kind.AGENT), question=good("[[tool]]"), group=(PREAMBLE + ANSWER,)
    ),
    "new-agent-blocking": Case(
        peer=(
            refusal(
                "400 BAD REQUEST", "bad_request", "Agent App only supports streaming response mode."
            ),
            stream(
                frame("agent_message", answer="这是"),
                frame("agent_message", answer="回答。"),
                frame("message", answer=ANSWER),
                frame("message_end"),
            ),
        )
    ),
    "chatflow-blocking": Case(
        is_early=True, peer=(ping_and_hang, GOOD), settings={"first_event_timeout": SHORT}
    ),
    "chatflow-known": Case(peer=CHATFLOW, question=good()),
}

ENDS: Mapping[str, Case] = {
    "stays-open": Case(peer=(stay_open,)),
    "end-before-finish": Case(
        peer=(
            stream(
                frame("message", answer=ANSWER),
                frame("message_end"),
                finished("succeeded", answer=ANSWER),
            ),
        )
    ),
    "text-in-outputs": Case(peer=(stream(finished("succeeded", answer=ANSWER)),)),
    "node-recovers": Case(
        peer=(
            stream(
                run("node_finished", status="failed", error="status code 500"),
                frame("message", answer=ANSWER),
                finished("partial-succeeded", answer=ANSWER),
            ),
        )
    ),
    "other-events": Case(
        peer=(
            stream(
                frame("agent_thought", id="x", thought="想一想。", observation="", tool=""),
                frame("agent_log", data={"label": "x"}),
                frame("message", answer=ANSWER),
                frame("something_new", answer="别的"),
                frame("tts_message", audio="A" * 3_000_000),
                frame("message_end"),
            ),
        )
    ),
    "human-input": Case(
        peer=(
            stream(
                run("workflow_started", id="r-page"),
                run("human_input_required", form_id="f", form_content="请确认订单。"),
                run("workflow_paused", status="paused"),
            ),
        ),
        group=("请确认订单。",),
    ),
    "human-input-later": Case(
        peer=(
            stream(
                run("workflow_started", id="r-page"),
                frame("message", answer=ANSWER),
                run("human_input_required", form_id="f", form_content="请确认订单。"),
                run("workflow_paused", status="paused"),
            ),
        ),
        group=(f"{ANSWER}\n\n请确认订单。",),
    ),
}


def waits(*_: object) -> bytes:
    """A run that wants words of somebody."""
    return stream(
        run("workflow_started", id="r-page"),
        frame("message", answer=ANSWER),
        run(
            "human_input_required",
            form_content="请说明原因。",
            form_token="tok",
            actions=[{"id": "send", "title": "提交"}],
            inputs=[{"type": "paragraph", "output_variable_name": "reason"}],
        ),
        run("workflow_paused", status="paused"),
    )


REST = stream(run("human_input_form_filled"), finished("succeeded", answer=f"{ANSWER}\n\n收到了。"))


async def submit_at_last(wire: Wire, playing: Playing) -> None:
    """Once in vain."""
    path = wire.ask.path
    tries = sum(one.path == path and one.app == playing.app for one in playing.stage.raw.asks)
    await wire.send(page("500 Internal Server Error") if tries == 1 else said({}))


def replied(form: Reply, group: tuple[str, ...], events: Reply = REST) -> Case:
    """Somebody replies to the form of the question before."""
    return Case(
        peer=(waits(), GOOD),
        before=BEFORE,
        beside={"/form/human_input/tok": form, "/workflow/r-page/events": events},
        group=group,
    )


FORMS: Mapping[str, Case] = {
    "form-answered": replied(said({}), ("收到了。",)),
    "form-gone": replied(
        refusal("404 X", "not_found", "Form not found"), (f"{FORM_GONE}\n\n{ANSWER}",)
    ),
    "form-expired": replied(
        refusal("412 X", "human_input_form_expired", "Form has expired"),
        (f"{FORM_GONE}\n\n{ANSWER}",),
    ),
    "form-refused": replied(
        refusal("400 X", "invalid_form_data", "Missing required inputs"), (FORM_REFUSED,)
    ),
    "form-away": replied(submit_at_last, ("收到了。",)),
    "form-run-fails": replied(
        said({}), GIVEN_UP, stream(finished("failed", error="variable not found"))
    ),
}

FAILURES: Mapping[str, Case] = {
    "run-fails": Case(peer=CHATFLOW, question=good("[[error=0;times=1]]")),
    "run-fails-twice-told": Case(peer=OLD_CHATFLOW, question=good("[[error=0;times=1]]")),
    "run-refused": Case(
        peer=(stream(finished("failed", error="variable not found")),), group=GIVEN_UP
    ),
    "run-stopped": Case(
        peer=(stream(finished("stopped", error="Stopped by user.")),), group=GIVEN_UP
    ),
    "run-stopped-late": Case(
        peer=(
            stream(frame("message", answer=ANSWER), finished("stopped", error="Stopped by user.")),
        )
    ),
    "error-first": Case(peer=Sim(), question=good("[[error=0;times=1]]")),
    "error-internal": Case(
        peer=Sim(), question=good("[[error=0;times=1]] [[code=internal_server_error]]")
    ),
    "error-lasting": Case(
        peer=Sim(),
        question="[[error=0]] [[code=provider_quota_exceeded]]",
        group=GIVEN_UP,
    ),
    "error-after-words": Case(peer=Sim(), question=good("[[size=2]] [[error=2;times=1]]")),
    "error-after-parts": Case(
        peer=Sim(),
        question=f"[[error=9]] {LONG}",
        group=(PARTS[0], PARTS[1], f"丙{SENTENCE * 4}"),
    ),
}

BREAKS: Mapping[str, Case] = {
    "cut-first": Case(is_early=True, peer=Sim(), question=good("[[cut=0;times=1]]")),
    "cut-behind-pings": Case(peer=(ping_and_cut, GOOD)),
    "cut-saved": Case(peer=Sim(), question=good("[[size=2]] [[cut=1]] [[saved]]")),
    "cut-chatflow": Case(
        is_early=True,
        peer=CHATFLOW,
        question=f"[[cut=7]] [[saved=0]] {LONG.replace('0.15', '0.6')}",
        group=(PARTS[0], f"{PARTS[1]}\n\n{PARTS[2]}"),
    ),
    "cut-after-parts": Case(
        peer=(cut_after_two_parts,),
        group=(PARTS[0], PARTS[1], f"丙{SENTENCE * 4}"),
    ),
    "no-end": Case(is_early=True, peer=Sim(), question=good("[[eof;times=1]]")),
    "pings-for-ever": Case(
        is_early=True,
        peer=Sim(),
        question=good("[[stall=0;times=1]]"),
        settings={"streaming_timeout": SHORT},
        check=check_stopped,
    ),
    "pings-first": Case(
        is_early=True,
        peer=Sim(release=Release.OLD),
        question=good("[[wait=60;times=1]]"),
        settings={"first_event_timeout": SHORT},
    ),
    "no-byte": Case(is_early=True, peer=(hang, GOOD), settings={"first_event_timeout": SHORT}),
    "blocking-deadline": Case(
        is_early=True,
        peer=Sim(),
        question=good("[[hang=0;times=1]]"),
        settings={"blocking_timeout": SHORT},
    ),
    "blocking-saved": Case(
        is_early=True,
        peer=Sim(),
        question=good("[[wait=4]]"),
        before=BEFORE,
        settings={"blocking_timeout": SHORT},
    ),
    "try-too-long": Case(
        is_early=True, peer=Sim(), question=good("[[stall=0;times=1]]"), check=check_stopped
    ),
}

REPLACED: Mapping[str, Case] = {
    "moderated": Case(
        peer=Sim(settings={"moderated": True}),
        question=f"{LONG} [[replace=换成这样]]",
        group=("换成这样",),
    ),
    "moderated-chatflow": Case(
        peer=Sim(kind=Kind.CHATFLOW, settings={"moderated": True}),
        question=f"{LONG} [[replace=换成这样]]",
        group=("换成这样",),
    ),
    "moderated-blocking": Case(
        peer=Sim(), question="[[text=换之前]] [[replace=换成这样]]", group=("换成这样",)
    ),
    "replaced-late": Case(peer=(replaced_by("换成这样"),), group=(PARTS[0], "换成这样")),
    "replaced-behind": Case(
        peer=(replaced_by(f"{PARTS[0]}\n\n换成这样"),),
        group=(PARTS[0], "换成这样"),
    ),
}

BEHIND: Mapping[str, Case] = {
    "citations": Case(
        peer=Sim(
            settings={"citations": [{"document_name": "手册.pdf"}, {"document_name": "价目"}]}
        ),
        rules={"citations": True},
        group=(f"{ANSWER}\n\n参考:《手册.pdf》《价目》",),
    ),
    "citations-empty": Case(
        peer=Sim(settings={"citations": [{"document_name": "手册.pdf"}]}),
        rules={"citations": True},
        question="[[empty]]",
        group=NOTHING,
    ),
    "suggested": Case(
        peer=Sim(settings={"suggestions": ["怎么退货", "多久到账"], "parameters": SUGGESTS}),
        rules={"suggestions": True},
        group=(ANSWER, LIST),
    ),
    "suggested-fails": Case(
        peer=(GOOD,),
        rules={"suggestions": True},
        beside={
            "/parameters": said(SUGGESTS),
            "/suggested": refusal("500 X", "internal_server_error", "Internal Server Error"),
        },
    ),
    "suggested-html": Case(
        peer=(GOOD,),
        rules={"suggestions": True},
        beside={"/parameters": said(SUGGESTS), "/suggested": page("200 OK")},
    ),
    "suggested-slow": Case(
        is_early=True,
        peer=(GOOD,),
        rules={"suggestions": True},
        beside={"/parameters": said(SUGGESTS), "/suggested": hang},
    ),
    "suggested-refused": Case(
        peer=(GOOD,),
        rules={"suggestions": True},
        beside={
            "/parameters": said(SUGGESTS),
            "/suggested": refusal("400 X", "bad_request", "Suggested Questions Is Disabled."),
        },
    ),
}

CASES = {
    **HEALTHY,
    **FILES,
    **ATTACHED,
    **VOICES,
    **KEYS,
    **BUSY,
    **CONVERSATIONS,
    **STRANGE,
    **MUST_STREAM,
    **ENDS,
    **FORMS,
    **FAILURES,
    **BREAKS,
    **REPLACED,
    **BEHIND,
}
ROWS = page_rows()

#: Seconds, by the page's word for them.
FIXED = {
    "连接": CONNECT_TIMEOUT,
    "沉默": DifyApp(name="x", base_url="", api_key="x").gap_timeout,
    "等另一个结束": GRACE,
    "阻塞却得到流": STRAY_STREAM_PATIENCE,
    "取回流": recovery.STREAM_PATIENCE,
    "取回阻塞": recovery.CALL_PATIENCE,
    "查询": SIDE_CALL_TIMEOUT,
    "叫停": STOP_TIMEOUT,
    "审查与否": moderation.MAX_AGE,
    "Retry-After": MAX_RETRY_AFTER,
    "试问": breakers.FIRST_PAUSE,
    "试问最长": breakers.LONGEST_PAUSE,
    "保存": PLAN_SECONDS,
    "建议": SUGGEST_SECONDS,
}

#: The words of the page, and the segments that they stand for.
SEEN: Mapping[str, Callable[[tuple[str, ...], str], bool]] = {
    "没有": lambda group, _verdict: group == NOTHING,
    "那句话": lambda group, _verdict: group[-1:] == GIVEN_UP,
    "整个回答": lambda group, verdict: (
        bool(group) and NOTICE not in group and verdict == "answered"
    ),
    "写完的部分": lambda group, verdict: len(group) > 1 and verdict == "cut_short",
    "先前的部分,新的回答": lambda group, _verdict: group == (PARTS[0], "换成这样"),
    "回答和引用": lambda group, _verdict: group == (f"{ANSWER}\n\n参考:《手册.pdf》《价目》",),
    "回答和列表": lambda group, _verdict: group == (ANSWER, LIST),
    "停下之前的话": lambda group, verdict: group == (ANSWER,) and verdict == "cut_short",
    "表单的回话": lambda group, _verdict: group == (FORM_REFUSED,),
    "失效的话,回答": lambda group, _verdict: group == (f"{FORM_GONE}\n\n{ANSWER}",),
    "表单的文字": lambda group, _verdict: group == ("请确认订单。",),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path
) -> AsyncIterator[Stage]:
    """The running bridge with an app for every row."""
    folder = tmp_path_factory.mktemp("dify-page")
    chosen = {item.name for item in request.session.items}
    async with open_stage(folder, migrated_sqlite, ROWS, CASES) as running:
        running.begin_early([row for row in ROWS if f"test_row[{row.name}]" in chosen])
        yield running


async def rated(
    stage: Stage, played: str, *, is_failing: bool = False, is_gone: bool = False
) -> str:
    """Somebody rates an answer of a row's app: the id of the callback."""
    one = stage.playing[played][0]
    question = f"{played} [[text=给它打分。]]"
    one.say(question)
    await one.until_settled(question)
    query = "SELECT dify_message_id FROM messages WHERE group_id = ? AND question = ?"
    [row] = stage.rows(query, one.group, question)
    path = f"/v1/messages/{row['dify_message_id']}/feedbacks"
    if is_failing:
        one.server.faults.set("http_500", endpoints=[path], times=1)
    if is_gone:
        del one.server.store._messages[row["dify_message_id"]]
    sent = [sent for sent in stage.gateway.sent if sent.to == one.group]
    [quoted] = [one for one in sent if one.content == "给它打分。"]
    return str(stage.gateway.say(one.group, one.person, "赞", quote=quoted.new_msg_id).new_msg_id)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ratings(stage: Stage) -> dict[str, str]:
    """Ids of ratings, by the rows of the page."""
    return {
        "feedback": await rated(stage, "chat"),
        "feedback-fails": await rated(stage, "chat-old", is_failing=True),
        "feedback-gone": await rated(stage, "chatflow-old", is_gone=True),
    }


async def test_page_and_tests_name_the_same_rows() -> None:
    """A row without a test, or a test without a row, is a promise that nobody looks after."""
    names = [row.name for row in ROWS]

    assert sorted(names) == sorted(CASES)


async def test_defaults_of_the_page_are_the_defaults() -> None:
    """And each is a setting."""
    defaults = {row.name: row.default for row in describe_settings()}
    shown = page_table("| 设置 | 默认 |")

    assert len(shown) == 7
    assert {name.strip("`"): value for name, value, *_ in shown} == {
        name.strip("`"): defaults[name.strip("`")] for name, *_ in shown
    }


async def test_fixed_figures_of_the_page_are_those_of_the_code() -> None:
    """Nobody can set them, so nobody finds them anywhere else."""
    figures = {name: float(value) for name, value, _ in page_table("| 固定的 | 值 |")}

    assert figures == FIXED
    assert {MAX_BODY_BYTES, MAX_EVENT_BYTES, MAX_ANSWER} == {16 * 2**20}


async def test_what_the_page_says_is_kept_has_a_column() -> None:
    """Under these names."""
    kept = page_table("| 表 | 列 |")

    assert len(kept) == 11
    for table, columns, _ in kept:
        known = Base.metadata.tables[table.strip("`")].columns.keys()
        assert set(re.findall(r"`(\w+)`", columns)) <= set(known), table


async def test_feedback_fares_as_the_page_says(stage: Stage, ratings: Mapping[str, str]) -> None:
    """Taken, taken later, refused: what the log says, and what stands in the row."""
    rows = {row[0].strip("`"): row for row in page_table("| 行 | 故障 | 日志说什么 | `detail` |")}

    assert rows.keys() == ratings.keys()
    for name, (_, _, log, detail, _) in rows.items():
        query = "SELECT id, detail, state FROM messages WHERE new_msg_id = ?"
        async with asyncio.timeout(30):
            while not (found := stage.rows(query, ratings[name])) or found[0]["state"] == "rating":
                await asyncio.sleep(0.05)
        events = [one for one in stage.log.events(found[0]["id"]) if one.startswith("feedback.")]
        assert tuple(events) == tuple(re.findall(r"`([a-z]+\.[a-z_]+)`", log)), name
        assert found[0]["detail"] == detail.strip("`"), name


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_row(row: PageRow, stage: Stage) -> None:
    """The group, the message, the log and the number of questions are as the page says."""
    found = await stage.play(row)

    for one, outcome in zip(stage.playing[row.name], found, strict=True):
        assert outcome == one.wanted(row), one.mode
        assert SEEN[row.seen](outcome.segments, outcome.verdict)
