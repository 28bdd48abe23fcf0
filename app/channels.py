"""Whom the operator is told through, made of the settings."""

from zoneinfo import ZoneInfo

import aiohttp

from app.services.alerts.channel import Channel
from app.services.alerts.dingtalk import DingtalkRobot
from app.services.alerts.feishu import FeishuRobot
from app.services.alerts.message import Sender
from app.services.alerts.posting import Posting
from app.services.alerts.webhook import Webhook
from app.services.alerts.wecom import WecomRobot
from app.utils.clock import Clock
from config import AlertChannel, AlertsSettings, Settings

#: How an installation without a name is called in notices.
INSTALLATION = "ecloud-dify"


def make_sender(settings: Settings, host: str) -> Sender:
    """Who tells the operator, as the notices say it."""
    zone = ZoneInfo(settings.conversations.timezone)
    return Sender(name=settings.alerts.name or INSTALLATION, host=host, zone=zone)


def make_channels(
    settings: AlertsSettings, http: aiohttp.ClientSession, clock: Clock
) -> tuple[Channel, ...]:
    """Whom the operator is told through, as the settings name them."""
    posting = Posting(http)
    robots = tuple(_make_robot(one, posting, clock) for one in settings.every_channel())
    return (*robots, _make_mail(settings)) if settings.smtp_host else robots


def _make_mail(settings: AlertsSettings) -> Channel:
    from app.services.alerts.mail import Mail, Mailbox, Security  # noqa: PLC0415 - who sends no mail loads none of it

    mailbox = Mailbox(
        host=settings.smtp_host,
        port=settings.smtp_port,
        security=Security(settings.smtp_security),
        user=settings.smtp_user,
        secret=settings.smtp_password.get_secret_value(),
        sender=settings.mail_from,
        receivers=settings.mail_to,
    )
    return Mail("mail", mailbox)


def _make_robot(one: AlertChannel, posting: Posting, clock: Clock) -> Channel:
    url, secret = one.url.get_secret_value(), one.secret.get_secret_value()
    match one.kind:
        case "wecom":
            return WecomRobot(posting, one.name, url)
        case "dingtalk":
            return DingtalkRobot(posting, one.name, url, secret, clock)
        case "feishu":
            return FeishuRobot(posting, one.name, url, secret, clock)
        case "webhook":
            return Webhook(posting, one.name, url, secret)
