"""The one place that says whether a text in a group is a question for the bot. Pure."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import re2

from app.models.flow import (
    Command,
    Feedback,
    GroupMessage,
    Ignored,
    IgnoreReason,
    MemberVoice,
    Origin,
    Question,
    Trigger,
    WcId,
)
from app.services.quoting import with_quoted
from app.services.ratings import rating_of
from app.services.text import is_blank, number_of
from app.services.voice_text import voice_text

#: What WeChat puts behind a mention; some clients put an ordinary space.
MENTION_END = "\u2005"

#: What somebody of the staff writes to have the bot's last answer taken back.
TAKE_BACK = "#撤回"

MAX_DETAIL = 500
#: A mention or a prefix with a number behind it is not longer.
_LONGEST_CALL = 200
_LEADING_MENTION = re.compile(rf"\s*(?:@[^@\n{MENTION_END}]{{1,64}}{MENTION_END}|@\S+\s)\s*")


class Matcher(Protocol):
    """A compiled pattern, see ``compile_pattern``."""

    def search(self, text: str, /) -> object | None:
        """The first match anywhere in the text, or None."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupRules:
    """When the bot answers in one group."""

    trigger: Trigger = Trigger.ALL
    prefixes: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    #: For ``Trigger.REGEX``; without one nothing matches.
    pattern: Matcher | None = None
    #: Seconds; older messages are a replayed history. 0: any age is answered.
    max_message_age: float = 0
    #: False: the bot says nothing in this group.
    is_enabled: bool = True
    #: Seconds since 1970; what is asked before is not answered. 0: it is not muted.
    muted_until: float = 0
    #: What a question quotes goes to Dify with it.
    tells_quoted: bool = True
    #: What people think of answers is told to Dify.
    takes_feedback: bool = True
    #: Who may give commands.
    staff: frozenset[WcId] = frozenset()


def decide(
    message: GroupMessage,
    rules: GroupRules,
    *,
    own_accounts: Collection[WcId],
    now: float,
    offered: Sequence[str] = (),
    is_awaited: bool = False,
    offline: Collection[WcId] = (),
) -> Question | Feedback | Command | Ignored:
    """
    Say whether a message is answered, and what Dify is asked.

    Args:
        own_accounts: all WeChat accounts of this bridge; they never answer each other.
        now: seconds since 1970.
        offered: questions that were suggested to this person and are in force; a number asks one of
            them, whatever the trigger is.
        is_awaited: a form waits for this person, so that a number is an answer to it.
        offline: those of our accounts that are not online: another one answers in their stead.

    Returns:
        The question without the bot's mention and the trigger's prefix, and with what it quotes; what
        somebody thinks of an answer of ours that it quotes; a command of the staff; or the first
        reason against it, in the order: own, group off, too old, trigger, nothing left, muted, another account.
    """
    origin = message.origin
    reason = _ignored_at_once(origin, rules, own_accounts=own_accounts, now=now)
    if reason is not None:
        # The echo of what we sent is known by its text.
        text = message.text if reason is IgnoreReason.OWN_MESSAGE else ""
        return Ignored(origin=origin, reason=reason, text=text)
    told = _command(message, rules, own_accounts) or _feedback(message, rules)
    if told is not None:
        return told
    chosen = _chosen(message, rules, offered, is_awaited=is_awaited)
    meant = _accounts_meant(message, own_accounts)
    asked = chosen or _apply_trigger(message, rules, bot=meant[0])
    if isinstance(asked, IgnoreReason):
        return Ignored(origin=origin, reason=asked)
    if is_blank(asked):
        return Ignored(origin=origin, reason=IgnoreReason.NO_TEXT)
    if now < rules.muted_until:
        return Ignored(origin=origin, reason=IgnoreReason.MUTED)
    # Whoever quotes the list or the form and types a number means the number.
    quoted = message.quoted if rules.tells_quoted and not chosen else None
    question = Question(message=message, text=with_quoted(asked.strip(), quoted))
    return _asked_or_left(question, meant, offline)


def _command(
    message: GroupMessage, rules: GroupRules, own_accounts: Collection[WcId]
) -> Command | None:
    """What a member of the staff writes and nothing else, with or without a mention of ours."""
    origin = message.origin
    if origin.from_user not in rules.staff or len(message.text) > _LONGEST_CALL:
        return None
    own = {origin.bot_wc_id, *own_accounts}
    if all(_without_own_mention(message, one).strip() != TAKE_BACK for one in own):
        return None
    quoted_id = "" if message.quoted is None else message.quoted.new_msg_id
    return Command(origin=origin, quoted_id=quoted_id)


def _feedback(message: GroupMessage, rules: GroupRules) -> Feedback | None:
    """What stands below a message of ours, if it says what somebody thinks of it and nothing else."""
    quoted, bot = message.quoted, message.origin.bot_wc_id
    if quoted is None or not quoted.new_msg_id or quoted.sender not in ("", bot):
        return None
    rating = rating_of(message.text) if rules.takes_feedback else None
    if rating is None:
        return None
    return Feedback(origin=message.origin, rating=rating, quoted_id=quoted.new_msg_id)


def _ignored_at_once(
    origin: Origin, rules: GroupRules, *, own_accounts: Collection[WcId], now: float
) -> IgnoreReason | None:
    """Why something is ignored whatever it is; None: it depends on that."""
    if origin.is_own or origin.from_user in own_accounts:
        return IgnoreReason.OWN_MESSAGE
    if not rules.is_enabled:
        return IgnoreReason.GROUP_OFF
    if 0 < rules.max_message_age < now - origin.timestamp and origin.timestamp:
        return IgnoreReason.TOO_OLD
    return None


def choice_of(message: GroupMessage, rules: GroupRules) -> int | None:
    """The number, from 1 on, if the message is nothing else: with or without what the trigger wants."""
    if len(message.text) > _LONGEST_CALL:
        return None
    asked = _apply_trigger(message, rules, bot=message.origin.bot_wc_id)
    texts = [
        _without_own_mention(message, message.origin.bot_wc_id),
        *([] if isinstance(asked, IgnoreReason) else [asked]),
    ]
    return next((one for one in map(number_of, texts) if one is not None), None)


def _chosen(
    message: GroupMessage, rules: GroupRules, offered: Sequence[str], *, is_awaited: bool
) -> str:
    """What a number stands for: itself where a form waits, else a question; empty: nothing."""
    number = choice_of(message, rules) if offered or is_awaited else None
    if number is None:
        return ""
    if is_awaited:
        return str(number)
    return offered[number - 1] if number <= len(offered) else ""


def decide_file(
    ignored: Ignored, rules: GroupRules, *, own_accounts: Collection[WcId], now: float
) -> Ignored:
    """
    Say whether what somebody sent goes along with that person's next question.

    It is no question itself: nobody can mention the bot in it, and whoever sends one asks behind it.
    """
    origin = ignored.origin
    reason = _ignored_at_once(origin, rules, own_accounts=own_accounts, now=now)
    if reason is not None:
        return Ignored(origin=origin, reason=reason)
    return replace(ignored, reason=IgnoreReason.ATTACHMENT)


def decide_voice(
    ignored: Ignored,
    voice: MemberVoice,
    rules: GroupRules,
    *,
    own_accounts: Collection[WcId],
    now: float,
) -> Question | Ignored:
    """
    Say whether what somebody spoke is heard, to be judged by ``decide_heard`` then.

    Nobody can mention the bot in it: where only that is a question it is none.
    """
    origin = ignored.origin
    reason = _ignored_at_once(origin, rules, own_accounts=own_accounts, now=now)
    if reason is not None:
        return Ignored(origin=origin, reason=reason)
    if rules.trigger is Trigger.MENTION:
        return ignored
    if now < rules.muted_until:
        return Ignored(origin=origin, reason=IgnoreReason.MUTED)
    message = GroupMessage(origin=origin, text=voice_text(voice))
    return Question(message=message, text="", voice=voice)


def decide_heard(text: str, rules: GroupRules) -> str | IgnoreReason:
    """What somebody asks who was heard to say this, or why it is no question."""
    message = GroupMessage(origin=Origin(), text=text)
    asked = _apply_trigger(message, rules, bot=WcId(""))
    if isinstance(asked, IgnoreReason):
        return asked
    return IgnoreReason.NO_TEXT if is_blank(asked) else asked.strip()


def _asked_or_left(
    question: Question, meant: Collection[WcId], offline: Collection[WcId]
) -> Question | Ignored:
    """A question for other accounts of ours is theirs, as long as one of them is online."""
    origin = question.message.origin
    if origin.bot_wc_id in meant or set(meant) <= set(offline):
        return question
    return Ignored(
        origin=origin,
        reason=IgnoreReason.OTHER_ACCOUNT,
        detail=",".join(meant)[:MAX_DETAIL],
        question=question,
    )


def _accounts_meant(message: GroupMessage, own_accounts: Collection[WcId]) -> tuple[WcId, ...]:
    """
    Which accounts of ours the message is for, at least one: those that it mentions or quotes, else its own.

    Where its own is among them it comes first.
    """
    bot = message.origin.bot_wc_id
    quoted = () if message.quoted is None else (message.quoted.sender,)
    meant = tuple(one for one in (*message.mentions, *quoted) if one in own_accounts and one != bot)
    return (bot, *meant) if _is_meant(message, bot) or not meant else meant


def compile_pattern(text: str) -> Matcher:
    """
    Compile a pattern for ``Trigger.REGEX``: RE2 syntax, time linear in the message.

    Raises:
        ValueError: It is no pattern of this kind; says where. Look-around and back references
            do not exist in RE2.
    """
    options = re2.Options()
    options.log_errors = False
    try:
        compiled: Any = re2.compile(text, options)
    except re2.error as error:
        cause = error.args[0] if error.args else ""
        if isinstance(cause, bytes):
            cause = cause.decode(errors="replace")
        raise ValueError(f"不是有效的 RE2 正则表达式：{cause}（不支持环视与反向引用）") from error
    except UnicodeEncodeError as error:
        raise ValueError("不是有效的 RE2 正则表达式：含有不完整的字符") from error
    matcher: Matcher = compiled
    return matcher


def _apply_trigger(message: GroupMessage, rules: GroupRules, *, bot: WcId) -> str | IgnoreReason:
    """The question's text as for this account of ours, or why the trigger says no."""
    text = _without_own_mention(message, bot)
    match rules.trigger:
        case Trigger.ALL:
            return text
        case Trigger.MENTION:
            return text if _is_meant(message, bot) else IgnoreReason.NOT_MENTIONED
        case Trigger.PREFIX:
            return _without_prefix((message.text, text), rules.prefixes)
        case Trigger.KEYWORD:
            folded = text.casefold()
            has_one = any(word.casefold() in folded for word in rules.keywords if word.strip())
            return text if has_one else IgnoreReason.NO_KEYWORD
        case Trigger.REGEX:
            is_match = rules.pattern is not None and rules.pattern.search(text) is not None
            return text if is_match else IgnoreReason.NO_MATCH


def _is_meant(message: GroupMessage, bot: WcId) -> bool:
    """It mentions this account of ours, or quotes something that it said."""
    return bot in message.mentions or (message.quoted is not None and message.quoted.sender == bot)


def _without_own_mention(message: GroupMessage, bot: WcId) -> str:
    """
    The text without the bot's mention, if that stands at the beginning.

    Of several leading mentions the bot's is taken to be the one at its place in the list of
    mentions; the others stay, they belong to the question.
    """
    if bot not in message.mentions:
        return message.text
    skip = message.mentions.index(bot)
    end = 0
    for _ in range(skip):
        other = _LEADING_MENTION.match(message.text, end)
        if other is None:
            return message.text
        end = other.end()
    own = _LEADING_MENTION.match(message.text, end)
    return message.text if own is None else message.text[:end] + message.text[own.end() :]


def _without_prefix(texts: Sequence[str], prefixes: Sequence[str]) -> str | IgnoreReason:
    """The first text that begins with a prefix, without it; longer prefixes win."""
    candidates = [prefix.lstrip() for prefix in prefixes if prefix.strip()]
    for text in texts:
        for prefix in sorted(candidates, key=len, reverse=True):
            if text.lstrip().startswith(prefix):
                return text.lstrip().removeprefix(prefix)
    return IgnoreReason.NO_PREFIX
