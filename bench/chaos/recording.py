"""
From the simulators' records to a history, read along while they are made.

The simulators keep a bounded number of records; a long run has more.
"""

import re
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from bench.chaos.history import Asking, Delivery, History, Sending
from bench.chaos.words import find_marks, find_word
from simulators.dify import DifySimulator
from simulators.dify_chat import PATH
from simulators.ecloud import EcloudSimulator
from simulators.recorder import Record, Recorder

_USER = re.compile(r'"fromUser":"([^"]*)"')
_GROUP = re.compile(r'"fromGroup":"([^"]*)"')
_ASKING = f"POST {PATH}"
_SEND = "/send"
#: Calls after which the bridge cannot know whether the message is in the group.
UNDECIDED = frozenset({"bad_gateway", "sent_but_timeout", "sent_but_cut", "client_left"})
#: A caller who hangs up so soon after an answer may not have heard it: a good connection is kept for
#: a minute. It had given up, or it is dead.
HEARD_SECONDS = 3.0
READ_AT_ONCE = 100_000


class _Reader:
    """Gives each record of one recorder once, when it has ended."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._last = 0
        self._open: list[Record] = []

    def ended(self) -> Iterator[Record]:
        """Those that ended since the last look."""
        new = self._recorder.since(self._last, READ_AT_ONCE)
        if new:
            self._last = new[-1].number
        waiting, self._open = self._open + new, []
        for record in waiting:
            if record.ended is None:
                self._open.append(record)
            else:
                yield record

    def running(self) -> list[Record]:
        """Those that have not ended."""
        return list(self._open)


class Tape:
    """Reads along; says at any time what is still owed."""

    def __init__(self, gateway: EcloudSimulator, dify: DifySimulator) -> None:
        self._gateway = _Reader(gateway.recorder)
        self._callers = gateway.callers
        self._dify = _Reader(dify.recorder)
        self._deliveries: list[Delivery] = []
        self._askings: list[Asking] = []
        self._sendings: list[Sending] = []
        #: Calls of the gateway's send endpoints by group and text.
        self._calls: dict[tuple[str, str], list[Record]] = defaultdict(list)
        self._excused: set[str] = set()
        #: Words with a 200; those that never had one; those of which some part arrived.
        self.accepted: set[str] = set()
        self.refused: set[str] = set()
        self.begun: set[str] = set()
        #: When Dify was called, whatever came of it.
        self.calls: list[float] = []

    @property
    def owed(self) -> set[str]:
        """Accepted words of which nothing arrived, those excused left out."""
        return self.accepted - self.begun - self._excused

    @property
    def over(self) -> int:
        """How many words were answered or refused."""
        return len(self.begun | self.refused)

    @property
    def events(self) -> int:
        """How much happened at all."""
        return len(self._deliveries) + len(self._sendings) + len(self.calls)

    @property
    def undecided(self) -> int:
        """How many calls ended so that the bridge cannot know whether they were carried out."""
        return sum(_is_undecided(call) for calls in self._calls.values() for call in calls)

    def excuse(self, word: str) -> None:
        """Nobody needs to answer this one."""
        self._excused.add(word)

    def read(self) -> None:
        """Take in what ended since the last time."""
        self._callers.look()
        for record in self._gateway.ended():
            if record.kind == "callback":
                self._take_delivery(record)
            elif record.kind == "sent":
                self._take_sending(record)
            elif record.name.startswith(_SEND):
                body = record.facts.get("body") or {}
                self._calls[str(body.get("wcId")), str(body.get("content"))].append(record)
        for record in self._dify.ended():
            if record.name == _ASKING:
                self.calls.append(record.started)
                self._take_asking(record)

    def history(self) -> History:
        """Everything so far; calls of Dify that still run end now."""
        self.read()
        now = time.monotonic()
        running = [
            asking
            for record in self._dify.running()
            if record.name == _ASKING and (asking := _asking(record, ended=now)) is not None
        ]
        return History(
            deliveries=tuple(sorted(self._deliveries, key=lambda one: one.started)),
            askings=tuple(sorted([*self._askings, *running], key=lambda one: one.started)),
            sendings=tuple(sorted(map(self._judged, self._sendings), key=lambda one: one.at)),
        )

    def _take_delivery(self, record: Record) -> None:
        body = str(record.facts.get("body"))
        word, user, group = find_word(body), _USER.search(body), _GROUP.search(body)
        if word is None or user is None or group is None or record.outcome == "not_delivered":
            return
        delivery = Delivery(
            word=word,
            user=user[1],
            group=group[1],
            status=record.facts.get("status"),
            started=record.started,
            ended=record.ended or record.started,
        )
        self._deliveries.append(delivery)
        if delivery.is_accepted:
            self.accepted.add(word)
            self.refused.discard(word)
        elif word not in self.accepted:
            self.refused.add(word)

    def _take_asking(self, record: Record) -> None:
        asking = _asking(record, ended=record.ended or record.started)
        if asking is not None:
            self._askings.append(asking)

    def _take_sending(self, record: Record) -> None:
        facts: dict[str, Any] = record.facts
        sending = Sending(
            account=facts["bot"],
            group=facts["to"],
            at=record.started,
            text=facts["content"],
            marks=find_marks(facts["content"]),
        )
        self._sendings.append(sending)
        for mark in sending.marks:
            self.begun.add(mark.word)

    def _judged(self, sending: Sending) -> Sending:
        """The same, knowing what became of its call."""
        calls = self._calls[sending.group, sending.text]
        own = [one for one in calls if one.started <= sending.at <= (one.ended or sending.at)]
        return replace(sending, is_undecided=any(map(_is_undecided, own)))


def _is_undecided(call: Record) -> bool:
    ended, left_at = call.ended or call.started, call.facts.get("left_at")
    return call.outcome in UNDECIDED or (left_at is not None and left_at - ended < HEARD_SECONDS)


def _asking(record: Record, *, ended: float) -> Asking | None:
    """A call of Dify; None: it was broken before anybody read the question."""
    word = find_word(str(record.facts.get("query", "")))
    if word is None:
        return None
    return Asking(
        word=word,
        user=record.facts["user"],
        attempt=record.facts.get("try", 0),
        outcome=record.outcome or "running",
        started=record.started,
        ended=ended,
    )
