"""What can be set for an app of the simulated Dify: its form, its description, its extras; and how."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.dify_app import SETTINGS, BadSetting, parsed_settings
from simulators.dify_errors import DifyRefused
from simulators.dify_form import FormField, filled_form
from simulators.dify_release import Release
from tests.simulators.captures import answer_of, frames
from tests.simulators.test_dify import Asker, asking

OLD, NEW = "0.15.3", "1.13.0"
RUN, COMPLETE, CHAT = "/workflows/run", "/completion-messages", "/chat-messages"
BOTH = pytest.mark.parametrize("release", [OLD, NEW])
FORM = [
    {"name": "query", "type": "paragraph", "required": True, "label": "问题"},
    {"name": "city", "type": "text-input", "max_length": 4},
    {"name": "style", "type": "select", "options": ["长", "短"]},
    {"name": "count", "type": "number", "default": 3},
]


async def control(asker: Asker, **order: Any) -> tuple[int, Any]:
    """Status and answer of POST /_sim/apps."""
    async with asker.http.post(f"{asker.dify.url}/_sim/apps", json=order) as response:
        return response.status, await response.json()


@pytest.mark.parametrize("kind", ["chat", "agent", "chatflow", "workflow", "completion"])
@BOTH
async def test_mode_is_told_by_the_newer_release_only(release: str, kind: str) -> None:
    """In Dify's own words."""
    modes = {"agent": "agent-chat", "chatflow": "advanced-chat"}
    async with asking(release=release, kind=kind, app={"name": "答疑"}) as asker:
        _, told = await asker.get("/info")

    assert told["name"] == "答疑"
    assert told.get("mode") == (modes.get(kind, kind) if release == NEW else None)


async def test_parameters_tell_what_is_set() -> None:
    """Whatever is named replaces the default, everything else stays."""
    changed = {
        "opening_statement": "开场",
        "suggested_questions": ["一"],
        "speech_to_text": {"enabled": True},
        "file_upload": {"enabled": False},
        "system_parameters": {"file_size_limit": 1},
    }
    async with asking(app={"parameters": changed}) as asker:
        _, told = await asker.get("/parameters", user="u")
        asker.dify.default_app.change({"parameters": {}})
        _, usual = await asker.get("/parameters", user="u")

    assert told == usual | changed
    assert usual["retriever_resource"] == {"enabled": True}
    assert usual["suggested_questions_after_answer"] == {"enabled": False}


async def test_form_is_shown_by_type() -> None:
    """Apps with a graph show their start node's fields, others the older form."""
    async with asking(kind="completion", app={"form": FORM}) as asker:
        _, plain = await asker.get("/parameters")
        asker.dify.default_app.change({"kind": "workflow"})
        _, graph = await asker.get("/parameters")

    assert plain["user_input_form"] == [
        {"paragraph": {"label": "问题", "variable": "query", "required": True, "default": ""}},
        {
            "text-input": {
                "label": "city",
                "variable": "city",
                "required": False,
                "max_length": 4,
                "default": "",
            }
        },
        {
            "select": {
                "label": "style",
                "variable": "style",
                "required": False,
                "options": ["长", "短"],
                "default": "",
            }
        },
        {"number": {"label": "count", "variable": "count", "required": False, "default": 3}},
    ]
    assert graph["user_input_form"][0] == {
        "paragraph": {
            "label": "问题",
            "variable": "query",
            "required": True,
            "options": [],
            "type": "paragraph",
        }
    }


@pytest.mark.parametrize(
    ("kind", "name", "required"),
    [("workflow", "q", True), ("completion", "q", False), ("chat", None, None)],
)
async def test_usual_form_asks_for_the_question(
    kind: str, name: str | None, required: bool | None
) -> None:
    """Where an input carries it; a chat asks for nothing."""
    async with asking(kind=kind, app={"question_input": "q"}) as asker:
        _, told = await asker.get("/parameters")

    shown = [field["paragraph"] for field in told["user_input_form"]]
    assert [(one["variable"], one["required"]) for one in shown] == (
        [(name, required)] if name else []
    )


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "query is required in input form"),
        ({"query": None}, "query is required in input form"),
        ({"query": 7}, "(type 'paragraph') query in input form must be a string"),
        (
            {"query": "问", "city": "呼和浩特市"},
            "city in input form must be less than 4 characters",
        ),
        (
            {"query": "问", "style": "中"},
            "style in input form must be one of the following: ['长', '短']",
        ),
        ({"query": "问", "count": "三"}, "count in input form must be a valid number"),
        ({"query": "问", "city": "北京", "style": "长", "count": "1.5", "x": 1}, None),
    ],
)
@pytest.mark.parametrize(
    ("kind", "path"),
    [("chat", CHAT), ("agent", CHAT), ("completion", COMPLETE), ("workflow", RUN)],
)
async def test_inputs_are_what_the_form_asks_for(
    kind: str, path: str, inputs: dict[str, Any], message: str | None
) -> None:
    """A missing or wrong one is an `invalid_param` in so many words."""
    async with asking(release=OLD, kind=kind, app={"form": FORM}) as asker:
        status, body = await asker.send(path, query="问", inputs=inputs)

    if message is None:
        assert status == 200
    else:
        refused = json.loads(body)
        assert (status, refused["code"], refused["message"]) == (400, "invalid_param", message)


@pytest.mark.parametrize(
    ("release", "status", "outcome"),
    [(OLD, 400, "http_400 invalid_param"), (NEW, 200, "lost_before_graph")],
)
async def test_a_chatflow_of_the_newer_release_loses_what_lacks_an_input(
    release: str, status: int, outcome: str
) -> None:
    """One ping and silence instead of a 400."""
    async with asking(
        release=release, kind="chatflow", idle_seconds=0.1, app={"form": FORM}
    ) as asker:
        got, body = await asker.send(CHAT, query="问")
        record = asker.dify.questions()[0]

    assert (got, record.outcome) == (status, outcome)
    assert (body == b"event: ping\n\n") == (release == NEW)


@pytest.mark.parametrize(("kind", "status"), [("chat", 200), ("chatflow", 400)])
async def test_a_conversation_keeps_its_first_inputs(kind: str, status: int) -> None:
    """A chat's later questions need none; a chatflow asks each time."""
    async with asking(release=OLD, kind=kind, app={"form": FORM}) as asker:
        _, body = await asker.send(CHAT, query="一", inputs={"query": "甲", "more": 1})
        conversation = frames(body)[0]["conversation_id"]
        again, _ = await asker.send(CHAT, query="二", conversation_id=conversation)
        _, page = await asker.get("/messages", user="u", conversation_id=conversation)

    first = {"query": "甲", "city": None, "style": None, "count": None}
    assert again == status
    assert [one["inputs"] for one in page["data"]] == [first] * (2 if status == 200 else 1)


async def test_a_graph_sees_the_inputs_of_its_form() -> None:
    """With the newer release's defaults, before the system variables, and no others."""
    async with asking(kind="chatflow", app={"form": FORM}) as asker:
        _, body = await asker.send(CHAT, query="一", inputs={"query": "甲", "more": 1})

    seen = frames(body)[0]["data"]["inputs"]
    assert list(seen)[:5] == ["query", "city", "style", "count", "sys.files"]
    assert (seen["query"], seen["count"]) == ("甲", 3)


async def test_suggestions_follow_an_answer_where_they_are_set() -> None:
    """Else they are refused; an unknown message and another user's are not found."""
    async with asking() as asker:
        _, body = await asker.send(CHAT, query="一")
        path = f"/messages/{frames(body)[0]['message_id']}/suggested"
        off = await asker.get(path, user="u")
        asker.dify.default_app.change({"suggestions": ["再问", "还问"]})
        on = await asker.get(path, user="u")
        other = await asker.get(path, user="v")
        _, told = await asker.get("/parameters")
        asker.dify.default_app.change({"kind": "completion"})
        wrong = await asker.get(path, user="u")

    assert (off[0], off[1]["message"]) == (400, "Suggested Questions Is Disabled.")
    assert on == (200, {"result": "success", "data": ["再问", "还问"]})
    assert (other[0], other[1]["message"]) == (404, "Message Not Exists.")
    assert told["suggested_questions_after_answer"] == {"enabled": True}
    assert (wrong[0], wrong[1]["code"]) == (400, "not_chat_app")


@pytest.mark.parametrize(("kind", "path"), [("chat", CHAT), ("completion", COMPLETE)])
async def test_feedback_is_kept_and_recorded(kind: str, path: str) -> None:
    """The last rating stands, null takes it back once, and the log tells of each."""
    async with asking(kind=kind) as asker:
        _, body = await asker.send(path, query="一")
        message_id = frames(body)[0]["message_id"]
        message = asker.dify.store.find_message(asker.dify.default_app, "u", message_id)
        assert message is not None
        url, got, kept = f"/messages/{message_id}/feedbacks", [], []
        for rating in ("like", "dislike", None, None, "so-so"):
            status, _ = await asker.send(url, rating=rating, content="因为")
            got.append(status)
            kept.append(message.feedback and message.feedback["rating"])
        stranger, _ = await asker.send(url, rating="like", user="v")
        record = asker.dify.recorder.of("request", f"POST /v1{url}")[0]

    assert (got, stranger) == ([200, 200, 200, 400, 400], 404)
    assert kept == ["like", "dislike", None, None, None]
    assert (record.facts["rating"], record.facts["content"], record.facts["user"]) == (
        "like",
        "因为",
        "u",
    )


async def test_feedback_is_shown_in_the_history() -> None:
    """With its message."""
    async with asking() as asker:
        _, body = await asker.send(CHAT, query="一")
        first = frames(body)[0]
        await asker.send(f"/messages/{first['message_id']}/feedbacks", rating="like")
        _, page = await asker.get("/messages", user="u", conversation_id=first["conversation_id"])

    assert [one["feedback"] for one in page["data"]] == [{"rating": "like"}]


@pytest.mark.parametrize(("kind", "path"), [("chat", CHAT), ("completion", COMPLETE)])
@BOTH
async def test_citations_and_price_stand_at_the_end(release: str, kind: str, path: str) -> None:
    """In both modes; what a citation does not say is made up, and none are told where that is off."""
    app = {"citations": [{"document_name": "手册.pdf", "score": 0.9}, {}], "price": "0.0012"}
    async with asking(release=release, kind=kind, app=app) as asker:
        _, body = await asker.send(path, query="[[n=2]]")
        _, whole = await asker.send(path, query="[[n=2]]", response_mode="blocking")
        asker.dify.default_app.change({"parameters": {"retriever_resource": {"enabled": False}}})
        _, bare = await asker.send(path, query="[[n=2]]")

    ends = [frames(body)[-1]["metadata"], json.loads(whole)["metadata"]]
    for told in ends:
        cited = told["retriever_resources"]
        assert [(one["position"], one["document_name"]) for one in cited] == [
            (1, "手册.pdf"),
            (2, "手册.pdf"),
        ]
        assert (cited[0]["score"], cited[0]["dataset_name"]) == (0.9, "知识库")
        used = told["usage"]
        assert (used["prompt_tokens"], used["completion_tokens"], used["total_tokens"]) == (
            11,
            2,
            13,
        )
        assert (used["total_price"], used["currency"], used["latency"] >= 0) == (
            "0.0012",
            "USD",
            True,
        )
    assert not frames(bare)[-1]["metadata"].get("retriever_resources")


async def test_apps_of_one_server_are_set_by_key_while_it_runs() -> None:
    """A new key makes an app, a known one changes it, and GET shows all that may be set."""
    async with asking() as asker:
        made = await control(asker, key="app-w", kind="workflow", outputs={"text": "{answer}"})
        asker.http.headers["Authorization"] = "Bearer app-w"
        _, body = await asker.send(RUN, inputs={"query": "[[text=好]]"})
        await control(asker, key="app-w", question_input="q")
        _, changed = await asker.send(RUN, inputs={"q": "[[text=换]]"})
        async with asker.http.get(f"{asker.dify.url}/_sim/apps") as response:
            shown = (await response.json())["apps"]
        again = await control(asker, **shown[1])

    assert made[0] == 200
    assert frames(body)[-1]["data"]["outputs"] == {"text": "好"}
    assert frames(changed)[-1]["data"]["outputs"] == {"text": "换"}
    assert [(one["key"], one["kind"]) for one in shown] == [
        (asker.dify.api_key, "chat"),
        ("app-w", "workflow"),
    ]
    assert set(shown[1]) == {"key", *SETTINGS}
    assert again == (200, shown[1])


@pytest.mark.parametrize(
    "order",
    [
        {"kind": "spreadsheet"},
        {"colour": "red"},
        {"outputs": []},
        {"form": [{"type": "number"}]},
        {"form": [{"name": "x", "type": "file"}]},
        {"form": [{"name": "x", "size": 3}]},
        {"max_active": -1},
        {"moderated": 1},
        {"suggestions": "再问"},
        {"suggestions": [1]},
        {"citations": ["手册.pdf"]},
        {"name": None},
    ],
)
async def test_an_order_that_makes_no_sense_changes_nothing(order: dict[str, Any]) -> None:
    """It is refused whole, for a known key and for a new one."""
    async with asking() as asker:
        for key in (asker.dify.api_key, "app-new"):
            status, refused = await control(asker, key=key, **{"name": "新", **order})
            assert (status, refused["error"]) == (400, "BadSetting")
        keyless, _ = await control(asker, **order)
        _, told = await asker.get("/info")

    assert (keyless, list(asker.dify.apps), told["name"]) == (
        400,
        [asker.dify.api_key],
        "群聊助手",
    )


async def test_an_app_answers_as_before_when_only_extras_are_set() -> None:
    """Settings that are not about answers leave them alone."""
    async with asking(app={"suggestions": ["再问"], "citations": [{}]}) as asker:
        _, body = await asker.send(CHAT, query="[[text=好]]")

    assert answer_of(body) == "好"


@given(st.dictionaries(st.sampled_from(list(SETTINGS)), st.none() | st.integers() | st.text()))
def test_any_setting_is_taken_or_refused(settings: dict[str, Any]) -> None:
    """Nothing else is raised."""
    try:
        parsed = parsed_settings(settings)
    except BadSetting:
        return
    assert parsed.keys() == settings.keys()


@given(
    st.sampled_from(["text-input", "paragraph", "select", "number"]),
    st.booleans(),
    st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()),
    st.sampled_from(list(Release)),
)
def test_any_input_is_taken_or_refused(
    kind: str, required: bool, value: Any, release: Release
) -> None:
    """As an `invalid_param`; a required one that is taken has a value, unless it is a blank number."""
    field = FormField(name="x", type=kind, required=required, options=("a",), max_length=5)
    code, taken = "", None
    try:
        taken = filled_form((field,), {"x": value}, release)["x"]
    except DifyRefused as refused:
        code = refused.code
    if code:
        assert code == "invalid_param"
    else:
        assert taken is not None or not required or not str(value).strip()
