"""
The values of the flow: one frozen value per station of a message's way.

Standard library only. Wire names of the gateway and of Dify stay in their own packages; the
words here are those of docs/glossary.md. Nothing in this file does I/O.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import NewType

from app.models.content import Content, Quoted

WcId = NewType("WcId", str)
"""A WeChat id: of a person, of one of our accounts, or of a group (ends with ``@chatroom``)."""

MessageId = NewType("MessageId", int)
"""Our own id of a callback: 63 bits, grows with the time of receipt (app/utils/ids.py)."""


DEFAULT_APP = "default"
"""Name of the Dify app that every group asks for which no other one is chosen."""


class Trigger(StrEnum):
    """When a text in a group is a question for the bot (setting ``groups.trigger``)."""

    ALL = "all"
    MENTION = "mention"
    PREFIX = "prefix"
    KEYWORD = "keyword"
    REGEX = "regex"


class IgnoreReason(StrEnum):
    """Why a callback is not answered. The value is stored as the message's verdict."""

    TEST_PUSH = "test_push"
    NOT_GROUP = "not_group"
    OWN_MESSAGE = "own_message"
    UNSUPPORTED_TYPE = "unsupported_type"
    CONTROL_EVENT = "control_event"
    #: The notice that somebody took a message back.
    RECALL = "recall"
    PAT = "pat"
    #: A question that was taken back before it was answered.
    RECALLED = "recalled"
    #: It goes along with the person's next question, if that comes in time.
    ATTACHMENT = "attachment"
    UNKNOWN_TYPE = "unknown_type"
    NO_SENDER = "no_sender"
    NO_TEXT = "no_text"
    NOT_MENTIONED = "not_mentioned"
    NO_PREFIX = "no_prefix"
    NO_KEYWORD = "no_keyword"
    NO_MATCH = "no_match"
    TOO_OLD = "too_old"
    GROUP_OFF = "group_off"
    #: A question, while an operator has the bot be silent in the group.
    MUTED = "muted"
    #: Another account of ours has it: the one that is mentioned, or that got it first.
    OTHER_ACCOUNT = "other_account"
    FEEDBACK = "feedback"
    #: Somebody of the staff tells the bridge to do something.
    COMMAND = "command"
    BAD_JSON = "bad_json"
    BAD_SHAPE = "bad_shape"
    TOO_LARGE = "too_large"


class RefuseReason(StrEnum):
    """Why a message that would have been answered could not be taken."""

    USER_QUEUE_FULL = "user_queue_full"
    TOO_MANY_WAITING = "too_many_waiting"


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """
    What any callback may say about where it came from. Every field may be missing.

    Ids are strings of digits, exact to 64 bits and beyond.
    """

    bot_wc_id: WcId = WcId("")
    account: str = ""
    #: Instance of the account's login; changes with every login.
    w_id: str = ""
    #: As on the wire, e.g. ``80001``; native integers are mapped to it where they have one.
    message_type: str = ""
    from_user: WcId = WcId("")
    group_id: WcId = WcId("")
    msg_id: str = ""
    new_msg_id: str = ""
    #: Seconds since 1970 as the gateway says; 0 if it does not.
    timestamp: int = 0
    #: The gateway says that our own account wrote it.
    is_own: bool = False
    #: A message, no event, that came through the account and the login it names itself.
    names_login: bool = False
    #: Such a text which the gateway says is addressed to that account, or written by it.
    proves_account: bool = False

    @property
    def dedupe_key(self) -> str:
        """
        What makes two deliveries the same message of one account; empty: never a duplicate.

        Source: the gateway's rule to de-duplicate by newMsgId; its wId changes with each login.
        """
        if self.new_msg_id and self.new_msg_id != "0":
            return self.new_msg_id
        if self.msg_id and self.msg_id != "0" and self.timestamp and self.from_user:
            return f"{self.msg_id}:{self.timestamp}:{self.from_user}"
        return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupMessage:
    """A text that a person wrote in a group."""

    origin: Origin
    text: str
    #: wxids that the message mentions; ``notify@all`` stands for everybody.
    mentions: tuple[WcId, ...] = ()
    #: Nickname out of the notification text; empty if unknown.
    sender_name: str = ""
    #: The message that it quotes; None: it is no quote, or does not say which.
    quoted: Quoted | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class MemberFile:
    """A picture or a file that a person sent into a group; the gateway can fetch it."""

    #: As the gateway's call for it wants them.
    msg_id: str
    content: str = field(repr=False)
    is_image: bool
    #: Empty: it has none.
    name: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class MemberVoice:
    """A recording that a person sent into a group; the gateway can fetch it."""

    #: As the gateway's call for it wants them.
    msg_id: str
    buffer_id: str
    size: int
    sender: WcId
    milliseconds: int = 0


class Rating(StrEnum):
    """What somebody thinks of an answer; the values are Dify's."""

    LIKE = "like"
    DISLIKE = "dislike"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ignored:
    """A callback that needs no answer, and why."""

    origin: Origin
    reason: IgnoreReason
    #: For the operator, e.g. which field is odd. Never message text.
    detail: str = ""
    #: Only of own messages: the echo of what we sent settles undecided segments.
    text: str = ""
    #: What it carries, of which there may be something to do beside answering.
    content: Content | None = None
    #: Only of what is left to the accounts of ours that it mentions: what is asked if none of them has it.
    question: "Question | None" = None
    #: What it brings, if somebody wants it.
    file: MemberFile | None = None
    voice: MemberVoice | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """The verdict "answer": what Dify is asked."""

    message: GroupMessage
    #: The text without the bot's mention or the trigger's prefix; blank only where it is to be heard first.
    text: str
    #: What has to be heard before anybody knows what is asked; None: the text says it.
    voice: MemberVoice | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Feedback:
    """The verdict "feedback": nobody is answered, Dify is told what somebody thinks of an answer."""

    origin: Origin
    rating: Rating
    #: newMsgId of the segment that was quoted.
    quoted_id: str
    reason: IgnoreReason = IgnoreReason.FEEDBACK


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """The verdict "command": the bot's last answer in the group is to be taken back."""

    origin: Origin
    #: newMsgId of the segment that was quoted: that answer is meant; empty: the last one.
    quoted_id: str = ""
    reason: IgnoreReason = IgnoreReason.COMMAND


Decision = Question | Feedback | Command | Ignored


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """The message is durable and will be answered."""

    message_id: MessageId


@dataclass(frozen=True, kw_only=True, slots=True)
class Duplicate:
    """The same message was delivered before."""

    message_id: MessageId


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """The message is durable with a verdict, but is not answered: a bound is reached."""

    message_id: MessageId
    reason: RefuseReason


@dataclass(frozen=True, kw_only=True, slots=True)
class Noted:
    """An ignored callback is durable with its verdict."""

    message_id: MessageId


@dataclass(frozen=True, kw_only=True, slots=True)
class Unrecorded:
    """An ignored callback that no store could take: it needed no work, only its verdict is counted."""

    reason: IgnoreReason


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """A message whose time is not near now, where only such may come: nothing of it is kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Left:
    """The message is answered by another account of ours, which got it first."""

    message_id: MessageId
    #: The copy that is answered.
    answered_as: MessageId


Receipt = Accepted | Duplicate | Refused | Noted | Left


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """The right to work on the head of one user's queue, as long as the lease is renewed."""

    user: WcId
    message_id: MessageId
    #: Value of the lease key; names the fence, the worker and the message.
    token: str
    #: Grows with every claim, by the clock of Redis in microseconds. SQL refuses older ones.
    fence: int
    #: Failed tries so far (0 on the first).
    attempts: int = 0
    #: How often the worker of this message died.
    crashes: int = 0
    #: Crashes while it was the only suspect of its process; these count towards the limit.
    sole_crashes: int = 0

    def counted_like(self, turn: "Turn") -> "Claim":
        """
        The same with the counts of the turn, which may know of tries that the queue has forgotten.

        Crashes beside others stay the queue's: whether it runs alone now goes by them.
        """
        return replace(self, attempts=turn.attempts, sole_crashes=turn.sole_crashes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What an answer cost, as Dify counts it."""

    total_tokens: int = 0
    #: Those of the question with all that goes along with it, and those of the answer; 0: not said.
    prompt_tokens: int = 0
    completion_tokens: int = 0
    #: What the model took by Dify's clock; 0: not said.
    seconds: float = 0.0
    #: Decimal as text, Dify's own spelling; empty if unknown.
    total_price: str = ""
    currency: str = ""


class SegmentKind(StrEnum):
    """What a segment carries."""

    TEXT = "text"
    #: An address of a picture.
    IMAGE = "image"
    #: A name and, in the next line, an address.
    FILE = "file"
    #: No part of an answer: the sentence after the last failure.
    NOTICE = "notice"
    #: The answer to a command, not Dify's: goes out before answers that are not begun.
    COMMAND = "command"


#: What stands for the text of a message that has none; nobody writes such a text.
ECHO_TEXTS = {SegmentKind.IMAGE: "\ufffc image", SegmentKind.FILE: "\ufffc file"}


def echo_text(kind: SegmentKind, content: str) -> str:
    """By what the echo of a segment is known: its text; of what has none, that it is such a thing."""
    return ECHO_TEXTS.get(kind, content)


class LinkReason(StrEnum):
    """Why a file of an answer is told as a link."""

    OFF = "off"
    PRIVATE_HOST = "private_host"
    FOREIGN_HOST = "foreign_host"
    TOO_MANY = "too_many"


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerFile:
    """A picture or a file that belongs to an answer."""

    #: Signed: whoever has it can read the file. As Dify says it, at first; it may lack a host.
    url: str = field(repr=False)
    name: str = ""
    is_image: bool = False
    #: It stood in the text, from which it was taken.
    is_from_text: bool = False
    #: Why it is told as a link; None: it is sent.
    link_reason: LinkReason | None = None

    @property
    def label(self) -> str:
        """What stands for it where there is text only; no Markdown, should it be read as such."""
        mark = "图片" if self.is_image else "文件"
        return f"[{mark}:{self.name}]" if self.name else f"[{mark}]"


@dataclass(frozen=True, slots=True)
class FormAction:
    """One way to answer a form."""

    id: str
    title: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """What a run wants to know of a person before it goes on."""

    token: str
    actions: tuple[FormAction, ...] = ()
    #: Names of the texts that it asks for.
    fields: tuple[str, ...] = ()
    expires_at: datetime | None = None
    #: What the run had said before.
    said: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PendingForm:
    """A form that waits for a person, and the run behind it."""

    form: Form
    #: The account of ours in whose answer it is; the reply may be answered by another one.
    bot_wc_id: WcId = WcId("")
    conversation_id: str = ""
    dify_message_id: str = ""
    task_id: str = ""
    workflow_run_id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """Dify's whole answer to one question."""

    text: str
    #: In the order in which they follow the text.
    files: tuple[AnswerFile, ...] = ()
    conversation_id: str = ""
    dify_message_id: str = ""
    task_id: str = ""
    workflow_run_id: str = ""
    usage: Usage = field(default_factory=Usage)
    #: Names of the documents that it is from, each once, as Dify spells them.
    sources: tuple[str, ...] = ()
    #: The stream ended before its end was said; the text is what was planned of it.
    is_cut_short: bool = False
    #: The run waits for the person; its text ends with the form.
    form: Form | None = None
    #: The form that waited is done with.
    ends_form: bool = False

    @property
    def said(self) -> str:
        """The answer for those who read text only: each file is named in a line of its own."""
        return "\n".join([*filter(str.strip, [self.text]), *(one.label for one in self.files)])

    def with_text(self, text: str) -> "Answer":
        """The same answer with another text."""
        return replace(self, text=text)


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """One message into the group: a part of an answer."""

    #: Position in the answer, from 0.
    seq: int
    content: str
    kind: SegmentKind = SegmentKind.TEXT
    #: wxid for the gateway's ``at``; the content then begins with ``@name``. Empty: nobody.
    mention: WcId = WcId("")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asking:
    """One question as Dify has it. Empty ids: it told none."""

    conversation_id: str = ""
    dify_message_id: str = ""
    task_id: str = ""
    workflow_run_id: str = ""
    asked_at: datetime | None = None
    #: Nobody heard how it ended: Dify may have the answer, or be at work on it.
    is_open: bool = True

    @property
    def is_bare_run(self) -> bool:
        """It is the run of a workflow, which belongs to no conversation."""
        return bool(self.workflow_run_id) and not self.conversation_id

    @property
    def can_be_found(self) -> bool:
        """Dify can be asked what became of it."""
        return bool(self.conversation_id) or self.is_bare_run


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """One question of one person, opened in the Dify conversation it belongs to."""

    message_id: MessageId
    fence: int
    bot_wc_id: WcId
    group_id: WcId
    user: WcId
    question: str
    #: Name of the Dify app that is asked.
    app: str = DEFAULT_APP
    #: The app that the group has chosen, for which this one answers; empty: it is this one.
    stands_in_for: str = ""
    #: Dify conversation to go on with; empty: a new one.
    conversation_id: str = ""
    #: Of the app's key, under which alone Dify knows the conversation.
    key_digest: str = ""
    #: What stands behind ``@``; empty: nobody is mentioned.
    mention_name: str = ""
    #: As the group knows the person, and the group's own name; empty: not known.
    user_name: str = ""
    group_name: str = ""
    received_at: datetime | None = None
    #: Markdown is turned into text that WeChat shows well.
    is_plain: bool = False
    #: The documents that the answer is from are named behind it.
    cites: bool = False
    #: What Dify suggests to ask next is offered behind the answer.
    suggests: bool = False
    #: Failed tries, and crashes as the only suspect, as ``Claim`` counts them.
    attempts: int = 0
    sole_crashes: int = 0
    #: What a former try asked; None: nothing.
    asking: Asking | None = None
    #: What a run of the app wants to know of the person; None: nothing.
    form: PendingForm | None = None
    #: Segments of this message that are planned already (a stream was cut after them) and not void.
    begun: tuple[Segment, ...] = ()
    #: Number of the next segment; void ones have theirs, too.
    next_seq: int = 0
    #: When an operator last let it go on after it had been given up.
    replayed_at: datetime | None = None
    #: What has to be heard first; None: the question is known.
    voice: MemberVoice | None = None

    @property
    def unheard(self) -> Asking | None:
        """What a former try asked and Dify may have the answer to; None: nothing that could be found."""
        asking = self.asking
        return asking if asking and asking.is_open and asking.can_be_found else None


@dataclass(frozen=True, kw_only=True, slots=True)
class SentMessage:
    """The gateway's receipt for one segment. Ids are empty where it gives none."""

    msg_id: str = ""
    new_msg_id: str = ""
    #: Seconds since 1970.
    created_at: int = 0
