"""E-mail by SMTP: with TLS from the beginning, with STARTTLS, or plain. Never less than was asked for."""

import asyncio
import smtplib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from enum import StrEnum

from app.services.alerts.channel import SECONDS
from app.services.alerts.message import Message
from app.services.errors import AlertRefused, AlertUndelivered

#: All that may be told at once is shorter.
MAX_BYTES = 1_000_000


class Security(StrEnum):
    """How the connection is kept from others' eyes."""

    STARTTLS = "starttls"
    TLS = "tls"
    PLAIN = "plain"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mailbox:
    """Where letters go in, from whom and to whom."""

    host: str
    port: int
    security: Security
    #: Empty: nobody logs in.
    user: str = ""
    secret: str = field(default="", repr=False)
    sender: str
    receivers: tuple[str, ...]


class Mail:
    """Letters to some receivers, through one server."""

    def __init__(
        self,
        name: str,
        mailbox: Mailbox,
        *,
        seconds: float = SECONDS,
        make_context: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        """
        Args:
            seconds: for each step of the conversation.
        """
        self.name = name
        self.max_bytes = MAX_BYTES
        self._mailbox = mailbox
        self._seconds = seconds
        self._make_context = make_context

    async def send(self, message: Message) -> None:
        """See ``Channel``."""
        letter = _letter(message, self._mailbox)
        try:
            await asyncio.to_thread(self._deliver, letter)
        except (smtplib.SMTPServerDisconnected, smtplib.SMTPConnectError) as error:
            failure: AlertUndelivered | AlertRefused = _away(error)
        except smtplib.SMTPException as error:
            failure = AlertRefused(f"邮件服务器不接受({type(error).__name__} {_code(error)})")
        except (OSError, ssl.SSLError) as error:
            failure = _away(error)
        else:
            return
        # Raised out here: theirs may quote the login.
        raise failure

    def _deliver(self, letter: EmailMessage) -> None:
        mailbox = self._mailbox
        with self._connected() as server:
            if mailbox.security is Security.STARTTLS:
                # Refused by the library where the server does not offer it: never less than that.
                server.starttls(context=self._make_context())
            if mailbox.user:
                server.login(mailbox.user, mailbox.secret)
            refused = server.send_message(letter)
        if refused:
            raise smtplib.SMTPRecipientsRefused(refused)

    def _connected(self) -> smtplib.SMTP:
        mailbox = self._mailbox
        if mailbox.security is Security.TLS:
            return smtplib.SMTP_SSL(
                mailbox.host, mailbox.port, timeout=self._seconds, context=self._make_context()
            )
        return smtplib.SMTP(mailbox.host, mailbox.port, timeout=self._seconds)


def _letter(message: Message, mailbox: Mailbox) -> EmailMessage:
    letter = EmailMessage()
    letter["Subject"] = f"{message.title} - {message.bridge}"
    letter["From"] = mailbox.sender
    letter["To"] = ", ".join(mailbox.receivers)
    letter["Date"] = formatdate(localtime=True)
    letter["Message-ID"] = make_msgid(domain=mailbox.sender.rpartition("@")[2])
    letter["Auto-Submitted"] = "auto-generated"
    letter.set_content(message.text)
    return letter


def _away(error: Exception) -> AlertUndelivered:
    return AlertUndelivered(f"邮件服务器没有应答({type(error).__name__})")


def _code(error: smtplib.SMTPException) -> str:
    return str(error.smtp_code) if isinstance(error, smtplib.SMTPResponseException) else ""
