"""
Every row of the table in ``docs/gateway.md``, played between real stores and the simulated gateway.

What the operator sees stands in the page and is read from there; how it comes about, and what the
bridge does meanwhile, stand here.
"""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.api.breakers import shown_breakers
from app.api.sending import shown_sending
from app.models.flow import MessageId, WcId
from app.services.ecloud.day_plan import QuietHours
from app.services.taking_back import want_back
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.bridge import ROOT
from tests.fixtures.inside import INSIDE_EMBEDDED, Inside, StartInside
from tests.fixtures.sending import calls, echo, hurry, texts

PAGE = ROOT / "docs" / "gateway.md"
HEADER = "| 行 | 情形 | 服务怎样做 | 运维看到什么 |"
PLACES = {"`sending`": "sending", "`breakers`": "breakers", "日志": "log", "指标": "metric"}
SEE_SECONDS = 20.0
#: Long enough for what must not happen.
QUIET_SECONDS = 0.8
#: What a busy machine adds to a gap.
SLACK = 10.0
PICTURES = "![一](/files/tools/a.png?sign=x)![二](/files/tools/b.png?sign=x)"


def page_rows() -> dict[str, set[tuple[str, str]]]:
    """What the operator sees, as (place, word), by row."""
    rows: dict[str, set[tuple[str, str]]] = {}
    lines = iter(PAGE.read_text("utf-8").splitlines())
    for line in lines:
        if line == HEADER:
            next(lines)
            break
    for line in lines:
        if not line.startswith("|"):
            break
        name, _, _, sight = (cell.strip() for cell in line.strip("|").split(" | "))
        rows[name.strip("`")] = _sights(sight)
    return rows


def _sights(text: str) -> set[tuple[str, str]]:
    found = set()
    for part in text.split(";"):
        place = next((PLACES[begin] for begin in PLACES if part.startswith(begin)), "")
        words = re.findall(
            r"`([a-z_.]+)`", part.removeprefix("`sending`").removeprefix("`breakers`")
        )
        assert bool(place) == bool(words), part
        found |= {(place, word) for word in words}
    return found


@dataclass
class Play:
    """One row being played: the bridge, its peers, and what the operator saw so far."""

    start: StartInside
    gateway: EcloudSimulator
    dify: DifySimulator
    log: list[str]
    monkeypatch: pytest.MonkeyPatch
    wanted: set[tuple[str, str]]
    seen: set[tuple[str, str]] = field(default_factory=set)

    @property
    def bot(self) -> WcId:
        """The account."""
        return WcId(next(iter(self.gateway.world.accounts)))

    @property
    def asked(self) -> int:
        """How often Dify was asked."""
        return len(self.dify.questions())

    async def look(self, bridge: Inside) -> None:
        """What the operator can see now."""
        self.seen |= {("sending", one["state"]) for one in await shown_sending(bridge.runtime)}
        self.seen |= {("breakers", one["code"]) for one in await shown_breakers(bridge.runtime)}
        found = re.findall(r"\b(?:account|segment|attachment)\.[a-z_]+", "".join(self.log))
        self.seen |= {("log", event) for event in found}
        families = text_string_to_metric_families(bridge.runtime.metrics.exposition().decode())
        samples = [sample for family in families for sample in family.samples]
        self.seen |= {("metric", sample.name) for sample in samples if sample.value > 0}

    async def see(self, bridge: Inside, *places: str) -> None:
        """Wait until the operator saw all that the page says of these places; of all, if none is named."""
        wanted = {one for one in self.wanted if not places or one[0] in places}
        try:
            async with asyncio.timeout(SEE_SECONDS):
                while not wanted <= self.seen:
                    await self.look(bridge)
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"not seen: {wanted - self.seen}; seen: {self.seen}") from None

    async def answer(self, bridge: Inside, *words: str) -> None:
        """Questions and their answers, up to the group."""
        for word in words:
            await bridge.hear(f"{word} [[text={word}]]")

    async def show_picture(self, bridge: Inside) -> None:
        """小明 sends a picture."""
        said = self.gateway.acts.send("体验群", "小明", "image")
        body = json.loads(bridge.callback(said.text, msgId=said.msg_id, **said.extra))
        await bridge.take(json.dumps({**body, "messageType": said.message_type}).encode())

    async def post_notice(self, bridge: Inside, w_id: str) -> None:
        """The callback that the account is offline."""
        body = {"account": "x", "messageType": "30000", "wcId": self.bot, "data": {"wId": w_id}}
        await bridge.take(json.dumps(body).encode())

    def quiet_for(self, seconds: float) -> None:
        """From now on it is quiet for so long, whatever the time of day."""
        end = time.monotonic() + seconds
        self.monkeypatch.setattr(
            QuietHours, "left", lambda _self, _now: max(0.0, end - time.monotonic())
        )


Player = Callable[[Play], Awaitable[None]]


async def gap(play: Play) -> None:
    async with play.start(ECLOUD_SEND_GAP="3") as bridge:
        await play.answer(bridge, *"一二")
        await play.see(bridge)
        await bridge.until_settled(2)
    found = play.gateway.gaps("/sendText", play.bot)
    assert found.calls == 2
    # A third of the longest gap is the shortest.
    assert 1.0 <= (found.least or 0) < 3.0 + SLACK


async def kind(play: Play) -> None:
    play.gateway.world.add_group("50000000002@chatroom", "别的群", ["wxid_xiaohong0c2d22"])
    limits = {"ECLOUD_SENDS_PER_MINUTE": "9", "ECLOUD_IMAGES_PER_MINUTE": "1"}
    async with play.start(**limits, DIFY_FILES_URL="https://files.example.com") as bridge:
        await bridge.hear(f"一 [[text={PICTURES}]]")
        await play.see(bridge)
        await bridge.hear("二 [[text=二]]", person="小红", group="别的群")
        await play.gateway.wait_for_sent(2)
    assert [one.kind for one in play.gateway.sent] == ["image", "text"]
    assert play.gateway.gaps("/sendImage2").calls == 1


async def minute(play: Play) -> None:
    async with play.start(ECLOUD_SENDS_PER_MINUTE="2") as bridge:
        await play.answer(bridge, *"一二三")
        await play.see(bridge)
    assert texts(play.gateway) == ["一", "二"]
    assert play.gateway.gaps("/send*", play.bot).in_a_minute == 2


async def warm_up(play: Play) -> None:
    async with play.start(ECLOUD_SENDS_PER_MINUTE="16", ECLOUD_WARM_UP_DAYS="7") as bridge:
        # An account is new from when it is written down.
        await play.answer(bridge, "一")
        await play.gateway.wait_for_sent(1)
        await bridge.runtime.accounts.save()
    async with play.start(ECLOUD_SENDS_PER_MINUTE="16", ECLOUD_WARM_UP_DAYS="7") as bridge:
        await play.answer(bridge, *"二三四")
        await play.see(bridge)
    assert texts(play.gateway) == ["一", "二"]


async def day(play: Play) -> None:
    async with play.start(ECLOUD_SENDS_PER_DAY="1", REPLY_MAX_LENGTH="60") as bridge:
        await bridge.hear("一 [[long=400]]")
        await play.see(bridge)
        asked = play.asked
        await bridge.hear("二 [[text=二]]", person="小红")
        await asyncio.sleep(QUIET_SECONDS)
        assert play.asked == asked
    assert len(play.gateway.sent) == 1


async def quiet(play: Play) -> None:
    play.quiet_for(3.0)
    async with play.start(ECLOUD_QUIET_HOURS="23:00-07:00") as bridge:
        await play.answer(bridge, "一")
        await play.see(bridge)
        assert (play.asked, texts(play.gateway)) == (0, [])
        await bridge.until_settled(1)
    assert texts(play.gateway) == ["一"]


async def quiet_owed(play: Play) -> None:
    play.quiet_for(0.0)
    limits = {"ECLOUD_SEND_GAP": "9", "REPLY_MAX_LENGTH": "60"}
    async with play.start(ECLOUD_QUIET_HOURS="23:00-07:00", **limits) as bridge:
        await bridge.hear("一 [[long=400]]")
        await play.gateway.wait_for_sent(1)
        play.quiet_for(3600.0)
        await play.see(bridge)
    assert len(play.gateway.sent) == 1


async def throttled(play: Play) -> None:
    play.gateway.faults.set("throttle", 0, times=1)
    play.monkeypatch.setattr("app.workers.send_policy.THROTTLED_PAUSE", 1.0)
    async with play.start(ECLOUD_SEND_GAP="0.3") as bridge:
        await play.answer(bridge, *"一二")
        await play.see(bridge)
        await bridge.until_settled(2)
        slowdown = await bridge.runtime.paces.slowdown(play.bot)
    assert texts(play.gateway) == ["一", "二"]
    assert slowdown.factor(time.time()) == 2


async def new_login(play: Play) -> None:
    async with play.start(REPLY_MAX_LENGTH="60", ECLOUD_SEND_GAP="0.15") as bridge:
        await bridge.hear("一 [[long=400]]")
        await play.gateway.wait_for_sent(2)
        new = play.gateway.rotate()
        await bridge.until_settled(1)
        await play.see(bridge)
        segments = await bridge.rows("SELECT content FROM segments ORDER BY seq")
    assert [one.content for one in play.gateway.sent] == [one["content"] for one in segments]
    assert play.gateway.sent[-1].w_id == new


async def offline(play: Play) -> None:
    play.gateway.set_online(play.bot, online=False, notice=False)
    async with play.start(ECLOUD_SEND_GAP="0.1") as bridge:
        await play.answer(bridge, "一")
        await play.see(bridge, "sending", "breakers")
        await bridge.until_rows("SELECT 1 FROM accounts WHERE state = 'offline'")
        asked, sends = play.asked, calls(play.gateway)
        await bridge.hear("二 [[text=二]]", person="小红")
        await asyncio.sleep(QUIET_SECONDS)
        assert (play.asked, calls(play.gateway)) == (asked, sends)
        play.gateway.set_online(play.bot, online=True)
        await bridge.until_settled(2)
        await play.see(bridge)
        slowdown = await bridge.runtime.paces.slowdown(play.bot)
    assert texts(play.gateway) == ["一", "二"]
    assert slowdown.factor(time.time()) == 2
    events = re.findall(r"account\.(?:offline|online)", "".join(play.log))
    assert events == ["account.offline", "account.online"]


async def offline_idle(play: Play) -> None:
    async with play.start() as bridge:
        await play.answer(bridge, "一")
        await bridge.until_settled(1)
        login = bridge.runtime.accounts.login(play.bot)
        assert login is not None
        play.gateway.set_online(play.bot, online=False, notice=False)
        await play.post_notice(bridge, login.w_id)
        await play.see(bridge)
        asked = play.asked
        await play.answer(bridge, "二")
        await asyncio.sleep(QUIET_SECONDS)
        assert play.asked == asked
    assert calls(play.gateway) == 1


async def stale_notice(play: Play) -> None:
    async with play.start() as bridge:
        await play.answer(bridge, "一")
        await bridge.until_settled(1)
        polls = calls(play.gateway, "/queryLoginWx")
        await play.post_notice(bridge, "w-of-yesterday")
        await asyncio.sleep(QUIET_SECONDS)
        assert calls(play.gateway, "/queryLoginWx") == polls
        await play.answer(bridge, "二")
        await bridge.until_settled(2)
        await play.look(bridge)
    assert not [one for one in play.seen if one[0] == "breakers" or one[1].startswith("account.")]


async def false_notice(play: Play) -> None:
    async with play.start() as bridge:
        await play.answer(bridge, "一")
        await bridge.until_settled(1)
        login = bridge.runtime.accounts.login(play.bot)
        assert login is not None
        polls = calls(play.gateway, "/queryLoginWx")
        await play.post_notice(bridge, login.w_id)
        await play.gateway.recorder.until(lambda: calls(play.gateway, "/queryLoginWx") > polls)
        await play.answer(bridge, "二")
        await bridge.until_settled(2)
        await play.look(bridge)
    assert not [one for one in play.seen if one[0] == "breakers" or one[1].startswith("account.")]


async def away(play: Play) -> None:
    async with play.start(ECLOUD_BASE_URL="http://127.0.0.1:1") as bridge:
        await play.answer(bridge, "一")
        await play.see(bridge)
        asked = play.asked
        await bridge.hear("二 [[text=二]]", person="小红")
        await asyncio.sleep(QUIET_SECONDS)
        assert play.asked == asked
    assert texts(play.gateway) == []


async def undecided(play: Play) -> None:
    play.gateway.faults.set("sent_but_timeout")
    async with play.start(ECLOUD_TIMEOUT="0.4") as bridge:
        await play.answer(bridge, "一")
        await play.see(bridge)
        await bridge.until_settled(1)
    assert texts(play.gateway) == ["一", "一"]


async def undecided_echo(play: Play) -> None:
    play.gateway.faults.set("sent_but_timeout")
    play.monkeypatch.setattr("app.workers.undecided.ECHO_SECONDS", SEE_SECONDS)
    async with play.start(ECLOUD_TIMEOUT="0.4") as bridge:
        await play.answer(bridge, "一")
        [sent] = await play.gateway.wait_for_sent(1)
        await bridge.take(echo(bridge, sent, play.bot))
        await play.see(bridge)
        await bridge.until_settled(1)
    assert texts(play.gateway) == ["一"]


async def refused(play: Play) -> None:
    play.gateway.world.add_group("50000000002@chatroom", "别的群", ["wxid_xiaohong0c2d22"])
    async with play.start() as bridge:
        gone = bridge.callback("一 [[text=一]]")
        del play.gateway.world.groups["40000000001@chatroom"]
        await bridge.take(gone)
        await play.see(bridge, "sending")
        await bridge.hear("二 [[text=二]]", person="小红", group="别的群")
        await bridge.until_settled(2)
        await play.see(bridge)
    assert texts(play.gateway) == ["二"]


async def take_back(bridge: Inside) -> None:
    """The only answer is to be taken back."""
    [row] = await bridge.rows("SELECT id FROM messages")
    await bridge.runtime.store.transact(lambda one: want_back(one, MessageId(row["id"])))


async def taken_back(play: Play) -> None:
    async with play.start() as bridge:
        await play.answer(bridge, "一")
        await bridge.until_settled(1)
        await take_back(bridge)
        await play.see(bridge)
    assert len(play.gateway.revoked) == 1


async def taken_back_late(play: Play) -> None:
    play.gateway._sends.revoke_limit = 0.0
    async with play.start() as bridge:
        await play.answer(bridge, "一")
        await bridge.until_settled(1)
        await take_back(bridge)
        await play.see(bridge)
        await bridge.until_rows("SELECT 1 FROM segments WHERE error LIKE 'recall: %'")
    assert not play.gateway.revoked


async def taken_back_unknown(play: Play) -> None:
    async with play.start() as bridge:
        await play.answer(bridge, "一")
        await bridge.until_settled(1)
        play.gateway.faults.set("bad_gateway", endpoints=("/revokeMsg",))
        await take_back(bridge)
        await play.see(bridge)
        await asyncio.sleep(QUIET_SECONDS)
    assert calls(play.gateway, "/revokeMsg") == 1


async def taken_back_again(play: Play) -> None:
    play.monkeypatch.setattr("app.workers.recalling.THROTTLED_PAUSE", 0.3)
    async with play.start() as bridge:
        await play.answer(bridge, "一")
        await bridge.until_settled(1)
        play.gateway.faults.set("http_429", times=1, endpoints=("/revokeMsg",))
        await take_back(bridge)
        await play.see(bridge)
    assert calls(play.gateway, "/revokeMsg") == 2
    assert len(play.gateway.revoked) == 1


async def taken_back_many(play: Play) -> None:
    play.monkeypatch.setattr("app.services.ecloud.pacing.RECALL_GAP", 0.01)
    async with play.start(REPLY_MAX_LENGTH="60") as bridge:
        await bridge.hear("一 [[long=900]]")
        await bridge.until_settled(1)
        await take_back(bridge)
        await play.see(bridge)
        await play.gateway.recorder.until(lambda: len(play.gateway.revoked) >= 10)
        await asyncio.sleep(QUIET_SECONDS)
    async with play.start() as bridge:
        await asyncio.sleep(QUIET_SECONDS)
    assert len(play.gateway.sent) > 10
    assert calls(play.gateway, "/revokeMsg") == 10


async def names(play: Play) -> None:
    play.gateway.faults.set("http_500", endpoints=("/getContact", "/getChatRoom*"))
    async with play.start() as bridge:
        await play.answer(bridge, "一")
        await bridge.until_settled(1)
        await play.gateway.recorder.until(
            lambda: play.gateway.gaps("/getC*").calls > 0, SEE_SECONDS
        )
        await bridge.hear("二 [[text=二]]", pushContent="小明 : 二 [[text=二]]")
        await bridge.until_settled(2)
    assert [one.content for one in play.gateway.sent] == ["一", "@小明\u2005二"]


async def media_late(play: Play) -> None:
    play.gateway.faults.set("media_late", times=2)
    async with play.start() as bridge:
        await play.show_picture(bridge)
        await play.answer(bridge, "一")
        await play.see(bridge)
        await bridge.until_settled(1)
    assert calls(play.gateway, "/getMsgImg") == 3
    assert len(play.dify.questions()[0].facts["files"]) == 1


async def media_gone(play: Play) -> None:
    play.gateway.faults.set("media_late")
    async with play.start() as bridge:
        await play.show_picture(bridge)
        await play.answer(bridge, "一")
        await play.see(bridge)
        await bridge.until_settled(1)
    assert calls(play.gateway, "/getMsgImg") == 3
    assert (texts(play.gateway), play.dify.questions()[0].facts["files"]) == (["一"], [])


async def nobody(play: Play) -> None:
    async with play.start(works=False) as bridge:
        await play.answer(bridge, "一")
        await bridge.background.index.start(process_died=False)
        bridge.background._start_work()
        await play.see(bridge)
    assert texts(play.gateway) == []


PLAYS: dict[str, Player] = {
    "gap": gap,
    "minute": minute,
    "kind": kind,
    "warm-up": warm_up,
    "day": day,
    "quiet": quiet,
    "quiet-owed": quiet_owed,
    "throttled": throttled,
    "new-login": new_login,
    "offline": offline,
    "offline-idle": offline_idle,
    "stale-notice": stale_notice,
    "false-notice": false_notice,
    "away": away,
    "undecided": undecided,
    "undecided-echo": undecided_echo,
    "refused": refused,
    "taken-back": taken_back,
    "taken-back-late": taken_back_late,
    "taken-back-unknown": taken_back_unknown,
    "taken-back-again": taken_back_again,
    "taken-back-many": taken_back_many,
    "names": names,
    "media-late": media_late,
    "media-gone": media_gone,
    "nobody": nobody,
}


def test_every_row_is_played_and_every_play_has_a_row() -> None:
    """In the order of the page."""
    assert list(page_rows()) == list(PLAYS)


@INSIDE_EMBEDDED
@pytest.mark.parametrize("name", list(PLAYS))
async def test_row(
    name: str,
    inside: StartInside,
    gateway: EcloudSimulator,
    dify: DifySimulator,
    log_lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The operator sees what the page says."""
    hurry(monkeypatch, FIRST_PAUSE=0.4, OFFLINE_PAUSE=0.4)
    monkeypatch.setattr("app.services.accounts.REFRESH_SECONDS", 0.2)
    # What lasts for a moment is told at once.
    monkeypatch.setattr("app.workers.own_pace.TELL_SECONDS", 0.0)
    for pause in ("RETRY_PAUSE", "CALL_GAP"):
        monkeypatch.setattr(f"app.services.enclosing.{pause}", 0.05)
    await PLAYS[name](
        Play(
            start=inside,
            gateway=gateway,
            dify=dify,
            log=log_lines,
            monkeypatch=monkeypatch,
            wanted=page_rows()[name],
        )
    )
