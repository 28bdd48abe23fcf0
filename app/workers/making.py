"""What answers and what sends in this process, made of the runtime's parts."""

from app.models.flow import WcId
from app.peers import media_rules
from app.runtime import Runtime, has_embedded_queue
from app.services.attachments import Attachments
from app.services.dify.apps import AskedApp
from app.services.dify.moderation import Moderation
from app.services.enclosing import Carrier, Enclosing
from app.services.handover import Handover
from app.services.hearing import Hearing
from app.services.plain_text import PlainText
from app.services.queue.leases import Lease
from app.services.recap import Recap
from app.services.recovery import Recovery
from app.services.replies import Replies
from app.services.rescue import Rescue
from app.services.resuming import Resuming
from app.services.segmenter import Segmenter
from app.services.stops import Stops
from app.services.suggesting import Suggesting
from app.services.turns import Turns
from app.services.wording import Wording
from app.workers.desks import Desk, Desks
from app.workers.fallbacks import Fallbacks
from app.workers.peer_watch import PeerWatch
from app.workers.retry import RetryPolicy
from app.workers.schedule import Pace
from app.workers.send_policy import SenderSettings
from app.workers.sender import AccountSender
from app.workers.sender_pool import SenderPool
from app.workers.takeover import Takeover
from app.workers.worker import Worker, WorkerSettings


def make_desks(runtime: Runtime, turns: Turns) -> Desks:
    """The apps at work in this process."""
    settings = runtime.settings
    plain = PlainText()
    carrier = _make_carrier(runtime)

    def worded(name: str) -> Wording:
        rules = media_rules(settings, name)
        return Wording(settings.reply.strip_thinking, plain, media=rules)

    return Desks(
        (
            Desk(
                name,
                gate=app.gate,
                replies=_make_replies(runtime, turns, app, worded(name), carrier),
                hearing=_make_hearing(runtime, app, carrier),
            )
            for name, app in runtime.apps.items()
        ),
        queue=runtime.queue,
        concurrency=settings.worker.concurrency,
    )


def _make_carrier(runtime: Runtime) -> Carrier | None:
    """What brings files of members to the apps; None: there is no gateway to fetch them from."""
    if not runtime.gateways.clients:
        return None
    return Carrier.of(
        runtime.gateways,
        accounts=runtime.accounts,
        downloader=runtime.downloader,
        clock=runtime.clock,
        rng=runtime.rng,
    )


def _make_hearing(runtime: Runtime, app: AskedApp, carrier: Carrier | None) -> Hearing:
    return Hearing(
        carrier=carrier,
        dify=app.client,
        gate=app.gate,
        groups=runtime.groups,
        store=runtime.store,
        clock=runtime.clock,
        is_on=app.hears_voices,
        keeps_text=runtime.settings.message_processing.keep_ignored_text,
    )


def _make_replies(
    runtime: Runtime, turns: Turns, app: AskedApp, wording: Wording, carrier: Carrier | None
) -> Replies:
    rescue = Rescue(
        wording=wording,
        recovery=Recovery(
            dify=app.client,
            clock=runtime.clock,
            taken=turns.taken,
            is_blocking=not app.is_streamed,
        ),
        stops=Stops(dify=app.client, metrics=runtime.metrics),
        stages=runtime.stages,
        metrics=runtime.metrics,
    )
    max_length = runtime.settings.reply.max_length
    return Replies(
        dify=app.client,
        moderation=Moderation(app.client, runtime.clock, is_ignored=app.ignores_moderation),
        gate=app.gate,
        outbox=runtime.outbox,
        stages=runtime.stages,
        rescue=rescue,
        recap=Recap(runtime.store, runtime.settings.dify.recap_turns),
        enclosing=Enclosing(
            Attachments(runtime.store, runtime.settings.message_processing.attachment_wait),
            carrier,
            app.client,
        ),
        metrics=runtime.metrics,
        tracer=runtime.tracer,
        clock=runtime.clock,
        streaming=app.is_streamed,
        inputs=app.inputs,
        wording=wording,
        segmenter=Segmenter(max_length),
        resuming=Resuming(
            dify=app.client, forms=runtime.forms, stages=runtime.stages, clock=runtime.clock
        ),
        suggesting=Suggesting(
            dify=app.client,
            suggestions=runtime.suggestions,
            outbox=runtime.outbox,
            max_length=max_length,
        ),
        budget=runtime.settings.message_processing.queue_timeout,
    )


def make_worker(runtime: Runtime, turns: Turns, desks: Desks, watch: PeerWatch) -> Worker:
    """The answer loop of this process."""
    settings = runtime.settings
    processing = settings.message_processing
    others = {name: app.fallback for name, app in runtime.apps.items() if app.fallback}
    return Worker(
        queue=runtime.queue,
        turns=turns,
        desks=desks,
        outbox=runtime.outbox,
        journal=runtime.journal,
        stages=runtime.stages,
        watch=watch,
        takeover=Takeover(
            handover=Handover(runtime.store),
            turns=turns,
            accounts=runtime.accounts,
            watch=watch,
            clock=runtime.clock,
        ),
        fallbacks=Fallbacks(others, turns=turns, watch=watch),
        spill_signs=runtime.spill_signs,
        segmenter=Segmenter(settings.reply.max_length),
        policy=RetryPolicy(
            max_retries=processing.max_retry_count,
            delay=processing.retry_delay,
            crash_limit=processing.crash_limit,
            outage_max_wait=processing.outage_max_wait,
        ),
        metrics=runtime.metrics,
        tracer=runtime.tracer,
        clock=runtime.clock,
        settings=WorkerSettings(
            lease=processing.lease,
            failure_reply=lambda: runtime.live.now.message_processing.failure_reply,
            dies_with_queue=has_embedded_queue(settings),
        ),
        paused=runtime.pauses.now,
    )


def make_sender_pool(runtime: Runtime, pace: Pace) -> SenderPool:
    """The send loops of this process, which keep this pace."""
    settings = runtime.settings
    figures = SenderSettings(
        pace=pace,
        timeout=settings.ecloud.timeout,
        on_unknown_send=settings.ecloud.on_unknown_send,
        max_age=settings.ecloud.offline_max_wait,
    )

    def make_sender(bot: WcId, lease: Lease) -> AccountSender:
        return AccountSender(
            bot,
            lease=lease,
            outbox=runtime.outbox,
            accounts=runtime.accounts,
            ecloud=runtime.gateways.of(bot),
            breakers=runtime.breakers,
            paces=runtime.paces,
            metrics=runtime.metrics,
            tracer=runtime.tracer,
            clock=runtime.clock,
            rng=runtime.rng,
            settings=figures,
            paused=runtime.pauses.now,
        )

    return SenderPool(
        leases=runtime.leases,
        bell=runtime.bell,
        outbox=runtime.outbox,
        accounts=runtime.accounts,
        make_sender=make_sender,
        lease_seconds=settings.message_processing.lease,
    )
