"""
The error tree, sorted by who is at fault and whether trying again can help.

::

    ServiceError
    ├── PeerError                     somebody else's server; carries retry_after (seconds or None)
    │   ├── DifyError
    │   │   ├── DifyUnavailable       connect, time-out, 5xx, stream cut before its end    try again
    │   │   │   └── DifyAbsent        of these: no connection, or a proxy that finds nobody
    │   │   ├── DifyOverloaded        429, 400 "Too many requests"                          try again later
    │   │   ├── DifyConversationGone  404 on the conversation         once more without the conversation
    │   │   ├── DifyRejected          401, 403, other 400/404: our key, app or question     give up
    │   │   │   ├── DifyFormGone, DifyFormRefused  of a form: done or expired, or filled in wrongly
    │   │   │   ├── DifyVoiceRefused      of a recording: its kind, its size, or no model for it
    │   │   │   └── DifyConversationSpoilt  the model refuses the conversation's past  once more without it
    │   │   └── DifyProtocolError     not JSON, not an event stream, no end                 try again
    │   └── EcloudError
    │       ├── EcloudUnavailable     connect failed before the request went out            try again
    │       ├── EcloudUndecided       time-out or 5xx after it: sent or not, nobody knows   settle first
    │       ├── EcloudThrottled       a sentence about frequency or risk control            try again later
    │       ├── EcloudRefused         code 1001 with another sentence                       a few times
    │       ├── EcloudUnauthorized    HTTP 401/403: the Authorization value                 wait for the operator
    │       └── EcloudProtocolError   an answer of no known shape (never after a send: then undecided)
    │   └── AlertError
    │       ├── AlertUndelivered      the receiver of alerts is away, or too slow             try again
    │       └── AlertRefused          it answered no: key, signature, address or limit      try again later
    ├── VoiceError                    a recording did not become a text
    │   ├── VoiceAway                 the gateway or its account is away                    wait
    │   ├── VoiceNotFetched           the gateway does not give it                          try again
    │   ├── VoiceUnreadable           it is no recording, broken, too large or too long     give up
    │   └── VoiceNoDecoder            nothing on this machine decodes it                    give up
    ├── InputLacking                  the app wants a variable that nobody gives it         give up
    ├── QueueError
    │   ├── QueueUnavailable          Redis is away                                         wait
    │   └── LeaseLost                 another worker may have the message                   stop, touch nothing
    └── StoreError
        ├── StoreUnavailable          SQL is away or too slow                               wait
        └── StaleFence                a newer claim wrote this row                          stop, touch nothing

Third-party exceptions are translated where the third party is called; nothing above a gateway
names aiohttp, redis or SQLAlchemy exceptions.
"""

from typing_extensions import override

from app.utils.log import text_digest


class ServiceError(Exception):
    """Root of everything this package raises on purpose."""

    #: Stable word for logs, metrics and the message row.
    code = "service_error"

    @property
    def loggable(self) -> str:
        """What a log may hold; the whole text may quote what somebody wrote."""
        return str(self)


class PeerError(ServiceError):
    """Another server did not do what was asked."""

    code = "peer_error"

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        peer_code: str = "",
        words: str = "",
    ) -> None:
        """
        Args:
            message: our words.
            words: the peer's own, which may quote the message that it was asked about.
        """
        super().__init__(f"{message}:{words}" if words else message)
        self._message = message
        self._words = words
        #: Seconds the peer asks us to wait, if it says so.
        self.retry_after = retry_after
        #: The peer's own code, e.g. ``invalid_param`` or ``1001``.
        self.peer_code = peer_code

    @property
    @override
    def loggable(self) -> str:
        """Ours, and of the peer's words only whether they are the same as another time."""
        return f"{self._message} words={text_digest(self._words)}" if self._words else self._message


class DifyError(PeerError):
    """Dify gave no answer."""

    code = "dify_error"

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        peer_code: str = "",
        words: str = "",
        may_run: bool = False,
    ) -> None:
        super().__init__(message, retry_after=retry_after, peer_code=peer_code, words=words)
        #: Dify has the question and may be at work on it still, though nobody hears of it.
        self.may_run = may_run


class DifyUnavailable(DifyError):
    """Dify could not be reached, failed inside, or broke off."""

    code = "dify_unavailable"


class DifyAbsent(DifyUnavailable):
    """Nobody is there: no connection, one that broke before an answer, or a proxy that says so."""


class DifyOverloaded(DifyError):
    """Dify says that it has too many requests at once."""

    code = "dify_overloaded"


class DifyConversationGone(DifyError):
    """The Dify conversation does not exist (any more) for this key and user."""

    code = "dify_conversation_gone"


class DifyRejected(DifyError):
    """Dify will not answer this, however often it is asked: key, app, quota or question."""

    code = "dify_rejected"


class DifyFormGone(DifyRejected):
    """The form is unknown, filled in already, or has expired."""

    code = "dify_form_gone"


class DifyFormRefused(DifyRejected):
    """The form does not take these values; it waits on."""

    code = "dify_form_refused"


class DifyVoiceRefused(DifyRejected):
    """Dify does not take the recording: its kind, its size, or the app has no model for it."""

    code = "dify_voice_refused"


class DifyConversationSpoilt(DifyRejected):
    """
    The model does not take what this conversation holds, an empty answer of its own perhaps.

    Then no question in it is answered ever again. It may be the question after all: without the
    conversation that shows.
    """

    code = "dify_conversation_spoilt"


class DifyProtocolError(DifyError):
    """What came back is not Dify's protocol."""

    code = "dify_protocol_error"


class EcloudError(PeerError):
    """The gateway did not do what was asked."""

    code = "ecloud_error"


class EcloudUnavailable(EcloudError):
    """The gateway could not be reached; the request certainly did not go out."""

    code = "ecloud_unavailable"


class EcloudUndecided(EcloudError):
    """The request went out and no answer came: it is unknown whether it was carried out."""

    code = "ecloud_undecided"


class EcloudThrottled(EcloudError):
    """The gateway or WeChat says: too fast."""

    code = "ecloud_throttled"


class EcloudRefused(EcloudError):
    """The gateway answered with a failure code."""

    code = "ecloud_refused"


class EcloudUnauthorized(EcloudError):
    """The gateway does not accept the Authorization value."""

    code = "ecloud_unauthorized"


class EcloudProtocolError(EcloudError):
    """What came back is not the gateway's envelope."""

    code = "ecloud_protocol_error"


class AlertError(PeerError):
    """A channel did not take what the operator is to be told. Never names the channel's address."""

    code = "alert_error"


class AlertUndelivered(AlertError):
    """The receiver could not be reached, or gave no answer that means anything."""

    code = "alert_undelivered"


class AlertRefused(AlertError):
    """The receiver says no: the key, the signature, a keyword, an address, or too many at once."""

    code = "alert_refused"


class DownloadFailed(ServiceError):
    """A file that a person sent could not be fetched; the message is the reason, one word."""

    code = "download_failed"


class VoiceError(ServiceError):
    """A recording did not become a text; the message is the reason, one word."""

    code = "voice_error"


class VoiceAway(VoiceError):
    """The gateway, or the account that got the recording, is away; both come back."""

    code = "voice_away"


class VoiceNotFetched(VoiceError):
    """The gateway does not give the recording."""

    code = "voice_not_fetched"


class VoiceUnreadable(VoiceError):
    """What the gateway gave is no recording, or one that is not worth hearing."""

    code = "voice_unreadable"


class VoiceNoDecoder(VoiceError):
    """The library that decodes recordings is not there."""

    code = "voice_no_decoder"


class InputLacking(ServiceError):
    """The app requires variables for which the settings have no template: it is not asked."""

    code = "input_lacking"


class QueueError(ServiceError):
    """The queue could not do what was asked."""

    code = "queue_error"


class QueueUnavailable(QueueError):
    """Redis could not be reached in time."""

    code = "queue_unavailable"


class LeaseLost(QueueError):
    """The lease is over: another worker may be at work on this message."""

    code = "lease_lost"


class StoreError(ServiceError):
    """The database could not do what was asked."""

    code = "store_error"


class StoreUnavailable(StoreError):
    """The database could not be reached in time."""

    code = "store_unavailable"


class StaleFence(StoreError):
    """The row was written under a newer claim; this worker's work is void."""

    code = "stale_fence"


def loggable(error: BaseException) -> str:
    """What a log may hold of an error."""
    return error.loggable if isinstance(error, ServiceError) else str(error)


def code_of(error: Exception) -> str:
    """The stable word of an error of ours; the class of anybody else's."""
    return error.code if isinstance(error, ServiceError) else type(error).__name__
