"""Runs that wait for a person: the form in the group, the reply, and the rest of the answer."""

import asyncio
import json
from typing import Any

import pytest

from app.models.flow import WcId
from app.services.erasure import erase
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from simulators.ecloud_callbacks import QUOTATION, quotation
from tests.fixtures.inside import INSIDE_EMBEDDED, Inside, StartInside

APP = "app-forms"
STREAMING = pytest.mark.parametrize("streaming", ["true", "false"])
ORDER = "下单 [[text=订单如下。]] [[form=请确认。]] [[actions=同意|拒绝]]"
SHOWN = "订单如下。\n\n请确认。\n\n请回复序号:\n1. 同意\n2. 拒绝"
AFTER = "[[after=已记下:{action}。]]"


def said(gateway: EcloudSimulator) -> list[str]:
    """What the group saw, without the mentions."""
    return [one.content.split("\u2005")[-1] for one in gateway.sent]


def only(dify: DifySimulator, kind: str = "chatflow", **settings: str) -> dict[str, str]:
    """The default app is one with a graph."""
    dify.add_app(APP, kind)
    return {"DIFY_API_KEY": APP, **settings}


def submissions(dify: DifySimulator) -> list[dict[str, Any]]:
    """What was filled in, form by form."""
    runs = dify._questions.human_input.runs.values()
    return [one for run in runs for one in run.filled]


def quoting(bridge: Inside, text: str) -> bytes:
    """A callback in which somebody quotes what was sent last."""
    room, sent = bridge.gateway.speech.find_group("体验群"), bridge.gateway.sent[-1]
    data = quotation(
        text,
        group=room,
        name="小助手",
        timestamp=1_767_000_000,
        sender=sent.bot,
        content=sent.content,
        new_msg_id=sent.new_msg_id,
    )
    return json.dumps(
        {**json.loads(bridge.callback("", **data)), "messageType": QUOTATION}
    ).encode()


async def pending(bridge: Inside) -> int:
    """How many forms wait."""
    return len(await bridge.rows("SELECT 1 FROM pending_forms"))


@pytest.mark.parametrize(
    ("kind", "streaming"),
    # A blocking call of a workflow does not tell of forms.
    [("chatflow", "true"), ("chatflow", "false"), ("workflow", "true")],
)
async def test_a_reply_fills_in_the_form_and_the_rest_is_its_answer(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator, kind: str, streaming: str
) -> None:
    """Another replica may get it; what was said before the form is not said again."""
    settings = only(dify, kind, DIFY_STREAMING_ENABLED=streaming)
    async with inside(**settings) as bridge:
        await bridge.hear(f"{ORDER} {AFTER}")
        await bridge.until_settled(1)
        waiting = await pending(bridge)
    async with inside(**settings) as bridge:
        await bridge.hear("2")
        *_, reply = await bridge.until_settled(2)
        left = await pending(bridge)
        await bridge.hear("谢谢 [[text=不客气]]")
        await bridge.until_settled(3)

    form = SHOWN if kind == "chatflow" else SHOWN.partition("\n\n")[2]
    # A workflow's answer is the output of its end alone.
    rest = "已记下:a2。" if kind == "chatflow" else "订单如下。已记下:a2。"
    assert said(gateway)[:2] == [form, rest]
    assert said(gateway)[2] == "不客气"
    assert (waiting, left) == (1, 0)
    assert submissions(dify) == [{"action": "a2"}]
    assert reply["verdict"] == "answered"
    assert len(dify.questions()) == 2


@INSIDE_EMBEDDED
async def test_words_go_into_the_form_and_a_second_form_follows(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Each reply answers the form that waits then."""
    orders = "[[fields=note]] [[again=再看看。]] [[after=好:{note}]]"
    async with inside(**only(dify, DIFY_STREAMING_ENABLED="true")) as bridge:
        await bridge.hear(f"{ORDER} {orders}")
        await bridge.until_settled(1)
        await bridge.hear("2 太贵了")
        await bridge.until_settled(2)
        await bridge.hear("便宜一点")
        await bridge.until_settled(3)
        left = await pending(bridge)

    assert submissions(dify) == [
        {"action": "a2", "note": "太贵了"},
        {"action": "a1", "note": "便宜一点"},
    ]
    assert said(gateway)[1].startswith("再看看。\n\n请回复序号:")
    assert said(gateway)[2] == "好:便宜一点"
    assert left == 0


@INSIDE_EMBEDDED
async def test_what_is_no_answer_to_the_form_is_a_question_and_the_form_waits_on(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """As is what another person says."""
    async with inside(**only(dify, DIFY_STREAMING_ENABLED="true")) as bridge:
        await bridge.hear(f"{ORDER} {AFTER}")
        await bridge.until_settled(1)
        await bridge.hear("几点下班 [[text=六点。]]")
        await bridge.hear("1 [[text=别人的。]]", person="小红")
        await bridge.until_settled(3)
        await bridge.hear("同意")
        await bridge.until_settled(4)

    assert set(said(gateway)) == {SHOWN, "六点。", "别人的。", "已记下:a1。"}
    assert submissions(dify) == [{"action": "a1"}]


async def test_what_was_said_before_the_form_was_shown_is_a_question(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Of two messages in a row the second is no answer to the form that the first one gets."""
    async with inside(**only(dify, DIFY_STREAMING_ENABLED="true")) as bridge:
        await bridge.hear(f"{ORDER} [[fields=note]] [[after=好:{{note}}]]")
        await bridge.hear("几点下班 [[text=六点。]]")
        await bridge.until_settled(2)
        waiting = await pending(bridge)
        await bridge.hear("2 太贵")
        await bridge.until_settled(3)

    assert said(gateway)[1:] == ["六点。", "好:太贵"]
    assert submissions(dify) == [{"action": "a2", "note": "太贵"}]
    assert waiting == 1


@INSIDE_EMBEDDED
@pytest.mark.parametrize("trigger", ["all", "mention"])
async def test_a_reply_that_quotes_the_form_is_what_was_typed(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator, trigger: str
) -> None:
    """The form itself goes neither into its field nor in the way of the number."""
    settings = only(dify, DIFY_STREAMING_ENABLED="true", GROUPS_TRIGGER=trigger)
    async with inside(**settings) as bridge:
        bot = next(iter(gateway.world.accounts))
        order = f"{ORDER} [[fields=note]] [[again=再看看。]] [[after=好:{{note}}]]"
        await bridge.hear(order, atlist=[bot])
        await bridge.until_settled(1)
        await bridge.take(quoting(bridge, "2 太贵"))
        await bridge.until_settled(2)
        await bridge.take(quoting(bridge, "便宜一点"))
        await bridge.until_settled(3)

    assert submissions(dify) == [
        {"action": "a2", "note": "太贵"},
        {"action": "a1", "note": "便宜一点"},
    ]


@INSIDE_EMBEDDED
async def test_a_form_that_the_group_never_got_takes_no_answer(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Nobody can have meant it."""
    async with inside(**only(dify, DIFY_STREAMING_ENABLED="true")) as bridge:
        await bridge.hear(f"{ORDER} {AFTER}")
        await bridge.until_settled(1)
        await bridge.execute("UPDATE segments SET state = 'failed'")
        await bridge.hear("1 [[text=一。]]")
        await bridge.until_settled(2)
        await bridge.hear("同意")
        await bridge.until_settled(3)

    assert said(gateway)[1] == "一。"
    assert submissions(dify) == []


@INSIDE_EMBEDDED
async def test_a_number_needs_no_mention_where_a_form_waits(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """And only then."""
    settings = only(dify, DIFY_STREAMING_ENABLED="true", GROUPS_TRIGGER="prefix")
    async with inside(GROUPS_PREFIXES='["问"]', **settings) as bridge:
        await bridge.hear("1")
        await bridge.hear(f"问{ORDER} {AFTER}")
        await bridge.until_settled(1)
        await bridge.hear("1")
        await bridge.until_settled(2)
        await bridge.hear("1")
        ignored = await bridge.rows("SELECT verdict FROM messages WHERE state = 'ignored'")

    assert said(gateway) == [SHOWN, "已记下:a1。"]
    assert [one["verdict"] for one in ignored] == ["no_prefix", "no_prefix"]


@INSIDE_EMBEDDED
@pytest.mark.parametrize("how", ["expired", "unknown"])
async def test_a_form_that_is_gone_is_told_and_the_next_is_a_question(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator, how: str
) -> None:
    """By its time, or because somebody filled it in elsewhere."""
    expires = "[[expires=1]]" if how == "expired" else ""
    async with inside(**only(dify, DIFY_STREAMING_ENABLED="true")) as bridge:
        await bridge.hear(f"{ORDER} {expires}")
        await bridge.until_settled(1)
        if how == "unknown":
            dify._questions.human_input.runs.clear()
        else:
            await asyncio.sleep(1.1)
        await bridge.hear("1")
        *_, told = await bridge.until_settled(2)
        left = await pending(bridge)
        await bridge.hear("1 [[text=好]]")
        await bridge.until_settled(3)

    assert said(gateway) == [SHOWN, "上一张表单已经失效,请重新提问。", "好"]
    assert (told["verdict"], left) == ("answered", 0)


@INSIDE_EMBEDDED
@STREAMING
async def test_words_for_a_form_that_is_gone_are_asked(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator, streaming: str
) -> None:
    """Nothing that somebody wrote is lost; he reads that the form is none any more."""
    async with inside(**only(dify, DIFY_STREAMING_ENABLED=streaming)) as bridge:
        await bridge.hear(f"{ORDER} [[fields=note]]")
        await bridge.until_settled(1)
        dify._questions.human_input.runs.clear()
        await bridge.hear("几点下班 [[text=六点。]]")
        await bridge.until_settled(2)

    assert said(gateway)[1:] == ["上一张表单已经失效,请重新提问。\n\n六点。"]


@INSIDE_EMBEDDED
async def test_a_form_that_refuses_waits_on(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """The simulated one wants words in every text."""
    async with inside(**only(dify, DIFY_STREAMING_ENABLED="true")) as bridge:
        await bridge.hear(f"{ORDER} [[fields=note]] [[after=好:{{note}}]]")
        await bridge.until_settled(1)
        await bridge.hear("2")
        await bridge.until_settled(2)
        waiting = await pending(bridge)
        await bridge.hear("2 太贵")
        await bridge.until_settled(3)

    assert said(gateway)[1:] == ["表单没有接受这个回复,请按上面的选项再回复一次。", "好:太贵"]
    assert waiting == 1


@INSIDE_EMBEDDED
async def test_a_form_that_was_submitted_by_a_try_that_failed_is_followed_not_called_gone(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """The run went on; its answer is fetched by the next try."""
    settings = only(dify, DIFY_STREAMING_ENABLED="true", MESSAGE_PROCESSING_RETRY_DELAY="0.1")
    async with inside(**settings) as bridge:
        await bridge.hear(f"{ORDER} {AFTER}")
        await bridge.until_settled(1)
        dify.faults.set("http_502", endpoints=["*/events"], times=1)
        await bridge.hear("1")
        *_, reply = await bridge.until_settled(2)

    assert said(gateway) == [SHOWN, "已记下:a1。"]
    assert submissions(dify) == [{"action": "a1"}]
    assert (reply["verdict"], reply["attempts"]) == ("answered", 1)


@INSIDE_EMBEDDED
async def test_a_person_who_is_erased_leaves_no_form_and_no_list(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """They hold what was said to him."""
    async with inside(**only(dify, DIFY_STREAMING_ENABLED="true")) as bridge:
        await bridge.hear(ORDER)
        [message] = await bridge.until_settled(1)
        await bridge.execute(
            "INSERT INTO suggestions (bot_wc_id, group_id, from_user, message_id, questions, "
            "offered_at) VALUES ('b', 'g', :user, 1, '[]', '2026-01-01 00:00:00.000000')",
            user=message["from_user"],
        )
        erased = await erase(bridge.runtime.store, WcId(message["from_user"]))
        left = await bridge.rows(
            "SELECT from_user FROM suggestions UNION SELECT from_user FROM pending_forms"
        )

    assert (erased.rows["suggestions"], erased.rows["pending_forms"], left) == (1, 1, [])
