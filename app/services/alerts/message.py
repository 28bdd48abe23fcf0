"""Notices as the operator reads them (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from app.services.alerts.conditions import Severity
from app.services.alerts.ledger import Event, Notice
from app.utils.redact import escape_controls

#: Every title has this word, so that a robot that asks for a keyword can be given it.
KEYWORD: Final = "告警"
_HEADS: Final = {
    Event.FIRING: "【告警】",
    Event.REMINDER: "【告警未恢复】",
    Event.RECOVERED: "【告警恢复】",
    Event.TEST: "【告警测试】",
}
URGENT: Final = "【紧急告警】"
CUT: Final = "…"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sender:
    """Who tells: which installation, on which machine, and in which zone its clock is read."""

    name: str
    host: str
    zone: ZoneInfo


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """Some notices in one message."""

    title: str
    text: str
    #: For programs.
    notices: tuple[dict[str, Any], ...]
    bridge: str
    host: str


def compose(notices: Sequence[Notice], sender: Sender) -> Message:
    """One message of one or more notices."""
    titles = [f"{_head(one)}{_line(one.condition.title)}" for one in notices]
    more = f" 等 {len(titles)} 件" if len(titles) > 1 else ""
    texts = [_text(notice, title, sender) for notice, title in zip(notices, titles, strict=True)]
    return Message(
        title=f"{titles[0]}{more}",
        text="\n\n".join(texts),
        notices=tuple(_facts(one, sender) for one in notices),
        bridge=sender.name,
        host=sender.host,
    )


def fitting(notices: Sequence[Notice], sender: Sender, max_bytes: int) -> tuple[Notice, ...]:
    """As many of them, from the first on, as one message of that size can tell; at least one."""
    count = 1
    while count < len(notices) and _size(notices[: count + 1], sender) <= max_bytes:
        count += 1
    return tuple(notices[:count])


def _size(notices: Sequence[Notice], sender: Sender) -> int:
    return len(compose(notices, sender).text.encode("utf-8", "replace"))


def _head(notice: Notice) -> str:
    is_urgent = notice.condition.severity is Severity.URGENT
    return URGENT if is_urgent and notice.event is Event.FIRING else _HEADS[notice.event]


def _text(notice: Notice, title: str, sender: Sender) -> str:
    lines = [title, f"服务:{sender.name}({sender.host})"]
    if notice.event is Event.TEST:
        return "\n".join([*lines, _line(notice.condition.text)])
    if notice.event is Event.RECOVERED:
        lines += [
            f"{notice.condition.ending}之前:{_line(notice.condition.text)}",
            (
                f"从 {_moment(notice.since, sender)} 到 {_moment(notice.at, sender)},"
                f"历时 {_duration(notice.at - notice.since)}"
            ),
        ]
        return "\n".join(lines)
    return "\n".join(
        [
            *lines,
            f"情况:{_line(notice.condition.text)}",
            f"从何时起:{_moment(notice.since, sender)}(已 {_duration(notice.at - notice.since)})",
            f"怎么办:{_line(notice.condition.advice)}",
        ]
    )


def _facts(notice: Notice, sender: Sender) -> dict[str, Any]:
    condition = notice.condition
    return {
        "event": notice.event.value,
        "key": condition.key,
        "code": condition.code,
        "severity": condition.severity.value,
        "title": condition.title,
        "text": condition.text,
        "advice": condition.advice,
        "amount": condition.amount,
        "since": _moment(notice.since, sender),
        "at": _moment(notice.at, sender),
    }


def _moment(seconds: float, sender: Sender) -> str:
    return datetime.fromtimestamp(seconds, sender.zone).isoformat(sep=" ", timespec="seconds")


def _duration(seconds: float) -> str:
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours} 小时 {minutes} 分"
    return f"{minutes} 分 {left} 秒" if minutes else f"{left} 秒"


def _line(text: str) -> str:
    """Ids come from outside: one line, nothing that steers a reader's screen."""
    return escape_controls(text)


def cut_bytes(text: str, limit: int) -> str:
    """The text in at most *limit* bytes of UTF-8, at the end of a character."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return text
    kept = raw[: limit - len(CUT.encode())].decode("utf-8", "ignore")
    return kept + CUT
