"""
What a person spoke becomes the question of its message: fetched, made into something that Dify takes,
heard by the app, judged by the group's rules.

The text is in the row before anything is asked, so that no later try has to hear it again.
"""

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any

from loguru import logger

from app.models.flow import IgnoreReason, MemberVoice, Turn
from app.models.message import MessageState
from app.services.decide import decide_heard
from app.services.dify.client import DifyClient
from app.services.dify.gate import Gate
from app.services.enclosing import AWAY, FINAL, Carrier
from app.services.errors import (
    DifyError,
    DownloadFailed,
    EcloudError,
    EcloudThrottled,
    EcloudUnauthorized,
    EcloudUnavailable,
    VoiceAway,
    VoiceNotFetched,
    VoiceUnreadable,
    code_of,
)
from app.services.groups import Groups
from app.services.planning import patiently
from app.services.silk import MAX_BYTES, Recording, recording_of
from app.services.stages import utc_now
from app.services.store import Store
from app.services.turn_rows import take_row
from app.utils.clock import Clock

#: For fetching one recording, in seconds; the person's later messages wait behind it.
FETCH_SECONDS = 90.0
#: Longest text that is taken for a question, in characters; a minute of speech has a few hundred.
MAX_TEXT = 10_000
#: Of what the app does not hear, for the operator.
DEAF = "no_speech_to_text"


class Hearing:
    """Hears what people speak, with one app."""

    def __init__(
        self,
        *,
        carrier: Carrier | None,
        dify: DifyClient,
        gate: Gate,
        groups: Groups,
        store: Store,
        clock: Clock,
        is_on: bool,
        keeps_text: bool,
    ) -> None:
        """
        Args:
            carrier: None: there is no gateway to fetch from.
            is_on: the settings want it of this app.
            keeps_text: what turned out to be no question is kept, as the text of ignored messages is.
        """
        self._carrier = carrier
        self._dify = dify
        self._gate = gate
        self._groups = groups
        self._store = store
        self._clock = clock
        self._is_on = is_on
        self._keeps_text = keeps_text

    async def heard(self, turn: Turn, voice: MemberVoice) -> Turn | None:
        """
        The turn with its question; None: it is none, which the message's row says from now on.

        Raises:
            VoiceError: it could not be fetched or read.
            DifyError: the app did not hear it.
            StaleFence, StoreUnavailable: as ``Outbox.plan``.
        """
        if not await self._may_be_heard():
            await self._settle(turn, _ignored(IgnoreReason.UNSUPPORTED_TYPE, detail=DEAF))
            return None
        recording = await self._recording(turn, voice)
        async with self._gate.slot():
            text = await self._dify.transcribe(
                recording.data, name=recording.name, mime=recording.mime, user=turn.user
            )
        text = text.strip()[:MAX_TEXT]
        logger.info("voice.heard", kind=recording.extension, characters=len(text))
        question = decide_heard(text, self._groups.settings(turn.bot_wc_id, turn.group_id).rules)
        if isinstance(question, IgnoreReason):
            await self._settle(turn, _ignored(question, text=text if self._keeps_text else None))
            return None
        await self._settle(turn, {"text": text, "question": question})
        return replace(turn, question=question, voice=None)

    async def _may_be_heard(self) -> bool:
        """Whether the app takes it, as far as is known."""
        parameters = self._dify.traits.parameters
        if parameters is None and self._is_on:
            with suppress(DifyError):
                parameters = await self._dify.parameters()
        return self._is_on and (parameters is None or parameters.hears)

    async def _recording(self, turn: Turn, voice: MemberVoice) -> Recording:
        """
        From the gateway, as Dify takes it.

        Raises:
            VoiceError: the subclass says whether another try may help.
        """
        if self._carrier is None:
            raise VoiceAway("no_gateway")
        if self._carrier.slots.locked():
            # Whoever waits here has a place that somebody else's written question needs.
            raise VoiceAway("too_many")
        try:
            async with self._carrier.slots, asyncio.timeout(FETCH_SECONDS):
                data = await self._carrier.fetch(turn.bot_wc_id, voice, most=MAX_BYTES)
        except TimeoutError as error:
            raise VoiceNotFetched("too_slow") from error
        except DownloadFailed as error:
            reason = str(error)
            kind = VoiceUnreadable if reason in FINAL - AWAY else VoiceNotFetched
            raise (VoiceAway if reason in AWAY else kind)(reason) from error
        except (EcloudUnavailable, EcloudThrottled, EcloudUnauthorized) as error:
            raise VoiceAway(code_of(error)) from error
        except EcloudError as error:
            raise VoiceNotFetched(code_of(error)) from error
        return await asyncio.to_thread(recording_of, data)

    async def _settle(self, turn: Turn, columns: dict[str, Any]) -> None:
        """Write what became of it, however long the database is away just then."""

        async def work(_is_repeated: bool) -> None:
            await self._store.transact(lambda connection: take_row(connection, turn, columns))

        await patiently(self._clock, work)
        if "verdict" in columns:
            logger.info("voice.not_asked", verdict=columns["verdict"])


def _ignored(reason: IgnoreReason, *, text: str | None = None, detail: str = "") -> dict[str, Any]:
    """What stands in the row of what was no question (pure)."""
    return {
        "state": MessageState.IGNORED,
        "verdict": reason,
        "detail": detail,
        "done_at": utc_now(),
        "runs_alone": False,
        "text": text,
        "question": None,
        "raw": None,
    }
