"""What people do in the simulated groups beside writing, as the gateway posts it."""

import re
from io import BytesIO
from typing import Any

import pytest

from app.services.ecloud.markup import Element, read_markup
from simulators.ecloud_kinds import KINDS
from simulators.ecloud_media import MOST_BYTES, MOST_KEPT, PNG
from tests.simulators.calling import GROUP, HONG, Caller, calling


def xml_of(body: dict[str, Any]) -> Element:
    """What a callback's content says."""
    root = read_markup(body["data"]["content"])
    assert root is not None
    return root


async def act(caller: Caller, what: str, **how: Any) -> tuple[int, Any]:
    """A person of the group does something, ordered over HTTP."""
    order = {"act": what, "group": "体验群", "person": "小红", "how": how}
    async with caller.http.post(f"{caller.gateway.url}/_sim/act", json=order) as response:
        told = response.status, await response.json()
    await caller.gateway.courier.idle()
    return told


@pytest.mark.parametrize("kind", KINDS)
async def test_whatever_people_send_is_posted_as_its_type(kind: str) -> None:
    """With ids, a group and XML that can be read."""
    async with calling() as caller:
        status, told = await act(caller, kind)
        [body] = caller.receiver.bodies

    data = body["data"]
    assert status == 200
    assert told["newMsgId"] == str(data["newMsgId"])
    assert re.fullmatch(r"80\d{3}", body["messageType"])
    assert (data["fromUser"], data["self"]) == (HONG, False)
    assert xml_of(body).tag.endswith("msg")


async def test_a_quote_names_what_was_said_last_and_a_recall_its_ids() -> None:
    """The room stands where the sender does elsewhere; history forgets what was taken back."""
    async with calling() as caller:
        said = caller.gateway.say("体验群", "小红", "三楼")
        await act(caller, "quote", text="几点?")
        await act(caller, "recall", newMsgId=str(said.new_msg_id))
        _, quote, recall = caller.receiver.bodies
        history = [one.new_msg_id for one in caller.gateway.speech.history]

    reference = xml_of(quote).find("appmsg", "refermsg")
    assert reference.find("svrid").text == str(said.new_msg_id)
    assert (reference.find("chatusr").text, reference.find("content").text) == (HONG, "三楼")
    assert (quote["messageType"], quote["data"]["title"]) == ("80014", "几点?")
    taken = xml_of(recall).find("revokemsg")
    assert taken.find("newmsgid").text == str(said.new_msg_id)
    assert taken.find("msgid").text == str(said.msg_id)
    assert recall["messageType"] == "80018"
    assert said.new_msg_id not in history


async def test_a_group_changes_as_its_events_say() -> None:
    """Somebody joins, is removed, the group is renamed, and our account leaves it."""
    async with calling() as caller:
        world = caller.gateway.world
        world.add_person("wxid_new", "新人")
        await act(caller, "join", wc_id="wxid_new", by_code=True)
        assert "wxid_new" in world.groups[GROUP].members
        await act(caller, "pat", patted="新人")
        caller.gateway.acts.remove(GROUP, "wxid_new")
        assert "wxid_new" not in world.groups[GROUP].members
        caller.gateway.acts.rename(GROUP, "小红", "新名")
        caller.gateway.acts.leave(GROUP)
        await caller.gateway.courier.idle()
        codes = [body["messageType"] for body in caller.receiver.bodies]

    assert codes == ["85009", "80019", "85003", "85005", "85001", "85015"]
    assert caller.receiver.bodies[-1]["data"].keys() == {"userName", "wId"}


@pytest.mark.parametrize(
    ("what", "how", "status"),
    [
        ("no_such_act", {}, 400),
        ("image", {"colour": "red"}, 400),
        ("recall", {}, 404),
        ("recall", {"newMsgId": "x"}, 400),
        ("quote", {"text": "?", "newMsgId": "5"}, 404),
        ("join", {"wc_id": "nobody"}, 404),
    ],
)
async def test_an_act_that_cannot_be_done_is_refused(
    what: str, how: dict[str, Any], status: int
) -> None:
    """And nothing is posted."""
    async with calling() as caller:
        found, told = await act(caller, what, **how)

        assert (found, bool(told["error"])) == (status, True)
        assert caller.receiver.bodies == []


async def test_onlookers_are_told_what_people_do_in_words_and_not_in_markup() -> None:
    """Kind, what is shown of it, what was quoted and what was taken back."""
    async with calling() as caller:
        said = caller.gateway.say("体验群", "小红", "三楼")
        await act(caller, "image")
        await act(caller, "quote", text="几点?", newMsgId=str(said.new_msg_id))
        await act(caller, "recall", newMsgId=str(said.new_msg_id))
        events = [event for _, event in caller.gateway.events.since(0)]

    number = str(said.new_msg_id)
    assert [event["kind"] for event in events] == ["text", "image", "quote", "recall"]
    assert [event["text"] for event in events] == ["三楼", "[图片]", "几点?", ""]
    assert events[2]["quoted"] == {"newMsgId": number, "nickname": "小红", "text": "三楼"}
    assert events[3]["recalled"] == number


async def test_quoted_picture_is_named_by_wechats_number_of_its_kind() -> None:
    """3, so that whoever reads it writes a word for it and not its markup."""
    async with calling() as caller:
        picture = caller.gateway.acts.send("体验群", "小红", "image")
        await act(caller, "quote", text="这是哪?", newMsgId=str(picture.new_msg_id))
        quote = caller.receiver.bodies[-1]

    assert xml_of(quote).find("appmsg", "refermsg", "type").text == "3"


async def test_picture_of_a_page_is_what_the_gateway_gives_out() -> None:
    """The very bytes under its place, with their type; of many the newest are kept."""
    async with calling() as caller:
        url = f"{caller.gateway.url}/_sim/picture?group=体验群&person=小红"
        numbers = []
        for count in range(MOST_KEPT + 1):
            async with caller.http.post(url, data=PNG + bytes([count])) as response:
                numbers.append((await response.json())["msgId"])
        async with caller.http.get(f"{caller.gateway.url}/media/{numbers[-1]}") as response:
            newest, told = await response.read(), response.content_type

    assert newest == PNG + bytes([MOST_KEPT])
    assert told == "image/png"
    assert [one in caller.gateway.media.kept for one in numbers] == [False] + [True] * MOST_KEPT


@pytest.mark.parametrize(
    ("body", "person", "status"),
    [
        (b"<svg onload=x>", "小红", 400),
        (b"", "小红", 400),
        (PNG + bytes(MOST_BYTES), "小红", 413),
        (PNG, "没有这个人", 404),
    ],
)
async def test_picture_that_is_none_or_of_nobody_is_refused(
    body: bytes, person: str, status: int
) -> None:
    """And nothing is posted."""
    async with calling() as caller:
        url = f"{caller.gateway.url}/_sim/picture?group=体验群&person={person}"
        async with caller.http.post(url, data=BytesIO(body)) as response:
            found = response.status
        await caller.gateway.courier.idle()

    assert found == status
    assert caller.receiver.bodies == []
