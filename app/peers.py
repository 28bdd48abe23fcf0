"""The clients of what the bridge speaks with, made of the settings: Dify's apps and the gateway."""

from collections.abc import Mapping

import aiohttp

from app.services.dify.apps import AskedApp
from app.services.dify.client import DifyClient
from app.services.dify.limit import AdaptiveLimit, Gate
from app.services.dify.transport import DifyApp
from app.services.ecloud.client import EcloudClient, EcloudLogin
from app.utils.clock import Clock
from config import DifySettings, EcloudSettings, WholeDifyApp

#: The gateway's login of the flat settings.
DEFAULT_LOGIN = "default"


def make_apps(
    settings: DifySettings, http: aiohttp.ClientSession, clock: Clock
) -> Mapping[str, AskedApp]:
    """Every app that the settings name, by name; the default one first, if it is named."""
    return {one.name: _make_app(one, http, clock) for one in settings.every_app()}


def _make_app(one: WholeDifyApp, http: aiohttp.ClientSession, clock: Clock) -> AskedApp:
    app = DifyApp(
        name=one.name,
        base_url=one.base_url,
        api_key=one.api_key.get_secret_value(),
        blocking_timeout=one.blocking_timeout,
        streaming_timeout=one.streaming_timeout,
        first_event_timeout=one.first_event_timeout,
    )
    limit = AdaptiveLimit.starting_at(one.initial_concurrency, maximum=one.max_concurrency)
    return AskedApp(
        client=DifyClient(http, app, clock),
        gate=Gate(limit),
        is_streamed=one.streaming_enabled,
        ignores_moderation=one.stream_moderated,
    )


def make_ecloud(settings: EcloudSettings, http: aiohttp.ClientSession) -> EcloudClient | None:
    """The gateway's client, if the settings name a gateway."""
    if settings.missing:
        return None
    login = EcloudLogin(
        name=DEFAULT_LOGIN,
        base_url=settings.base_url,
        authorization=settings.authorization.get_secret_value(),
    )
    return EcloudClient(http, login, settings.timeout)
