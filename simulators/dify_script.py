"""
The orders a question may carry, and what the simulated model makes of them; all pure.

An order stands anywhere in the query: `[[n=6]]` six deltas, `[[delay=0.2]]` seconds between them,
`[[wait=5]]` before the first, `[[text=…]]` this answer (`\\n` = new line, `{try}` = number of the
try), `[[size=60]]` characters of a delta of it, `[[long=5000]]` so many characters, `[[empty]]`
nothing, `[[think]]` reasoning first, `[[tool]]` a tool call (agent), `[[replace=…]]` replaced at the
end, `[[u2028]]` odd line separators, `[[big=3000000]]` one frame of that size, `[[split]]` chunks cut
inside characters. `[[tool_file=/files/tools/a.png?sign=x]]` a tool makes this file (`message_file`),
`[[file=…]]` one is among the answer's `files` or the run's outputs. What goes wrong: `[[fail=500]]` or `[[fail=400:code]]` instead of an answer; after
k deltas `[[error=k]]`, `[[cut=k]]` (socket), `[[eof=k]]` (clean end without a last event),
`[[hang=k]]` (silence), `[[stall=k]]` (pings only). Of a run whose client is gone: `[[saved]]` it goes
on in spite of that, `[[saved=2]]` and is done so many seconds later, `[[lost]]` it does not, though
its release would let it. `[[kept=…]]`: another text is saved than was streamed.
Forms: see `simulators.dify_human_input`.
`;times=2` behind any of them: for the first two tries of this query only.
"""

import math
import re
from dataclasses import dataclass, field

from simulators.dify_release import Release

ORDER = re.compile(r"\[\[([a-z_0-9]+)(?:=(.*?))?(?:;times=(\d+))?\]\]", re.DOTALL)
DELTA_CHARACTERS = 6
LONG_DELTA = 24
MOST = 10_000_000.0
MOST_DELTAS = 100_000
THINK_OPEN = {
    Release.OLD: '<details style="color:gray;background-color: #f8f8f8;padding: 8px;'
    'border-radius: 4px;" open> <summary> Thinking... </summary>',
    Release.NEW: "<think>",
}
THINK_CLOSE = {Release.OLD: "\n</details>", Release.NEW: "\n</think>"}
SEPARATORS = ("前", "\u2028", "后\u0085", "\u000b\f\u001c", "末\r\n尾")
PREAMBLE = "我先查一下时间。"


@dataclass(frozen=True, kw_only=True)
class Order:
    """One order; `times` None = at every try."""

    value: str = ""
    times: int | None = None


@dataclass(frozen=True, kw_only=True)
class Script:
    """A query taken apart."""

    question: str
    orders: dict[str, Order] = field(default_factory=dict)
    attempt: int = 1
    """Which try of the same query it is."""

    def on_try(self, number: int) -> "Script":
        """The orders that hold at this try of the same query; the first is number 1."""
        holding = {
            name: order
            for name, order in self.orders.items()
            if order.times is None or number <= order.times
        }
        return Script(question=self.question, orders=holding, attempt=number)

    def has(self, name: str) -> bool:
        """Whether the order is given."""
        return name in self.orders

    def text(self, name: str) -> str | None:
        """The order's value with new lines unescaped; None if it is not given."""
        order = self.orders.get(name)
        return None if order is None else order.value.replace("\\n", "\n")

    def number(self, name: str, default: float) -> float:
        """The order's value within 0 to MOST; *default* if it is not given or not a number."""
        order = self.orders.get(name)
        try:
            value = float(order.value) if order else default
        except ValueError:
            return default
        return default if math.isnan(value) else min(max(value, 0.0), MOST)

    def place(self, name: str, default: int) -> int | None:
        """After how many deltas; None if the order is not given."""
        return int(self.number(name, default)) if self.has(name) else None


def parse_script(query: str) -> Script:
    """Take the orders out of a query."""
    orders = {
        name: Order(value=value or "", times=int(times) if times else None)
        for name, value, times in ORDER.findall(query)
    }
    return Script(question=ORDER.sub("", query).strip(), orders=orders)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the model will do with one query; places count deltas of the answer."""

    deltas: tuple[str, ...]
    wait: float
    delay: float
    replacement: str | None
    fail: tuple[int, str] | None
    error_after: int | None
    error_code: str
    cut_after: int | None
    eof_after: int | None
    hang_after: int | None
    stall_after: int | None
    big: int
    split: bool
    tool: bool
    saved: bool
    saved_after: float | None
    lost: bool
    kept: str | None
    tool_file: str | None
    file: str | None
    form: str | None = None
    again: str | None = None
    actions: str | None = None
    fields: str | None = None
    after: str | None = None
    expires: float | None = None

    @property
    def answer(self) -> str:
        """The whole answer before any replacement."""
        return "".join(self.deltas)

    @property
    def final(self) -> str:
        """The whole answer as it is saved."""
        return self.answer if self.replacement is None else self.replacement

    @property
    def seconds(self) -> float:
        """How long the model takes."""
        return self.wait + self.delay * len(self.deltas)


def make_plan(script: Script, *, release: Release, turn: int, pace: float, files: int = 0) -> Plan:
    """
    What to answer.

    Args:
        script: the query's orders that hold at this try.
        release: decides how reasoning is written.
        turn: the number of this question in its conversation, from 1.
        pace: seconds between deltas unless the query says otherwise.
        files: how many came along with the question.
    """
    deltas = _think(script, release) + _answer(script, turn, files)
    status, _, code = (script.text("fail") or "").partition(":")
    return Plan(
        deltas=tuple(deltas),
        wait=script.number("wait", 0.0),
        delay=script.number("delay", pace),
        replacement=script.text("replace"),
        fail=(int(status) if status.isdecimal() else 500, code) if script.has("fail") else None,
        error_after=script.place("error", len(deltas) // 2),
        error_code=script.text("code") or "completion_request_error",
        cut_after=script.place("cut", min(2, len(deltas))),
        eof_after=script.place("eof", len(deltas)),
        hang_after=script.place("hang", 0),
        stall_after=script.place("stall", 0),
        big=int(script.number("big", 0)),
        split=script.has("split"),
        tool=script.has("tool"),
        saved=script.has("saved"),
        saved_after=script.number("saved", 0.0) if script.text("saved") else None,
        lost=script.has("lost"),
        kept=script.text("kept"),
        tool_file=script.text("tool_file"),
        file=script.text("file"),
        form=script.text("form"),
        again=script.text("again"),
        actions=script.text("actions"),
        fields=script.text("fields"),
        after=script.text("after"),
        expires=script.number("expires", 0.0) if script.has("expires") else None,
    )


def _think(script: Script, release: Release) -> list[str]:
    if not script.has("think"):
        return []
    return [THINK_OPEN[release], "\n我先想一想…", "用户问了问题。", THINK_CLOSE[release], "\n\n"]


def _answer(script: Script, turn: int, files: int) -> list[str]:
    if script.has("empty"):
        return []
    if script.has("u2028"):
        return list(SEPARATORS)
    if script.has("n"):
        count = min(int(script.number("n", 6)), MOST_DELTAS)
        return [f"第{index}段，你好world " for index in range(count)]
    if script.has("long"):
        return _pieces(_long(int(script.number("long", 5000))), LONG_DELTA)
    text = script.text("text")
    size = max(1, int(script.number("size", DELTA_CHARACTERS)))
    if text is None:
        return _pieces(_friendly(script.question, turn, files), size)
    return _pieces(text.replace("{try}", str(script.attempt)), size)


def _friendly(question: str, turn: int, files: int) -> str:
    asked = question or "（空）"
    along = f"随问题收到 {files} 个文件。" if files else ""
    return (
        f"第 {turn} 轮：你问的是“{asked}”。{along}\n\n"
        "这是模拟的 Dify 给出的回答。它不懂问题，但走的是真实的路：提问、排队、生成、分段、发送。\n\n"
        "接上真正的 Dify 之后，这里就是你的应用的回答。"
    )


def _long(length: int) -> str:
    sentences: list[str] = []
    count = written = 0
    while written < length:
        count += 1
        end = "\n\n" if count % 4 == 0 else ""
        sentences.append(f"这是第{count}句，用来凑够一篇很长的回答，好看看它怎样被分段。{end}")
        written += len(sentences[-1])
    return "".join(sentences)[:length]


def _pieces(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]
