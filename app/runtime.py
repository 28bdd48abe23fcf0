"""
Builds everything once, in order, and closes it in reverse.

Start order: the database's schema, the spill of dead processes, the index; only then the caller
opens the listener. Everything is passed in by constructor; nobody reaches for a global.
"""

import asyncio
import os
import random
import secrets
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from zoneinfo import ZoneInfo

import aiohttp
from loguru import logger
from redis.asyncio import Redis

from app.channels import make_channels
from app.kept_settings import folder_of
from app.models.flow import Trigger, WcId
from app.opening import (
    DATABASE,
    REDIS,
    StartRefused,
    connect_redis,
    database_look,
    hold_data_folder,
    open_store,
    prepare_schema,
    redis_look,
    refuse_unfit,
)
from app.peers import inspect_apps, inspect_gateway, make_apps, make_eclouds
from app.services.accounts import Accounts
from app.services.addresses import is_private_address, read_address
from app.services.alerts.channel import Channel
from app.services.checks.inspection import Inspection
from app.services.contacts import Contacts
from app.services.conversations import Journal
from app.services.decide import GroupRules, compile_pattern
from app.services.dify.apps import AskedApp
from app.services.downloads import Downloader
from app.services.errors import ServiceError
from app.services.forms import Forms
from app.services.gateways import Gateways
from app.services.groups import Groups, GroupSettings
from app.services.inbox import Inbox
from app.services.live_settings import LiveSettings
from app.services.metrics import Metrics
from app.services.outbox import Outbox
from app.services.overrides import Overrides
from app.services.paces import Paces
from app.services.pauses import Pauses, PauseTable
from app.services.queue.breakers import Breakers
from app.services.queue.leases import Leases, OutboxBell
from app.services.queue.limits import Limits
from app.services.queue.offline_notices import OfflineNotices
from app.services.queue.redis_queue import RedisQueue
from app.services.queue.restarts import Restarts
from app.services.queue.spill_signs import SpillSigns
from app.services.recalls import Recalls
from app.services.reception import Reception
from app.services.room import Bounds
from app.services.room_news import RoomNewsBook
from app.services.spill import Spill
from app.services.stages import Stages
from app.services.store import Store
from app.services.suggestions import Suggestions
from app.services.tracing import Tracer
from app.telemetry.opening import open_tracer
from app.utils.clock import Clock, SystemClock
from app.utils.db import is_sqlite
from app.utils.http_client import make_http_client
from app.utils.ids import IdMaker
from app.utils.public_http import make_public_http_client
from app.version import VERSION
from config import LoadedSettings, Settings

#: A probe without a sign of life for so long makes room; longer than a process takes to stop.
PROBE_SECONDS = 30.0
#: So long Redis alone recognises a second delivery while SQL is away.
SEEN_SECONDS = 86_400
SPILL_BYTES = 1024 * 1024 * 1024
#: Longest wait for the gateway's logins before callbacks are let in.
LOGINS_SECONDS = 3.0
EMBEDDED = "embedded"


class Role(StrEnum):
    """What this process does."""

    ALL = "all"
    API = "api"
    WORKER = "worker"
    SENDER = "sender"

    def includes(self, part: "Role") -> bool:
        """Whether this process does that part of the work."""
        return self in (Role.ALL, part)


@dataclass(frozen=True, kw_only=True, slots=True)
class Runtime:
    """Everything that is built once. Others are given the parts they use."""

    #: As they were at the start, and where they came from.
    settings: Settings
    loaded: LoadedSettings
    #: What of them changes while the process runs.
    live: LiveSettings
    overrides: Overrides
    restarts: Restarts
    role: Role
    clock: Clock
    rng: random.Random
    metrics: Metrics
    #: Is told where a message's time went.
    tracer: Tracer
    store: Store
    redis: Redis
    inspection: Inspection
    queue: RedisQueue
    breakers: Breakers
    leases: Leases
    limits: Limits
    bell: OutboxBell
    spill_signs: SpillSigns
    paces: Paces
    pauses: Pauses
    notices: OfflineNotices
    stages: Stages
    spill: Spill
    inbox: Inbox
    accounts: Accounts
    groups: Groups
    contacts: Contacts
    room_news: RoomNewsBook
    recalls: Recalls
    journal: Journal
    outbox: Outbox
    suggestions: Suggestions
    forms: Forms
    reception: Reception
    #: By name; empty: the settings name none yet; messages are accepted and wait.
    apps: Mapping[str, AskedApp]
    app_inspection: Inspection
    #: Without clients: the settings name none yet; answers wait.
    gateways: Gateways
    gateway_inspection: Inspection
    #: Whom the operator is told through; empty: nobody is told.
    channels: Sequence[Channel]
    #: Of this process, for leases and notices.
    host: str
    downloader: Downloader

    @property
    def is_embedded(self) -> bool:
        """Whether database or Redis live inside this one process."""
        return is_embedded(self.settings)


def is_embedded(settings: Settings) -> bool:
    """Whether database or Redis live inside the one process that there may be."""
    database_url = settings.database_url.get_secret_value()
    return has_embedded_queue(settings) or is_sqlite(database_url)


def has_embedded_queue(settings: Settings) -> bool:
    """Whether Redis lives inside this process."""
    return settings.redis_url.get_secret_value().startswith(EMBEDDED)


def data_folder(settings: Settings) -> Path:
    """Where files of this installation lie: beside the SQLite file, else ``data``."""
    return folder_of(settings.database_url.get_secret_value())


@asynccontextmanager
async def open_runtime(loaded: LoadedSettings, role: Role) -> AsyncIterator[Runtime]:
    """
    Build the runtime for one role.

    Raises:
        StartRefused: roles split on the embedded default, or a store that cannot be used as it is, or
            spans that are wanted and cannot be told.
        AlreadyRunning: another process has the embedded default's data.
    """
    settings = loaded.settings
    async with AsyncExitStack() as stack:
        if is_embedded(settings):
            if role is not Role.ALL:
                raise StartRefused(
                    "内置的 SQLite/Redis 只能由一个进程使用:--role 需要 MySQL 和 Redis "
                    "(设置 DATABASE_URL 与 REDIS_URL)。"
                )
            hold_data_folder(stack, data_folder(settings))
        database_url = settings.database_url.get_secret_value()
        await asyncio.to_thread(prepare_schema, database_url)
        store = open_store(stack, database_url)
        redis = await connect_redis(stack, settings.redis_url.get_secret_value())
        metrics = Metrics(version=VERSION)
        tracer = await open_tracer(stack, os.environ, role=role, metrics=metrics)
        http = await stack.enter_async_context(make_http_client())
        public = await stack.enter_async_context(make_public_http_client(is_private_address))
        downloader = Downloader(public, own=http, own_hosts=gateway_hosts(settings))
        runtime = _assemble(
            loaded,
            role,
            store=store,
            redis=redis,
            http=http,
            downloader=downloader,
            metrics=metrics,
            tracer=tracer,
        )
        stack.callback(runtime.spill.close)
        await refuse_unfit(runtime.inspection)
        yield runtime


def gateway_hosts(settings: Settings) -> set[str]:
    """Where the gateways of all logins stand."""
    gateways = (read_address(one.base_url) for one in settings.ecloud.every_login())
    return {gateway.host for gateway in gateways if gateway is not None}


def _assemble(
    loaded: LoadedSettings,
    role: Role,
    *,
    store: Store,
    redis: Redis,
    http: aiohttp.ClientSession,
    downloader: Downloader,
    metrics: Metrics,
    tracer: Tracer,
) -> Runtime:
    settings, live = loaded.settings, LiveSettings(loaded.settings)
    clock = SystemClock()
    zone = ZoneInfo(settings.conversations.timezone)
    apps = make_apps(settings.dify, http, clock, zone)
    host = socket.gethostname()
    holder = f"{host}-{os.getpid()}-{secrets.token_hex(3)}".replace(":", "-")
    processing = settings.message_processing
    queue = RedisQueue(
        redis,
        worker=holder,
        lease=processing.lease,
        # In this process each key costs as much as six messages, and tells what SQL tells a little later.
        seen_seconds=0 if has_embedded_queue(settings) else SEEN_SECONDS,
    )
    stages = Stages(store)
    spill = Spill(data_folder(settings) / "spill", max_bytes=SPILL_BYTES)
    inbox = Inbox(
        store=store,
        queue=queue,
        spill=spill,
        stages=stages,
        ids=IdMaker(),
        clock=clock,
        bounds=lambda: bounds_of(live.now),
        keep_ignored_text=processing.keep_ignored_text,
    )
    accounts = Accounts(store)
    groups = Groups(store, group_defaults(settings))
    contacts = Contacts(store, max_age=timedelta(seconds=settings.contacts.max_age))
    room_news = RoomNewsBook(store)
    spill_signs = SpillSigns(redis, holder=holder)
    recalls = Recalls(
        store,
        clock,
        keeps_text=processing.keep_ignored_text,
        is_spilling=spill_signs.anybody,
    )
    bell = OutboxBell(redis)
    eclouds = make_eclouds(settings.ecloud, http)
    notices = OfflineNotices(redis)
    journal = Journal(zone)
    suggestions = Suggestions(store)
    forms = Forms(store)
    return Runtime(
        settings=settings,
        loaded=loaded,
        live=live,
        overrides=Overrides(store),
        restarts=Restarts(redis, holder=holder, role=role),
        role=role,
        clock=clock,
        rng=random.SystemRandom(),
        metrics=metrics,
        tracer=tracer,
        store=store,
        redis=redis,
        inspection=make_inspection(settings, store, redis, clock),
        queue=queue,
        breakers=Breakers(redis, probe_seconds=PROBE_SECONDS),
        leases=Leases(redis, holder=holder, clock=clock),
        limits=Limits(redis, process=holder),
        bell=bell,
        spill_signs=spill_signs,
        paces=Paces(redis),
        pauses=Pauses(PauseTable(store)),
        notices=notices,
        stages=stages,
        spill=spill,
        inbox=inbox,
        accounts=accounts,
        groups=groups,
        contacts=contacts,
        room_news=room_news,
        recalls=recalls,
        journal=journal,
        outbox=Outbox(store=store, stages=stages, journal=journal, bell=bell),
        suggestions=suggestions,
        forms=forms,
        reception=Reception(
            inbox=inbox,
            accounts=accounts,
            groups=groups,
            contacts=contacts,
            room_news=room_news,
            recalls=recalls,
            notices=notices,
            suggestions=suggestions,
            forms=forms,
            metrics=metrics,
            clock=clock,
            keeps_files=processing.attachment_wait > 0,
            hears_voices=any(app.hears_voices for app in apps.values()),
            window=settings.ecloud.callback_window,
        ),
        apps=apps,
        app_inspection=inspect_apps(apps),
        gateways=Gateways(eclouds, accounts=accounts, clock=clock),
        gateway_inspection=inspect_gateway(settings.ecloud, eclouds),
        channels=make_channels(settings.alerts, http, clock),
        host=host,
        downloader=downloader,
    )


def make_inspection(settings: Settings, store: Store, redis: Redis, clock: Clock) -> Inspection:
    """What looks at the stores, now and while the process runs."""
    looks = {DATABASE: database_look(store)}
    if not has_embedded_queue(settings):
        allow_eviction = settings.message_processing.allow_redis_eviction
        looks[REDIS] = redis_look(redis, clock, allow_eviction=allow_eviction)
    return Inspection(looks)


def bounds_of(settings: Settings) -> Bounds:
    """How much may wait."""
    processing = settings.message_processing
    return Bounds(per_user=processing.max_queue_length, in_all=processing.max_waiting)


def group_defaults(settings: Settings) -> GroupSettings:
    """What holds in a group for which nothing is set."""
    groups = settings.groups
    return GroupSettings(
        rules=GroupRules(
            trigger=Trigger(groups.trigger),
            prefixes=tuple(groups.prefixes),
            keywords=tuple(groups.keywords),
            pattern=compile_pattern(groups.pattern) if groups.pattern else None,
            max_message_age=settings.message_processing.max_message_age,
            tells_quoted=groups.quote_context,
            takes_feedback=settings.dify.feedback,
            staff=frozenset(WcId(one) for one in groups.staff),
        ),
        mention_sender=settings.reply.mention_sender,
        is_plain=settings.reply.plain_text,
        cites=settings.reply.citations,
        suggests=settings.reply.suggestions,
    )


async def warm_up(runtime: Runtime) -> None:
    """Take in what SQL knows before the first callback; what is away now is read later."""
    with suppress(ServiceError):
        await runtime.accounts.load()
    with suppress(TimeoutError):
        # Whom nobody may answer; a gateway that is away must not keep callbacks out.
        async with asyncio.timeout(LOGINS_SECONDS):
            # An outage that lasts is ended by its sender, who knows what waited through it.
            failed = await runtime.gateways.query_all(tells_standing=False)
            for error in failed.values():
                logger.warning("account.logins_not_told", error=error)
    with suppress(ServiceError):
        await runtime.groups.load()
    with suppress(ServiceError):
        await runtime.pauses.load()
    runtime.inbox.adopt_orphans()
    with suppress(ServiceError):
        await runtime.inbox.replay()
