"""How dead letters are shown: as values for programs, and in words. Nothing steers the terminal."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from unicodedata import category

from app.commands.output import local_time, printable

if TYPE_CHECKING:
    from app.services.dead_letters import CauseCount, Whole
    from app.services.letters import Letter, Refusal, Resumption

#: By ``Refusal``: why a message is not replayed.
REFUSAL_WORDS = {
    "not_found": "没有这条消息",
    "not_dead": "不是死信:在等待、在发送、已有结果,或刚被重放",
    "text_gone": "原文已按保留期限清除",
    "sending": "有一段正在发送或等回音,稍后再试",
    "only_undecided": "只有不确定的段(可能已在群里);要重发请加 --resend-unknown",
    "segments_out": "回答的一部分已在群里,不能重新提问",
}
#: By ``Way``: how it goes on.
WAY_WORDS = {
    "ask": "重新提问 Dify",
    "close": "以群里已有的部分了结,不再提问 Dify",
    "send": "只补发没有发出的段,不再提问 Dify",
}
#: Column and what it is called, of the message's times.
_TIMES = {
    "received_at": "收到",
    "queued_at": "进入队列",
    "claimed_at": "开始处理",
    "asked_at": "提问 Dify",
    "first_text_at": "首字到达",
    "answered_at": "回答完成",
    "done_at": "结束",
    "replayed_at": "重放",
}
_DIFY = {
    "dify_app": "应用",
    "dify_conversation_id": "会话",
    "dify_message_id": "消息",
    "dify_task_id": "任务",
    "dify_run_id": "运行",
    "total_tokens": "token",
    "total_price": "价格",
    "currency": "货币",
}
_COLUMNS = ("state", "verdict", "detail", "error", "attempts", "crashes", "sole_crashes", "replays")
_SEGMENT = (
    "seq",
    "kind",
    "state",
    "tries",
    "error",
    "new_msg_id",
    "planned_at",
    "sending_at",
    "sent_at",
    "content",
)


def shown_letter(letter: "Letter") -> dict[str, Any]:
    """One letter as it is listed."""
    return {
        "id": str(letter.id),
        "received_at": local_time(letter.received_at),
        "user": printable(letter.user),
        "group": printable(letter.group_id),
        "cause": printable(letter.cause),
        "error": letter.error,
        "attempts": letter.attempts,
        "crashes": letter.crashes,
        "segments_sent": letter.sent,
        "segments": len(letter.answer),
        "replays": letter.replays,
    }


def shown_cause(one: "CauseCount") -> dict[str, Any]:
    """How many letters have one cause."""
    return {
        "cause": printable(one.cause),
        "count": one.count,
        "first": local_time(one.first),
        "last": local_time(one.last),
    }


def shown_message(whole: "Whole") -> dict[str, Any]:
    """Everything of one message, whatever became of it."""
    from app.services.letters import ReplayOptions, decide_replay  # noqa: PLC0415 - late

    message = whole.message
    return {
        "id": str(message["id"]),
        "user": message["from_user"],
        "group": message["group_id"],
        "bot": message["bot_wc_id"],
        "sender_name": message["sender_name"],
        "cause": whole.letter.cause,
        **{name: message[name] for name in _COLUMNS},
        **{name: _plain(message[name]) for name in _TIMES},
        "dify": {name: message[name] for name in _DIFY},
        "question": message["question"],
        "segments": [{name: _plain(row[name]) for name in _SEGMENT} for row in whole.segments],
        "replay": _shown_decision(decide_replay(whole.letter, ReplayOptions())),
    }


def told_message(shown: Mapping[str, Any]) -> str:
    """The same in words, over several lines."""
    return "\n".join(_lines(shown))


def refusal_lines(refused: Sequence[tuple[int, "Refusal"]], *, at_most: int) -> list[str]:
    """Why messages are not replayed, one line each, and how many are not told of."""
    lines = [f"  {message_id}:{REFUSAL_WORDS[why]}" for message_id, why in refused[:at_most]]
    more = len(refused) - at_most
    return [*lines, f"  另有 {more} 条(--json 列出全部)"] if more > 0 else lines


def _shown_decision(decision: "Resumption | Refusal") -> dict[str, Any]:
    if isinstance(decision, str):
        return {"way": None, "segments": [], "refusal": str(decision)}
    return {"way": str(decision.way), "segments": list(decision.again), "refusal": None}


def _plain(value: Any) -> Any:
    return local_time(value) if isinstance(value, datetime) else value


def _lines(shown: Mapping[str, Any]) -> Iterator[str]:
    yield f"消息    {shown['id']}"
    yield f"用户    {printable(shown['user'])}  {printable(shown['sender_name'])}".rstrip()
    yield f"群      {printable(shown['group'])}(微信号 {printable(shown['bot'])})"
    yield f"状态    {shown['state']}"
    yield f"结论    {printable(shown['verdict']) or '(还没有)'}"
    if shown["cause"] and not shown["verdict"].endswith(shown["cause"]):
        yield f"原因    {printable(shown['cause'])}"
    for label, name in (("错误", "error"), ("备注", "detail")):
        if shown[name]:
            yield f"{label}    {printable(shown[name])}"
    crashes = f"崩溃 {shown['crashes']} 次(单独处理时 {shown['sole_crashes']} 次)"
    yield f"次数    重试 {shown['attempts']} 次,{crashes},重放 {shown['replays']} 次"
    for name, label in _TIMES.items():
        if shown[name] is not None:
            yield f"时间    {shown[name]}  {label}"
    for name, label in _DIFY.items():
        if shown["dify"][name] not in ("", None):
            yield f"Dify    {label} {printable(str(shown['dify'][name]))}"
    yield "问题"
    yield from _indented(shown["question"] or "(已按保留期限清除)")
    for segment in shown["segments"]:
        yield _segment_line(segment)
        yield from _indented(segment["content"])
    yield f"重放    {_replay_words(shown['replay'])}"


def _segment_line(segment: Mapping[str, Any]) -> str:
    facts = [segment["state"], f"调用 {segment['tries']} 次"]
    facts += [segment["sent_at"]] if segment["sent_at"] else []
    facts += [printable(segment["error"])] if segment["error"] else []
    name = "失败后的那句话" if segment["kind"] == "notice" else f"第 {segment['seq']} 段"
    return f"{name}  {','.join(facts)}"


def _replay_words(replay: Mapping[str, Any]) -> str:
    if replay["refusal"]:
        return f"不能:{REFUSAL_WORDS[replay['refusal']]}"
    numbers = "、".join(str(seq) for seq in replay["segments"])
    return f"可以:{WAY_WORDS[replay['way']]}" + (f"(第 {numbers} 段)" if numbers else "")


def _indented(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        # Spaces of any width do not steer anything; escaped they would be hard to read.
        spaced = "".join(" " if category(char) == "Zs" else char for char in line)
        yield f"    {printable(spaced)}".rstrip()
