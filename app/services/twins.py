"""
Twins: what a person said once, delivered once through each account of ours in the group. Pure.

One of the copies claims it and is answered; the others yield. A claim is of two keys. By (group,
newMsgId) the copies are known where the gateway gives them one id. Where it does not, by (group,
user, time, text): the nth such text through one account is the nth through another, since a person
may well say the same twice in one second. Two accounts that were seen to share ids are told by
ids alone: the text could only match copies of two messages.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from app.models.flow import MessageId
from app.services.text import text_digest
from app.services.voice_text import spoken

KEY_LENGTH = 32


@dataclass(frozen=True, slots=True)
class TwinKeys:
    """What makes two callbacks copies of one message; None: it does not say enough."""

    by_id: str | None
    by_text: str | None


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy as a store has it."""

    message_id: MessageId
    bot: str
    keys: TwinKeys
    #: Which of the messages with this text it claims; None: it claims none.
    number: int | None
    #: The copy that it yielded to.
    of: MessageId | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """The copy is the one that is answered."""

    keys: TwinKeys
    number: int | None


@dataclass(frozen=True, slots=True)
class Yielded:
    """Another copy is the one that is answered."""

    to: MessageId
    bot: str
    #: No other copy of this account yielded to that one.
    is_first: bool = True


def twin_keys(columns: Mapping[str, Any]) -> TwinKeys:
    """The keys of a row of ``messages``."""
    group, new_msg_id = columns["group_id"], columns["new_msg_id"]
    has_id = group and new_msg_id not in ("", "0")
    said = (group, columns["from_user"], columns["gateway_time"])
    text = spoken(columns["text"], columns["question"])
    return TwinKeys(
        by_id=_key(group, new_msg_id) if has_id else None,
        by_text=_key(*said, text_digest(text)) if all(said) and text is not None else None,
    )


def _key(*parts: object) -> str:
    whole = "\n".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return sha256(whole).hexdigest()[:KEY_LENGTH]


class SharedIds:
    """Which two accounts were seen to get a message under one id; as much as one process saw."""

    def __init__(self) -> None:
        self._pairs: set[frozenset[str]] = set()

    def note(self, bot: str, other: str) -> None:
        """A message came through both under one id."""
        self._pairs.add(frozenset((bot, other)))

    def has(self, bot: str, other: str) -> bool:
        """Whether messages that came through both under different ids are two messages."""
        return frozenset((bot, other)) in self._pairs


class Copies:
    """The copies that are known; grows with each one that is settled."""

    def __init__(self, known: Iterable[Copy], shared_ids: SharedIds) -> None:
        self._shared_ids = shared_ids
        self._by_id: dict[str, Copy] = {}
        self._by_text: dict[str, list[Copy]] = defaultdict(list)
        for copy in {one.message_id: one for one in known}.values():
            self._add(copy)

    def settle(self, message_id: MessageId, bot: str, keys: TwinKeys) -> Claimed | Yielded:
        """Let one more copy claim the message, or yield to the one that has."""
        outcome = self._claim_or_yield(bot, keys)
        if isinstance(outcome, Claimed):
            self._add(Copy(message_id, bot, outcome.keys, outcome.number))
        else:
            of = outcome.to if outcome.is_first else None
            self._add(Copy(message_id, bot, TwinKeys(None, keys.by_text), None, of))
        return outcome

    def _add(self, copy: Copy) -> None:
        if copy.keys.by_id is not None:
            self._by_id[copy.keys.by_id] = copy
        if copy.keys.by_text is not None:
            self._by_text[copy.keys.by_text].append(copy)

    def _claim_or_yield(self, bot: str, keys: TwinKeys) -> Claimed | Yielded:
        alike = self._by_text.get(keys.by_text, []) if keys.by_text is not None else []
        matched = {copy.of for copy in alike if copy.bot == bot}
        holder = self._by_id.get(keys.by_id) if keys.by_id is not None else None
        if holder is not None and holder.bot != bot:
            self._shared_ids.note(bot, holder.bot)
            return Yielded(holder.message_id, holder.bot, holder.message_id not in matched)
        claims = sorted(
            (copy.number, copy.message_id, copy) for copy in alike if copy.number is not None
        )
        for _, other, copy in claims:
            if other not in matched and self._may_be_one(bot, keys, copy):
                return Yielded(other, copy.bot)
        number = None if keys.by_text is None else (claims[-1][0] + 1 if claims else 0)
        own = keys if holder is None else TwinKeys(None, keys.by_text)
        return Claimed(own, number)

    def _may_be_one(self, bot: str, keys: TwinKeys, copy: Copy) -> bool:
        """Whether equal texts under different ids may be copies of one message."""
        has_ids = keys.by_id is not None and copy.keys.by_id is not None
        return copy.bot != bot and not (has_ids and self._shared_ids.has(bot, copy.bot))
