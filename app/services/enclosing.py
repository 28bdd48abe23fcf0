"""
What a person sent before a question is given to Dify along with it.

From the gateway to the app, in memory and a few at a time. What cannot be had or is not taken is left
out: the question counts, and goes without it.
"""

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass

from loguru import logger

from app.models.flow import MemberFile, MemberVoice, Turn, WcId
from app.services.accounts import Accounts
from app.services.attachments import Attachments
from app.services.dify.client import DifyClient
from app.services.dify.files import clean_name
from app.services.dify.uploads import kind_of, mime_of, picture_extension
from app.services.dify.wire import ChatFile, UploadRules
from app.services.downloads import Downloader
from app.services.ecloud.pacing import LookupPacer
from app.services.errors import (
    DifyError,
    DifyRejected,
    DownloadFailed,
    EcloudError,
    ServiceError,
    code_of,
)
from app.services.gateways import Gateways
from app.utils.clock import Clock

#: Largest file that is taken through memory, in bytes, whatever the app would take.
MAX_BYTES = 20 * 1024 * 1024
#: Files on their way at a time, in one process.
AT_ONCE = 4
#: Calls for one file; the gateway often has it a little later.
TRIES = 3
RETRY_PAUSE = 5.0
#: Of the calls for files of one account: frequent ones endanger it.
CALLS_PER_MINUTE = 10
CALL_GAP = 4.0
#: Longest wait for such a call, in seconds; then the question goes without the file.
LONGEST_WAIT = 30.0
#: For all files of a question; what is not with the app by then is left out.
ALL_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Carrier:
    """What the apps of a process share: the gateway, and how much is on its way."""

    gateways: Gateways
    accounts: Accounts
    downloader: Downloader
    clock: Clock
    rng: random.Random
    slots: asyncio.Semaphore
    paces: dict[WcId, "_Pace"]

    @classmethod
    def of(
        cls,
        gateways: Gateways,
        *,
        accounts: Accounts,
        downloader: Downloader,
        clock: Clock,
        rng: random.Random,
    ) -> "Carrier":
        """One for a process."""
        return cls(gateways, accounts, downloader, clock, rng, asyncio.Semaphore(AT_ONCE), {})

    async def fetch(self, bot: WcId, file: MemberFile | MemberVoice, *, most: int) -> bytes:
        """
        A file or a recording that came to one of our accounts.

        Raises:
            DownloadFailed, EcloudError: also when tried again it could not be had.
        """
        for number in range(1, TRIES + 1):
            try:
                return await self.downloader.fetch(await self._url(bot, file), most=most)
            except (DownloadFailed, EcloudError) as error:
                if number == TRIES or str(error) in FINAL:
                    raise
                logger.debug("attachment.fetch_again", error=code_of(error))
            await self.clock.sleep(RETRY_PAUSE)
        raise AssertionError("the last try returns or raises")

    async def _url(self, bot: WcId, file: MemberFile | MemberVoice) -> str:
        login = self.accounts.login(bot)
        client = self.gateways.client_of(bot)
        if login is None or not login.w_id or client is None:
            raise DownloadFailed("account_away")
        try:
            async with asyncio.timeout(LONGEST_WAIT):
                await self.paces.setdefault(bot, _Pace(self.clock, self.rng)).take_turn()
        except TimeoutError as error:
            raise DownloadFailed("too_many") from error
        if isinstance(file, MemberVoice):
            return await client.get_voice_url(w_id=login.w_id, voice=file)
        return await client.get_file_url(w_id=login.w_id, file=file)


#: Reasons that do not change by asking again at once: those that pass, and all of them.
AWAY = frozenset({"too_many", "account_away"})
FINAL = AWAY | {"too_large", "private_host", "bad_address"}


class _Pace:
    """When the calls of one account may go out, one after the other."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._lock = asyncio.Lock()
        self._pacer = LookupPacer(
            rng=rng, shortest=CALL_GAP / 3, longest=CALL_GAP, per_minute=CALLS_PER_MINUTE
        )

    async def take_turn(self) -> None:
        """Wait for the next one."""
        async with self._lock:
            await self._clock.sleep(self._pacer.delay(self._clock.monotonic()))
            self._pacer.asked(self._clock.monotonic())


class Enclosing:
    """Gives one app what belongs to its questions."""

    def __init__(self, attachments: Attachments, carrier: Carrier | None, dify: DifyClient) -> None:
        """
        Args:
            carrier: None: there is no gateway to fetch from.
        """
        self._attachments = attachments
        self._carrier = carrier
        self._dify = dify

    async def files(self, turn: Turn) -> tuple[ChatFile, ...]:
        """
        What goes along with a question, left with the app already.

        Raises:
            DifyError: the app is away; the question could not be asked either.
            StoreUnavailable: the database is.
        """
        if self._carrier is None:
            return ()
        waiting = await self._attachments.of(turn)
        if not waiting:
            return ()
        rules = await self._rules()
        most = min(rules.most or len(waiting), len(waiting))
        # The newest ones are what the question is about.
        chosen = waiting[len(waiting) - most :]
        ends = self._carrier.clock.monotonic() + ALL_SECONDS
        given = [await self._given(self._carrier, turn, file, rules, ends) for file in chosen]
        files = tuple(one for one in given if one is not None)
        logger.info("attachment.given", files=len(files), waiting=len(waiting))
        return files

    async def _rules(self) -> UploadRules:
        parameters = self._dify.traits.parameters
        if parameters is None:
            with suppress(DifyError):
                parameters = await self._dify.parameters()
        return UploadRules() if parameters is None else parameters.uploads

    async def _given(
        self, carrier: Carrier, turn: Turn, file: MemberFile, rules: UploadRules, ends: float
    ) -> ChatFile | None:
        """One file; None: it is left out, and the log says why."""
        try:
            async with asyncio.timeout(max(ends - carrier.clock.monotonic(), 0)):
                return await self._carried(carrier, turn, file, rules)
        except TimeoutError:
            reason = "too_slow"
        except (DownloadFailed, EcloudError, DifyRejected) as error:
            reason = _reason(error)
        logger.warning("attachment.left_out", reason=reason, image=file.is_image)
        return None

    async def _carried(
        self, carrier: Carrier, turn: Turn, file: MemberFile, rules: UploadRules
    ) -> ChatFile:
        """From the gateway to the app."""
        kind = _kind(file, rules)
        async with carrier.slots:
            most = min(rules.sizes.get(kind, MAX_BYTES), MAX_BYTES)
            data = await carrier.fetch(turn.bot_wc_id, file, most=most)
            name = _name(file, data)
            upload_id = await self._dify.upload(data, name=name, mime=mime_of(name), user=turn.user)
        return ChatFile(kind=kind, upload_id=upload_id)


def _kind(file: MemberFile, rules: UploadRules) -> str:
    """
    What the app takes it for.

    Raises:
        DownloadFailed: it does not.
    """
    kind = "image" if file.is_image else kind_of(file.name, rules)
    if kind not in rules.kinds:
        raise DownloadFailed("not_taken")
    return kind


def _name(file: MemberFile, data: bytes) -> str:
    """
    What the file is called at Dify, which goes by the end of it.

    Raises:
        DownloadFailed: it is said to be a picture and is none.
    """
    if not file.is_image:
        return clean_name(file.name)
    extension = picture_extension(data)
    if not extension:
        raise DownloadFailed("no_picture")
    return f"image{extension}"


def _reason(error: ServiceError) -> str:
    if isinstance(error, DownloadFailed):
        return str(error)
    if isinstance(error, DifyRejected):
        return f"dify:{error.peer_code or error.code}"
    return error.code
