"""How the simulated gateway delivers its callbacks: in time, or not at all."""

import asyncio
import json
import time
from collections import deque
from dataclasses import dataclass
from http.client import MULTIPLE_CHOICES, OK
from typing import Any

import aiohttp

from simulators.ecloud_disguises import disguise
from simulators.faults import FaultSwitches
from simulators.recorder import Recorder
from simulators.serving import Errands

#: Seconds for connection and transfer; beyond them a callback is not sent.
DELIVERY_LIMIT = 6.0
#: Until a callback that was not taken is tried again, where that is switched on.
RETRY_SECONDS = 1.0
KEPT_BODY = 4_096


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """How the receiver took a callback; `status` None = no answer within the limit."""

    status: int | None
    answer: str
    seconds: float

    @property
    def is_taken(self) -> bool:
        """In time, and with a status that says so."""
        return self.status is not None and OK <= self.status < MULTIPLE_CHOICES


@dataclass(frozen=True, kw_only=True)
class _Parcel:
    label: str
    raw: bytes
    due: float
    copies: int
    tries: int


class Courier:
    """
    Posts callbacks, those of one lane (a group) one after the other, lanes side by side.

    What is not taken within *limit* seconds is dropped; nothing is repeated, unless that is switched
    on: then what was not taken, or not with a status of success, is tried again later.
    """

    def __init__(
        self,
        faults: FaultSwitches,
        recorder: Recorder,
        *,
        limit: float = DELIVERY_LIMIT,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self.url: str | None = None
        #: The older format was asked for.
        self.native = False
        self.limit = limit
        self.retry_seconds = retry_seconds
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
        changed = disguise(body, self._faults, native=self.native)
        retry = self._faults.strike("retry", "callback")
        duplicate = self._faults.strike("duplicate", "callback")
        delay = self._faults.strike("delay", "callback")
        parcel = _Parcel(
            label=str(changed["messageType"]),
            raw=json.dumps(changed, ensure_ascii=False, separators=(",", ":")).encode(
                errors="replace"
            ),
            due=time.monotonic() + (delay.value if delay else 0.0),
            copies=1 + (int(duplicate.value) or 1 if duplicate else 0),
            tries=1 + (int(retry.value) or 1 if retry else 0),
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
                await self._try(parcel)
            else:
                await asyncio.gather(*(self._try(parcel) for _ in range(parcel.copies)))
        finally:
            self._pending -= 1
            if not self._pending:
                self._idle.set()

    async def _try(self, parcel: _Parcel) -> None:
        for further in reversed(range(parcel.tries)):
            delivery = await self.post_now(parcel.raw, label=parcel.label)
            if delivery.is_taken or not further:
                return
            await asyncio.sleep(self.retry_seconds)
