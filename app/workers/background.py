"""The loops of one process, by its role; started together, stopped in order."""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

from loguru import logger

from app.kept_settings import KeptCopy
from app.peers import own_callback_urls
from app.runtime import Role, Runtime
from app.services.checks.inspection import Inspection
from app.services.errors import ServiceError
from app.services.feedback_table import FeedbackTable
from app.services.handover import Handover
from app.services.left_messages import LeftMessages
from app.services.stages import utc_now
from app.services.take_backs import TakeBacks
from app.services.turns import Turns
from app.utils.loops import cancelled, first_of, stopped_within
from app.workers.account_watch import AccountWatch
from app.workers.callback_keeper import CallbackKeeper
from app.workers.command_keeper import CommandKeeper
from app.workers.contact_keeper import ContactKeeper
from app.workers.feedback_keeper import FeedbackKeeper
from app.workers.figures_keeper import LEASE_SECONDS as FIGURES_LEASE
from app.workers.figures_keeper import FiguresKeeper
from app.workers.finish_keeper import FinishKeeper
from app.workers.index_keeper import IndexKeeper, replay_spill
from app.workers.limit_keeper import LimitKeeper
from app.workers.live_pace import LivePace
from app.workers.making import make_desks, make_sender_pool, make_worker
from app.workers.parking import ParkingKeeper
from app.workers.peer_watch import PeerWatch
from app.workers.recall_watch import RecallWatch
from app.workers.retention import Ages, Retention
from app.workers.settings_keeper import SettingsKeeper
from app.workers.spill_signal import show_spill
from app.workers.twin_keeper import TwinKeeper
from app.workers.worker import Worker

CONTACTS_SECONDS = 1.0
#: Lease of the one that keeps the callback's address, in seconds.
CALLBACK_LEASE = 60.0
RECALLS_SECONDS = 0.1
#: Lease of the one that looks after copies of messages, in seconds.
TWINS_LEASE = 10.0
#: Callbacks are let in at the latest so long after the index began to be rebuilt.
START_SECONDS = 3.0


class Background:
    """
    What runs beside the HTTP server.

    Claiming stops first; what is in work is finished; then the senders, and last what all of them
    write through.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.index = IndexKeeper(
            store=runtime.store,
            queue=runtime.queue,
            inbox=runtime.inbox,
            leases=runtime.leases,
            clock=runtime.clock,
        )
        self._pace = LivePace(runtime.live)
        url = runtime.settings.database_url.get_secret_value()
        self._settings = SettingsKeeper(runtime, KeptCopy(url))
        self._stop_work = asyncio.Event()
        self._hurry = asyncio.Event()
        self._stop_sending = asyncio.Event()
        self._stop_writing = asyncio.Event()
        self._work: list[asyncio.Task[None]] = []
        self._sending: list[asyncio.Task[None]] = []
        self._writing: list[asyncio.Task[None]] = []
        #: Set when a loop ended that must not: the process has to stop.
        self.failed = asyncio.Event()

    async def start(self) -> None:
        """Bring the index up, or be at it; then start the loops of this role."""
        runtime = self._runtime
        role = runtime.role
        stop = self._stop_writing
        self._run(self._writing, "index-start", self._start_index())
        # A long rebuild goes on beside the callbacks; nothing is claimed before its end.
        await asyncio.wait(self._writing, timeout=START_SECONDS)
        if self._stop_work.is_set():
            return
        self._run(self._writing, "stages", runtime.stages.run(stop))
        self._run(self._writing, "accounts", runtime.accounts.run(stop))
        self._run(self._writing, "offline-notices", runtime.notices.run(stop))
        self._run(self._writing, "groups", runtime.groups.run(stop))
        self._run(self._writing, "pauses", runtime.pauses.run(stop))
        self._run(self._writing, "contacts-seen", self._flush_contacts(stop))
        self._run(self._writing, "recalls", self._flush_recalls(stop))
        self._run(self._writing, "spill", replay_spill(runtime.inbox, stop))
        self._run(
            self._writing, "spill-signs", show_spill(runtime.spill_signs, runtime.inbox, stop)
        )
        self._run(self._writing, "index", self.index.run(stop))
        self._run(self._writing, "settings", self._settings.run(stop))
        self._run(self._writing, "inspection", runtime.inspection.run(stop))
        self._run(self._writing, "apps", _inspect(runtime.app_inspection, stop))
        self._run(self._writing, "gateway", _inspect(runtime.gateway_inspection, stop))
        figures = FiguresKeeper(
            runtime.store, runtime.leases.task("figures", seconds=FIGURES_LEASE)
        )
        self._run(self._writing, "figures", figures.run(stop))
        self._run(self._writing, "refusals", runtime.reception.refusal_log.run(stop))
        if runtime.channels:
            # Whatever the role: any process may be the only one, or the only one left.
            from app.workers.alert_desks import keep_alerts  # noqa: PLC0415 - who has no channels needs none of it

            self._run(self._writing, "alerts", keep_alerts(runtime, stop))
        if role.includes(Role.WORKER):
            self._start_work()
        if role.includes(Role.SENDER):
            self._start_sending()
        if role.includes(Role.API):
            self._start_callback_keeper()

    async def _start_index(self) -> None:
        try:
            await self.index.start(process_died=self._runtime.is_embedded)
        except ServiceError as error:
            logger.warning("index.not_yet", error=error)

    def _start_callback_keeper(self) -> None:
        runtime = self._runtime
        own = own_callback_urls(runtime.settings.ecloud)
        if not own:
            return
        for name, client in runtime.gateways.clients.items():
            keeper = CallbackKeeper(
                client,
                own=own,
                tokens=runtime.settings.ecloud.callback_tokens,
                lease=runtime.leases.task(f"callback:{name}", seconds=CALLBACK_LEASE),
            )
            self._run(self._sending, f"callback-{name}", keeper.run(self._stop_sending))

    def _start_work(self) -> None:
        runtime = self._runtime
        retention = runtime.settings.retention
        ages = Ages(
            text=timedelta(days=retention.text_days),
            raw=timedelta(days=retention.raw_days),
            dedupe=timedelta(days=runtime.settings.message_processing.dedupe_days),
        )
        keeper = Retention(
            store=runtime.store, leases=runtime.leases, ages=ages, clock=runtime.clock
        )
        self._run(self._writing, "retention", keeper.run(self._stop_writing))
        commands = CommandKeeper(
            take_backs=TakeBacks(runtime.store), outbox=runtime.outbox, leases=runtime.leases
        )
        self._run(self._work, "commands", commands.run(self._stop_work))
        if not runtime.apps:
            logger.warning(
                "dify.not_configured 消息会被接收并等待",
                missing="、".join(runtime.settings.dify.missing),
            )
            return
        feedback = FeedbackKeeper(
            table=FeedbackTable(runtime.store),
            apps=runtime.apps,
            leases=runtime.leases,
            clock=runtime.clock,
        )
        self._run(self._work, "feedback", feedback.run(self._stop_work))
        watch = PeerWatch(
            queue=runtime.queue,
            breakers=runtime.breakers,
            quiet_left=lambda: self._pace.plan.quiet_left(utc_now()),
            paused=runtime.pauses.now,
        )
        turns = Turns(
            store=runtime.store,
            groups=runtime.groups,
            key_digests={name: app.key_digest for name, app in runtime.apps.items()},
        )
        desks = make_desks(runtime, turns)
        worker = make_worker(runtime, turns, desks, watch)
        limits = LimitKeeper(desks=desks, limits=runtime.limits, metrics=runtime.metrics)
        ended = asyncio.Event()
        self._run(self._work, "limits", limits.run(self._stop_work, ended))
        self._run(self._work, "worker", self._claim_within(limits, worker, ended))
        recall_watch = RecallWatch(runtime.recalls, worker)
        self._run(self._work, "recall-watch", recall_watch.run(self._stop_work))
        parking = ParkingKeeper(
            queue=runtime.queue,
            breakers=runtime.breakers,
            keep_probes=watch.keep_probes,
            desks=desks,
            paused=runtime.pauses.now,
        )
        self._run(self._work, "parking", parking.run(self._stop_work))

    async def _claim_within(
        self, limits: LimitKeeper, worker: Worker, ended: asyncio.Event
    ) -> None:
        """Claim nothing before it is known what the other processes leave to this one."""
        try:
            await first_of(limits.has_begun, self._stop_work, seconds=START_SECONDS)
            await worker.run(self._stop_work, self._hurry)
        finally:
            ended.set()

    def _start_twins(self) -> None:
        """Also without a gateway: what was left to another account is answered as soon as there is one."""
        runtime = self._runtime
        twins = TwinKeeper(
            left=LeftMessages(runtime.store, runtime.inbox.shared_ids),
            handover=Handover(runtime.store),
            accounts=runtime.accounts,
            queue=runtime.queue,
            bell=runtime.bell,
            lease=runtime.leases.task("twins", seconds=TWINS_LEASE),
            clock=runtime.clock,
        )
        self._run(self._sending, "twins", twins.run(self._stop_sending))

    def _start_sending(self) -> None:
        runtime = self._runtime
        self._start_twins()
        if not runtime.gateways.clients:
            logger.warning(
                "ecloud.not_configured 答案会等待发送",
                missing="、".join(runtime.settings.ecloud.missing),
            )
            return
        pool = make_sender_pool(runtime, self._pace)
        self._run(self._sending, "senders", pool.run(self._stop_sending))
        keeper = ContactKeeper(
            contacts=runtime.contacts,
            accounts=runtime.accounts,
            gateways=runtime.gateways,
            leases=runtime.leases,
            clock=runtime.clock,
            rng=runtime.rng,
        )
        self._run(self._sending, "contacts", keeper.run(self._stop_sending))
        accounts = AccountWatch(
            accounts=runtime.accounts,
            gateways=runtime.gateways,
            breakers=runtime.breakers,
            notices=runtime.notices,
            leases=runtime.leases,
            clock=runtime.clock,
            interval=runtime.settings.ecloud.poll_interval,
        )
        self._run(self._sending, "account-watch", accounts.run(self._stop_sending))
        finishing = FinishKeeper(runtime.outbox)
        self._run(self._sending, "finishing", finishing.run(self._stop_sending))

    def _run(
        self, group: list[asyncio.Task[None]], name: str, loop: Coroutine[Any, Any, None]
    ) -> None:
        task = asyncio.create_task(loop, name=name)
        task.add_done_callback(self._notice_end)
        group.append(task)

    def _notice_end(self, task: "asyncio.Task[None]") -> None:
        """A loop that raises is a fault of ours: better to stop and be started anew than to limp."""
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.opt(exception=error).critical("background.failed", loop=task.get_name())
            self.failed.set()

    async def _flush_contacts(self, stop: asyncio.Event) -> None:
        while not await stopped_within(stop, CONTACTS_SECONDS):
            try:
                await self._runtime.contacts.flush()
                await self._runtime.room_news.flush()
            except ServiceError as error:
                logger.debug("contacts.seen_later", error=error)

    async def _flush_recalls(self, stop: asyncio.Event) -> None:
        while not await stopped_within(stop, RECALLS_SECONDS):
            try:
                await self._runtime.recalls.flush()
            except ServiceError as error:
                logger.debug("message.recall_later", error=error)

    def stop_claiming(self) -> None:
        """Take no new message; what is in work goes on."""
        self._stop_work.set()
        self.index.leave()

    def hurry(self) -> None:
        """Do not wait for what is in work: it is given back."""
        self._hurry.set()

    async def stop(self) -> None:
        """Finish what is in work and end all loops; may be called again."""
        self.stop_claiming()
        await _ended(self._work)
        self._stop_sending.set()
        await _ended(self._sending)
        self._stop_writing.set()
        await _ended(self._writing)


async def _inspect(inspection: Inspection, stop: asyncio.Event) -> None:
    """Nobody waits for the first look: a peer may be away."""
    await inspection.look()
    await inspection.run(stop)


#: Longest wait for a loop that was told to stop; the worker's own bound is 25 s.
END_SECONDS = 28.0


async def _ended(tasks: list["asyncio.Task[None]"]) -> None:
    if not tasks:
        return
    _, late = await asyncio.wait(tasks, timeout=END_SECONDS)
    for task in late:
        logger.error("background.cancelled", loop=task.get_name())
    await cancelled(late)
