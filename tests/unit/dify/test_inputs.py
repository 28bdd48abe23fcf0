"""Variables that go to an app along with a question."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from app.models.flow import MessageId, Turn, WcId
from app.services.dify.inputs import InputTemplates
from app.services.dify.wire import InputField

TURN = Turn(
    message_id=MessageId(7),
    fence=1,
    bot_wc_id=WcId("wxid_bot"),
    group_id=WcId("1@chatroom"),
    user=WcId("wxid_a"),
    question="问",
    user_name="小明{user_id}",
    group_name="客服群",
    received_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
)
SHANGHAI = ZoneInfo("Asia/Shanghai")


def filled(template: str) -> str:
    return InputTemplates({"x": template}, SHANGHAI).fill(TURN, None)["x"]


def test_every_placeholder_is_filled() -> None:
    """Names of people are data: braces in them name nothing."""
    assert filled("{user_id}/{user_name}") == "wxid_a/小明{user_id}"
    assert filled("{group_id} {group_name} {bot_id}") == "1@chatroom 客服群 wxid_bot"
    assert filled("{message_id} {{x}}") == "7 {x}"
    assert filled("{time}") == "2026-01-02 11:04:05+08:00"


def test_an_app_gets_only_what_it_declares_and_no_longer_than_it_takes() -> None:
    """What is too long would be refused with the whole question."""
    templates = InputTemplates({"name": "{user_name}", "other": "x"}, SHANGHAI)
    fields = (
        InputField(name="name", is_required=True, max_length=2),
        InputField(name="unset", is_required=False),
    )

    assert templates.fill(TURN, fields) == {"name": "小明"}
    assert templates.fill(TURN, None) == {"name": "小明{user_id}", "other": "x"}
    assert templates.fill(TURN, ()) == {}


def test_required_variables_without_a_template_are_named() -> None:
    """The question itself is one where the app takes it as a variable."""
    templates = InputTemplates({"name": "{user_name}"}, SHANGHAI)
    fields = (
        InputField(name="name", is_required=True),
        InputField(name="query", is_required=True),
        InputField(name="city", is_required=True),
        InputField(name="mood", is_required=False),
    )

    assert templates.lacking(fields) == ("query", "city")
    assert templates.lacking(fields, question_key="query") == ("city",)
    assert templates.lacking(None) == ()
