"""Every verdict in the operator's words: why a message was answered, or why not. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from app.models.flow import IgnoreReason, RefuseReason
from app.models.message import MessageState
from app.services.erasure import ERASED

FAILED = "failed:"


class Tone(StrEnum):
    """How a verdict is coloured."""

    GOOD = "good"
    BUSY = "busy"
    QUIET = "quiet"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Explanation:
    """A verdict for a person: a tag of a few characters, and a sentence."""

    label: str
    text: str
    tone: Tone


_WAITING: dict[str, Explanation] = {
    MessageState.RECEIVED: Explanation(
        "排队中", "已安全保存,等待处理;同一个人的消息按顺序一条一条地回答。", Tone.BUSY
    ),
    MessageState.PROCESSING: Explanation("处理中", "正在向 Dify 提问,等待它的回答。", Tone.BUSY),
}

_ANSWERED = {
    "answered": Explanation("已回答", "触发了回答规则,Dify 给出了回答,已发到群里。", Tone.GOOD),
    "answered_nothing": Explanation(
        "回答为空", "Dify 正常结束,但没有给出文字,所以群里没有回复。", Tone.WARN
    ),
    "cut_short": Explanation(
        "回答不完整",
        "Dify 的回答中途断开,其余没能取回;已发出的部分保留,不再重问,以免重复。",
        Tone.WARN,
    ),
}
_SENDING = Explanation("发送中", "Dify 已回答,正在按顺序把各段发到群里。", Tone.BUSY)

_IGNORED: dict[str, str] = {
    IgnoreReason.TEST_PUSH: "这是网关保存回调地址时的测试推送,不是消息。",
    IgnoreReason.NOT_GROUP: "这是私聊消息,机器人只在群里回答。",
    IgnoreReason.OWN_MESSAGE: "这是机器人自己的微信号发出的消息,不回答自己。",
    IgnoreReason.UNSUPPORTED_TYPE: "不是文字消息(例如语音、视频、卡片),暂不回答。",
    IgnoreReason.ATTACHMENT: "图片或文件,等这个人在群里的下一个问题,一起交给 Dify。",
    IgnoreReason.CONTROL_EVENT: "这是微信号或群的通知(例如掉线、有人入群),不是消息。",
    IgnoreReason.RECALL: "有人撤回了一条消息;被撤回的问题不再回答。",
    IgnoreReason.PAT: "这是「拍一拍」,不是问题。",
    IgnoreReason.RECALLED: "提问的人撤回了这条消息,或工作人员撤回了回答:没发出的不再发。",
    IgnoreReason.UNKNOWN_TYPE: "网关发来了未知的消息类型;原文已保留,便于查看。",
    IgnoreReason.NO_SENDER: "回调里没有发送人,不知道该回答谁。",
    IgnoreReason.NO_TEXT: "没有文字内容(例如只 @ 了机器人),没有可问的问题。",
    IgnoreReason.NOT_MENTIONED: "这个群只在 @ 机器人时回答,而这条消息没有 @ 它。",
    IgnoreReason.NO_PREFIX: "这个群只回答以指定前缀开头的消息。",
    IgnoreReason.NO_KEYWORD: "这个群只回答含有关键词的消息。",
    IgnoreReason.NO_MATCH: "这个群只回答与设定的正则表达式匹配的消息。",
    IgnoreReason.TOO_OLD: "消息太旧(例如重新登录后补发的历史消息),不再回答。",
    IgnoreReason.OTHER_ACCOUNT: "群里还有我们的另一个微信号,由它回答(被 @ 的那个,或先收到的那个)。",
    IgnoreReason.GROUP_OFF: "这个群关闭了机器人。",
    IgnoreReason.MUTED: "操作员让机器人在这个群里静音,这个问题不回答。",
    IgnoreReason.FEEDBACK: "这是对一个回答的评价(引用它说赞或踩),已记下并告诉 Dify,不回答。",
    IgnoreReason.COMMAND: "工作人员让机器人撤回它的回答(#撤回),不是问题。",
    IgnoreReason.BAD_JSON: "回调的内容不是合法的 JSON;原文已保留,便于查看。",
    IgnoreReason.BAD_SHAPE: "回调缺少必要的字段或字段类型不对;原文已保留,便于查看。",
    IgnoreReason.TOO_LARGE: "回调超过 1 MiB,只保留了开头。",
}

_ERASED = Explanation("已抹去", "按要求抹去了这个人的数据,这一条不再回答。", Tone.QUIET)

_REFUSED: dict[str, str] = {
    RefuseReason.USER_QUEUE_FULL: "这个人等待回答的消息已达上限,这一条不再接受。",
    RefuseReason.TOO_MANY_WAITING: "所有人等待回答的消息总数已达上限,这一条不再接受。",
}

_FAILED = {
    "dify_unavailable": "多次尝试后 Dify 仍无法访问、内部出错或中途断开。",
    "dify_overloaded": "Dify 一直表示请求太多。",
    "dify_conversation_gone": "Dify 里的会话已不存在,换新会话后仍然失败。",
    "dify_conversation_spoilt": "模型不接受这段对话的内容,换新会话后仍然失败。",
    "dify_form_gone": "回复要填的表单在 Dify 里已经没了。",
    "dify_form_refused": "Dify 的表单不接受这个回复。",
    "voice_away": "网关或微信号一直不可用,没能取到语音。",
    "voice_not_fetched": "网关没有给出语音,多次尝试后放弃。",
    "voice_unreadable": "网关给的不是能听的语音:格式不认识、损坏、太大或太长。",
    "voice_no_decoder": "这台机器没有解码 silk 语音的库(silk-python)。",
    "dify_voice_refused": "Dify 不接受这段语音:应用没有语音转文字的模型,或格式、大小不合。",
    "input_lacking": "应用要求的变量没有给出:请设置 dify.inputs,然后重放。",
    "dify_rejected": "Dify 拒绝回答:请检查应用密钥、应用状态、额度,或问题本身。",
    "dify_protocol_error": "Dify 返回的内容不符合它的协议:请检查 Dify 地址和版本。",
    "attempt_timeout": "多次尝试都超过了一次处理的最长时间。",
    "not_sent": "Dify 已回答,但没有一段能发到群里;每一段的原因在 segments 表里。",
    "internal_error": "桥内部出错,多次尝试后放弃;请查看错误日志。",
    "crashed": "处理这条消息时进程多次崩溃,为保护其他消息而放弃。",
    "cleared": "操作员清空了这个人的队列;可以重放。",
}


_NOT_ANSWERED = (
    MessageState.IGNORED,
    MessageState.LEFT,
    MessageState.RATING,
    MessageState.COMMAND,
)


def explain(*, state: str, verdict: str) -> Explanation:
    """Say what became of a message, or where it is, in one sentence (pure)."""
    if verdict in _ANSWERED:
        # The verdict stands as soon as the answer is durable; its sending may still be under way.
        return _SENDING if state == MessageState.ANSWERED else _ANSWERED[verdict]
    if verdict.startswith(FAILED):
        reason = verdict.removeprefix(FAILED)
        return Explanation("失败", _FAILED.get(reason, f"多次尝试后放弃({reason})。"), Tone.BAD)
    if verdict == ERASED:
        return _ERASED
    if state == MessageState.REFUSED:
        return Explanation("未接受", _REFUSED.get(verdict, verdict), Tone.BAD)
    # A question may be taken back when a part of its answer is out.
    is_ignored = state in _NOT_ANSWERED
    if is_ignored or verdict == IgnoreReason.RECALLED:
        return Explanation("不回答", _IGNORED.get(verdict, verdict), Tone.QUIET)
    return _WAITING.get(state, _WAITING[MessageState.RECEIVED])


#: In a list to choose from.
_BRIEF: dict[str, str] = {
    "answered": "已回答",
    "answered_nothing": "回答为空",
    "cut_short": "回答不完整",
    IgnoreReason.TEST_PUSH: "测试推送",
    IgnoreReason.NOT_GROUP: "私聊",
    IgnoreReason.OWN_MESSAGE: "机器人自己的消息",
    IgnoreReason.UNSUPPORTED_TYPE: "不是文字",
    IgnoreReason.CONTROL_EVENT: "状态通知",
    IgnoreReason.UNKNOWN_TYPE: "未知类型",
    IgnoreReason.NO_SENDER: "没有发送人",
    IgnoreReason.NO_TEXT: "没有文字内容",
    IgnoreReason.NOT_MENTIONED: "没有 @ 机器人",
    IgnoreReason.NO_PREFIX: "没有前缀",
    IgnoreReason.NO_KEYWORD: "没有关键词",
    IgnoreReason.NO_MATCH: "不匹配正则",
    IgnoreReason.TOO_OLD: "太旧",
    IgnoreReason.GROUP_OFF: "群已关闭",
    IgnoreReason.MUTED: "静音",
    IgnoreReason.OTHER_ACCOUNT: "归另一个微信号",
    IgnoreReason.BAD_JSON: "不是 JSON",
    IgnoreReason.BAD_SHAPE: "字段不对",
    IgnoreReason.TOO_LARGE: "太大",
    IgnoreReason.RECALL: "撤回通知",
    IgnoreReason.PAT: "拍一拍",
    IgnoreReason.RECALLED: "被撤回",
    IgnoreReason.ATTACHMENT: "图片或文件",
    IgnoreReason.FEEDBACK: "评价",
    IgnoreReason.COMMAND: "工作人员的指令",
    "dify_form_gone": "表单没了",
    "dify_form_refused": "表单不接受",
    ERASED: "已抹去",
    RefuseReason.USER_QUEUE_FULL: "这个人排队太多",
    RefuseReason.TOO_MANY_WAITING: "全部排队太多",
    "dify_unavailable": "Dify 不可用",
    "dify_overloaded": "Dify 过载",
    "dify_conversation_gone": "会话不存在",
    "dify_conversation_spoilt": "会话不被接受",
    "voice_away": "取不到语音",
    "voice_not_fetched": "网关没给语音",
    "voice_unreadable": "语音听不了",
    "voice_no_decoder": "没有语音解码库",
    "dify_voice_refused": "Dify 不收语音",
    "input_lacking": "缺变量",
    "dify_rejected": "Dify 拒绝",
    "dify_protocol_error": "Dify 协议不符",
    "attempt_timeout": "超时",
    "not_sent": "一段也没发出",
    "internal_error": "程序错误",
    "crashed": "多次崩溃",
    "cleared": "队列被清空",
    "partly_sent": "有的段没发出",
    "undecided": "有的段不确定",
}


def known_verdicts() -> list[str]:
    """Every verdict that a message may have, in the order of the way (pure)."""
    failed = (f"{FAILED}{reason}" for reason in _FAILED)
    return [*_ANSWERED, *_IGNORED, *_REFUSED, ERASED, *failed]


def brief(verdict: str) -> str:
    """A verdict, or the cause of a failure, in a few characters (pure)."""
    reason = verdict.removeprefix(FAILED)
    return _BRIEF.get(reason, reason)
