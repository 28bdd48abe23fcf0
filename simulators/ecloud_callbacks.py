"""Callbacks of the simulated gateway: their bodies in the optimised version, and their delivery."""

import asyncio
import json
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import aiohttp

from simulators.ecloud_world import Account, Group, World
from simulators.faults import FaultSwitches
from simulators.recorder import Recorder
from simulators.serving import Errands

GROUP_TEXT = "80001"
DELIVERY_LIMIT = 6.0
MENTION_END = "\u2005"
KEPT_BODY = 4_096


def group_callback(
    world: World,
    account: Account,
    group: Group,
    *,
    from_user: str,
    content: str,
    ids: tuple[int, int],
    timestamp: int,
    message_type: str = GROUP_TEXT,
    mentioned: Sequence[str] = (),
    push_content: str = "",
    extra: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The body one account's callback has for something said in a group; *timestamp* in seconds."""
    own = from_user == account.wc_id
    data: dict[str, Any] = {
        "content": content,
        "fromGroup": group.group_id,
        "fromUser": from_user,
        "memberCount": len(group.members),
        "msgId": ids[0],
        "newMsgId": ids[1],
        "pushContent": push_content,
        "self": own,
        "timestamp": timestamp,
        "toUser": group.group_id if own else account.wc_id,
        "wId": account.w_id,
        **(extra or {}),
    }
    if mentioned:
        data["atlist"] = list(mentioned)
    if not push_content:
        del data["pushContent"]
    return {
        "account": world.developer,
        "messageType": message_type,
        "wcId": account.wc_id,
        "data": data,
    }


QUOTATION = "80014"


def quotation(
    text: str,
    *,
    group: Group,
    sender: str,
    name: str,
    content: str,
    new_msg_id: int,
    timestamp: int,
) -> dict[str, Any]:
    """What the data of a callback has in which *text* stands below a message that it quotes."""
    told = {
        "type": "1",
        "svrid": str(new_msg_id),
        "fromusr": group.group_id,
        "chatusr": sender,
        "displayname": name,
        "content": content,
        "createtime": str(timestamp),
    }
    reference = "".join(f"<{tag}>{escape(value)}</{tag}>" for tag, value in told.items())
    markup = (
        '<?xml version="1.0"?>\n<msg><appmsg appid="" sdkver="0">'
        f"<title>{escape(text)}</title><type>57</type><refermsg>{reference}</refermsg></appmsg></msg>"
    )
    return {"content": markup, "title": text, "msgType": 49}


def bare_callback(
    world: World, account: Account | None, message_type: str, data: dict[str, Any]
) -> dict[str, Any]:
    """A body without a group: the test push, an offline notice."""
    return {
        "account": world.developer,
        "messageType": message_type,
        "wcId": account.wc_id if account else "",
        "data": data,
    }


def disguise(body: dict[str, Any], faults: FaultSwitches) -> dict[str, Any]:
    """The same callback in one of the shapes in which the gateway sometimes gets it wrong."""
    data = dict(body["data"])
    changed = {**body, "data": data}
    if "fromGroup" in data and (mislabel := faults.strike("mislabel", "callback")):
        changed["messageType"] = "60001"
        if not mislabel.value:
            data["fromUser"] = data.pop("fromGroup")
    if faults.strike("native_type", "callback"):
        changed["messageType"] = 9
    if faults.strike("no_atlist", "callback"):
        data.pop("atlist", None)
    if faults.strike("ids_as_strings", "callback"):
        for name in ("msgId", "newMsgId", "timestamp", "self"):
            if name in data:
                value = data[name]
                data[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return changed


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """How the receiver took a callback; `status` None = no answer within the limit."""

    status: int | None
    answer: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class _Parcel:
    label: str
    raw: bytes
    due: float
    copies: int


class Courier:
    """
    Posts callbacks, those of one lane (a group) one after the other, lanes side by side.

    What is not taken within *limit* seconds is dropped; nothing is repeated.
    """

    def __init__(
        self, faults: FaultSwitches, recorder: Recorder, *, limit: float = DELIVERY_LIMIT
    ) -> None:
        self.url: str | None = None
        self.limit = limit
        self._faults = faults
        self._recorder = recorder
        self._lanes: dict[str, deque[_Parcel]] = {}
        self._errands = Errands()
        self._pending = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._http: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the HTTP client."""
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def close(self) -> None:
        """Drop what is not delivered."""
        await self._errands.cancel()
        if self._http is not None:
            await self._http.close()

    async def idle(self) -> None:
        """Returns when everything handed over so far is delivered or dropped."""
        await self._idle.wait()

    def post(self, lane: str, body: dict[str, Any]) -> None:
        """Hand over a callback; a delivery fault decides its fate now."""
        if self.url is None or self._faults.strike("drop", "callback"):
            self._recorder.note("callback", str(body["messageType"]), "not_delivered", body=body)
            return
        changed = disguise(body, self._faults)
        duplicate = self._faults.strike("duplicate", "callback")
        delay = self._faults.strike("delay", "callback")
        parcel = _Parcel(
            label=str(changed["messageType"]),
            raw=json.dumps(changed, ensure_ascii=False, separators=(",", ":")).encode(
                errors="replace"
            ),
            due=time.monotonic() + (delay.value if delay else 0.0),
            copies=1 + (int(duplicate.value) or 1 if duplicate else 0),
        )
        self._pending += 1
        self._idle.clear()
        reorder = self._faults.strike("reorder", "callback")
        if reorder:
            self._errands.send(self._deliver_late(parcel, reorder.value or 1.0))
        elif lane in self._lanes:
            self._lanes[lane].append(parcel)
        else:
            self._lanes[lane] = deque([parcel])
            self._errands.send(self._serve(lane))

    async def post_now(
        self, raw: bytes, *, label: str = "raw", content_type: str = "application/json"
    ) -> Delivery:
        """Post any bytes at once, past all lanes and faults."""
        if self._http is None or self.url is None:
            return Delivery(status=None, answer="no callback address", seconds=0.0)
        record = self._recorder.open(
            "callback", label, body=raw[:KEPT_BODY].decode(errors="replace")
        )
        try:
            async with (
                asyncio.timeout(self.limit),
                self._http.post(
                    self.url, data=raw, headers={"Content-Type": content_type}
                ) as response,
            ):
                answer = await response.text(errors="replace")
                self._recorder.close(
                    record, f"http_{response.status}", status=response.status, answer=answer
                )
                return self._delivery(response.status, answer, record.started)
        except (aiohttp.ClientError, OSError) as error:
            # TimeoutError is an OSError: six seconds have passed.
            reason = f"dropped: {type(error).__name__}"
            self._recorder.close(record, reason, status=None, answer=str(error))
            return self._delivery(None, reason, record.started)
        finally:
            self._recorder.close(record, "dropped: stopped", status=None)

    def _delivery(self, status: int | None, answer: str, started: float) -> Delivery:
        return Delivery(status=status, answer=answer, seconds=time.monotonic() - started)

    async def _serve(self, lane: str) -> None:
        parcels = self._lanes[lane]
        while parcels:
            await self._deliver(parcels.popleft())
        del self._lanes[lane]

    async def _deliver_late(self, parcel: _Parcel, window: float) -> None:
        await asyncio.sleep(self._faults.chance.uniform(0.0, window))
        await self._deliver(parcel)

    async def _deliver(self, parcel: _Parcel) -> None:
        try:
            wait = parcel.due - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            if parcel.copies == 1:
                await self.post_now(parcel.raw, label=parcel.label)
            else:
                await asyncio.gather(
                    *(self.post_now(parcel.raw, label=parcel.label) for _ in range(parcel.copies))
                )
        finally:
            self._pending -= 1
            if not self._pending:
                self._idle.set()
