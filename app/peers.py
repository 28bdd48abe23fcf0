"""The clients of what the bridge speaks with, made of the settings: Dify's apps and the gateway."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from hashlib import sha256
from zoneinfo import ZoneInfo

import aiohttp

from app.services.addresses import read_address
from app.services.checks.dify_rules import judge_app, judge_refusal
from app.services.checks.ecloud_rules import GatewayFacts, judge_gateway
from app.services.checks.inspection import Inspection
from app.services.dify.apps import AskedApp
from app.services.dify.client import DifyClient
from app.services.dify.gate import Gate
from app.services.dify.inputs import InputTemplates
from app.services.dify.limit import Places
from app.services.dify.transport import DifyApp
from app.services.ecloud.callback_url import own_urls
from app.services.ecloud.client import EcloudClient, EcloudLogin
from app.services.errors import DifyRejected, EcloudProtocolError, EcloudRefused
from app.services.findings import Look
from app.services.media import MediaRules
from app.utils.clock import Clock
from config import DifySettings, EcloudSettings, Settings, WholeDifyApp

#: Between two looks at what an app is, in seconds; and while one is away or cannot be asked as it is.
APPS_SECONDS = 300.0
APPS_SOON_SECONDS = 15.0
#: Characters of the digest that stands beside a conversation's id.
DIGEST_LENGTH = 16
#: Between two looks at the gateway, in seconds, and while it is away; look-ups cost the account something.
GATEWAY_SECONDS = 300.0
GATEWAY_SOON_SECONDS = 60.0


def make_apps(
    settings: DifySettings, http: aiohttp.ClientSession, clock: Clock, zone: ZoneInfo
) -> Mapping[str, AskedApp]:
    """Every app that the settings name, by name; the default one first, if it is named."""
    return {one.name: _make_app(one, http, clock, zone) for one in settings.every_app()}


def _make_app(
    one: WholeDifyApp, http: aiohttp.ClientSession, clock: Clock, zone: ZoneInfo
) -> AskedApp:
    app = DifyApp(
        name=one.name,
        base_url=one.base_url,
        api_key=one.api_key.get_secret_value(),
        blocking_timeout=one.blocking_timeout,
        streaming_timeout=one.streaming_timeout,
        first_event_timeout=one.first_event_timeout,
        kind=one.kind,
        input_key=one.input_key,
        output_key=one.output_key,
    )
    places = Places(one.initial_concurrency, maximum=one.max_concurrency, clock=clock)
    return AskedApp(
        client=DifyClient(http, app, clock),
        gate=Gate(places),
        inputs=InputTemplates(one.inputs, zone),
        fallback=one.fallback,
        key_digest=_digest(app),
        is_streamed=one.streaming_enabled,
        ignores_moderation=one.stream_moderated,
        hears_voices=one.voice,
    )


def media_rules(settings: Settings, name: str) -> MediaRules:
    """Where the files of one app's answers may lie."""
    one = next(app for app in settings.dify.every_app() if app.name == name)
    return MediaRules(
        base=read_address(one.base_url),
        files_base=read_address(one.files_url),
        hosts=settings.dify.media_hosts,
        is_on=settings.reply.media,
    )


def _digest(app: DifyApp) -> str:
    """Enough of a digest to tell keys apart, too little to say anything about one."""
    whole = sha256(f"{app.base_url}\n{app.api_key}".encode())
    return whole.hexdigest()[:DIGEST_LENGTH]


def inspect_apps(apps: Mapping[str, AskedApp]) -> Inspection:
    """What looks at the apps, now and then."""
    looks = {name: partial(look_at_app, app) for name, app in apps.items()}
    return Inspection(looks, every=APPS_SECONDS, soon=APPS_SOON_SECONDS)


async def look_at_app(app: AskedApp) -> Look:
    """
    Let an app say what it is, and judge that.

    Raises:
        DifyError: it could not be asked.
    """
    try:
        health = await app.client.ping()
    except DifyRejected as error:
        return judge_refusal(error.peer_code)
    with suppress(DifyRejected):
        # Some proxies let only questions through.
        await app.client.parameters()
    return judge_app(app, health.app_name)


def make_eclouds(settings: EcloudSettings, http: aiohttp.ClientSession) -> tuple[EcloudClient, ...]:
    """A client for every login that the settings name, that of the flat ones first."""
    logins = (
        EcloudLogin(
            name=one.name,
            base_url=one.base_url,
            authorization=one.authorization.get_secret_value(),
            image_endpoint=settings.image_endpoint,
        )
        for one in settings.every_login()
    )
    return tuple(EcloudClient(http, login, settings.timeout) for login in logins)


def own_callback_urls(settings: EcloudSettings) -> tuple[str, ...]:
    """The addresses of this bridge that may stand at the gateway; empty: the settings do not say."""
    base = settings.callback_url
    return own_urls(base, settings.callback_tokens) if base else ()


def inspect_gateway(settings: EcloudSettings, eclouds: Sequence[EcloudClient]) -> Inspection:
    """What looks at the gateway's logins, now and then."""
    looks = {one.login.name: partial(look_at_gateway, settings, one) for one in eclouds}
    return Inspection(looks, every=GATEWAY_SECONDS, soon=GATEWAY_SOON_SECONDS)


async def look_at_gateway(settings: EcloudSettings, ecloud: EcloudClient) -> Look:
    """
    Let the gateway say who is online and where it posts to, and judge that.

    Raises:
        EcloudError: it could not be asked, or does not accept the login.
    """
    logins = await ecloud.query_logins()
    try:
        registered: str | None = await ecloud.callback_url()
    except (EcloudRefused, EcloudProtocolError):
        registered = None
    return judge_gateway(
        GatewayFacts(online=len(logins), registered=registered),
        own=own_callback_urls(settings),
        tokens=settings.callback_tokens,
    )
