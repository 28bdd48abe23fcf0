"""What an operator can do about a message: one sentence, and the page where it is done. Pure."""

from dataclasses import dataclass
from typing import Final

from app.console.verdicts import FAILED
from app.models.flow import IgnoreReason, RefuseReason
from app.models.message import MessageState


@dataclass(frozen=True, slots=True)
class Advice:
    """The next step."""

    text: str
    #: Page of the console; empty: it is done elsewhere.
    path: str = ""
    label: str = ""


_GROUPS = ("/console/groups/", "群与规则")
_TALKS = ("/console/talks/", "会话")
_QUEUES = ("/console/queues/", "队列")
_FAILURES = ("/console/failures/", "失败与重放")
_HOME = ("/console/", "概览")
NOTHING: Final = Advice("不用做什么。")

_IGNORED: dict[str, Advice] = {
    IgnoreReason.NOT_MENTIONED: Advice("想让它每条都答,就把这个群的触发改为「每条」。", *_GROUPS),
    IgnoreReason.NO_PREFIX: Advice("请提问的人在开头写上前缀,或改这个群的触发。", *_GROUPS),
    IgnoreReason.NO_KEYWORD: Advice("请提问的人写上关键词,或改这个群的触发。", *_GROUPS),
    IgnoreReason.NO_MATCH: Advice("检查这个群的正则表达式,或改它的触发。", *_GROUPS),
    IgnoreReason.GROUP_OFF: Advice("想让它回答,就在群与规则里打开这个群。", *_GROUPS),
    IgnoreReason.MUTED: Advice("静音到时自动结束;现在就要它回答,在会话里取消。", *_TALKS),
    IgnoreReason.TOO_OLD: Advice("时限是 message_processing.max_message_age;请提问的人再说一遍。"),
    IgnoreReason.NO_SENDER: Advice("看下面的回调原文;网关升级后字段变了的,请报告给开发者。"),
    IgnoreReason.UNKNOWN_TYPE: Advice("看下面的回调原文;需要支持它的,请报告给开发者。"),
    IgnoreReason.BAD_JSON: Advice("看下面的回调原文,检查是谁往回调地址发的。"),
    IgnoreReason.BAD_SHAPE: Advice("看下面的回调原文;网关升级后字段变了的,请报告给开发者。"),
    IgnoreReason.TOO_LARGE: Advice("看下面留下的开头,检查是谁往回调地址发的。"),
    IgnoreReason.CONTROL_EVENT: Advice("微信号是否在线,看概览。", *_HOME),
    IgnoreReason.UNSUPPORTED_TYPE: Advice("请提问的人改用文字。"),
}
_REFUSED: dict[str, Advice] = {
    RefuseReason.USER_QUEUE_FULL: Advice(
        "看这个人的队列卡在哪里;上限是 message_processing.max_queue_length。", *_QUEUES
    ),
    RefuseReason.TOO_MANY_WAITING: Advice(
        "看队列卡在哪里;上限是 message_processing.max_waiting。", *_QUEUES
    ),
}
_REPLAY = "问题解决之后,在失败与重放里重放。"
_FAILED = {
    "dify_rejected": "在 Dify 里检查应用的密钥、状态和额度;然后重放。",
    "input_lacking": "设置 dify.inputs,重启,然后重放。",
    "voice_no_decoder": "换一个有 silk-python 安装包的平台运行,或关闭 dify.voice。",
    "dify_voice_refused": "在 Dify 里给应用配好语音转文字的模型;然后重放。",
    "dify_overloaded": "降低 dify.max_concurrency 或提高 Dify 的配额;然后重放。",
    "dify_protocol_error": "检查 dify.base_url 是否指向 Dify 的 /v1;然后重放。",
    "attempt_timeout": "在 Dify 里看这个应用为何慢,或放宽 message_processing.queue_timeout;然后重放。",
    "not_sent": "看下面各段的原因(例如不在群里、账号被限制);解决后补发,不会重新提问。",
    "crashed": "看错误日志里这条消息的编号;修好之后再重放。",
    "internal_error": "看错误日志里这条消息的编号;修好之后再重放。",
}
_WAITING: dict[str, Advice] = {
    MessageState.RECEIVED: Advice("等了很久的话,看这个人的队列在等谁。", *_QUEUES),
    MessageState.PROCESSING: Advice("等了很久的话,看 Dify 是否在线,再看这个人的队列。", *_QUEUES),
    MessageState.ANSWERED: Advice("等了很久的话,看微信号是否在线。", *_HOME),
}
_ANSWERED = {
    "answered_nothing": Advice("在 Dify 里检查这个应用的提示词或输出变量(dify.output_key)。"),
    "cut_short": Advice("在 Dify 或它前面的代理里看流为何断开(例如代理的超时)。"),
}


def next_step(*, state: str, verdict: str, cause: str = "") -> Advice:
    """
    What to do about a message that stands like this.

    Args:
        cause: why it was given up in part, as ``Letter.cause``.
    """
    if state in _WAITING:
        return _WAITING[state]
    if verdict.startswith(FAILED):
        return Advice(_FAILED.get(verdict.removeprefix(FAILED), _REPLAY), *_FAILURES)
    if cause:
        return Advice("有的段没有发出或不确定,可以在失败与重放里补发。", *_FAILURES)
    found = _REFUSED if state == MessageState.REFUSED else _IGNORED
    return _ANSWERED.get(verdict) or found.get(verdict, NOTHING)
