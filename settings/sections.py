"""
The sections of the settings, one frozen model each.

The line below a field is what an operator reads about it (settings table, console), so it is in
Chinese; it says unit and effect. Bounds stand in the types.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from settings.kinds import (
    Age,
    AgeOrNone,
    Allowed,
    CallbackBase,
    CallbackTokens,
    Days,
    EmptyCounts,
    HeaderSecret,
    HostNames,
    HttpUrl,
    InputTemplates,
    Lease,
    Listed,
    Networks,
    Number,
    Pause,
    QuietHours,
    Re2Pattern,
    TimeLimit,
    Timezone,
    Upper,
    Words,
    split_tokens,
)

LogLevel = Literal["TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL"]
TriggerName = Literal["all", "mention", "prefix", "keyword", "regex"]
Name = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9_-]{1,64}$"),
    Allowed("1 到 64 个字母、数字、- 或 _"),
]


OptionalName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9_-]{0,64}$"),
    Allowed("另一个应用的名字,或空"),
]


class Section(BaseModel):
    """Frozen; knows its names; an error never shows the value it was given."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True
    )


class ServerSettings(Section):
    """HTTP 服务"""

    host: str = "0.0.0.0"  # noqa: S104 - a gateway on another machine posts to it
    """监听地址。"""
    port: Annotated[Number, Field(ge=0, le=65_535)] = 8000
    """监听端口;0 表示由系统选一个空闲端口。"""
    drain_delay: Pause = 5
    """收到 SIGTERM 后仍接收回调的时间,秒;此间就绪检查已报失败。"""
    trusted_proxies: Networks = ()
    """反向代理的地址;只有从它们来的请求,才按 X-Forwarded-For 认定来源。"""


class WorkerSettings(Section):
    """后台工作进程"""

    concurrency: Annotated[Number, Field(ge=1, le=10_000)] = 256
    """每个进程同时处理的消息数。"""


class LogSettings(Section):
    """日志"""

    level: Annotated[LogLevel, Upper] = "INFO"
    """日志级别,低于它的不记录。"""
    dir: str = "logs"
    """日志目录;其中有 app.log 和 app_error.log。不可写时只输出到控制台。"""
    format: Literal["text", "json"] = "text"
    """控制台日志的形式:text 便于人看,json 便于容器平台采集。"""


#: How the settings call the gateway login of ``ecloud.base_url``.
DEFAULT_LOGIN = "default"


class EcloudAccount(Section):
    """One login at a gateway."""

    name: Name
    base_url: Annotated[HttpUrl, Field(min_length=1)]
    authorization: Annotated[HeaderSecret, Field(min_length=1)]


class EcloudSettings(Section):
    """E云管家(微信网关)"""

    base_url: HttpUrl = ""
    """E云管家的接口地址。"""
    authorization: HeaderSecret = SecretStr("")
    """登录 E云管家后得到的 Authorization,原样放进请求头。"""
    callback_token: CallbackTokens = SecretStr("")
    """回调令牌;设置后只有 POST /api/v1/callback/<令牌> 有效。轮换时可用逗号写两个。"""
    callback_url: CallbackBase = ""
    """网关访问本服务的地址,例如 https://bot.example.com;设置后自动在网关登记回调地址,被改掉就再登记。"""
    callback_sources: Networks = ()
    """只接受来自这些地址的回调;空表示不限。"""
    callback_window: AgeOrNone = 0
    """消息的时间与现在相差超过这么久的回调不收,秒;0 表示不检查。"""
    timeout: TimeLimit = 15
    """调用一次网关的最长时间,秒。"""
    sends_per_minute: Annotated[Number, Field(ge=0, le=10_000)] = 40
    """每个微信号每分钟最多发送的条数;0 表示不限制。"""
    send_gap: Pause = 0.6
    """同一微信号两次发送之间随机间隔的最大值,秒(最小值是它的三分之一);0 表示不间隔。"""
    target_gap: Pause = 2
    """下一条发往另一个群时随机间隔的最大值,秒(最小值是它的三分之一);小于 ecloud.send_gap 时以后者为准,后者为 0 时不间隔。"""
    images_per_minute: Annotated[Number, Field(ge=0, le=10_000)] = 3
    """其中图片每分钟最多几张;0 或 ecloud.sends_per_minute 为 0 时不另限。"""
    files_per_minute: Annotated[Number, Field(ge=0, le=10_000)] = 3
    """其中文件每分钟最多几个;0 或 ecloud.sends_per_minute 为 0 时不另限。"""
    sends_per_day: Annotated[Number, Field(ge=0, le=1_000_000)] = 0
    """每个微信号一天(从 conversations.timezone 的零点起)最多发送的条数;0 表示不限制。"""
    warm_up_days: Annotated[Number, Field(ge=0, le=365)] = 0
    """新微信号从第一次见到起,各项条数上限用这么多天逐日升到全额;0 表示立即全额。"""
    quiet_hours: QuietHours = ""
    """每天不发送也不提问的时段(conversations.timezone),例如 23:00-07:00;空表示没有。"""
    poll_interval: Annotated[Number, Field(ge=5, le=3600)] = 60
    """每隔多少秒查一次微信号是否在线。"""
    on_unknown_send: Literal["resend", "skip"] = "resend"
    """崩溃或超时后无法判断是否已发出的那一段:resend 重发,skip 跳过。"""
    accounts: Annotated[
        tuple[EcloudAccount, ...],
        Listed,
        Allowed("由 {name, base_url, authorization} 组成的数组"),
    ] = ()
    """更多的网关登录,每个写 name、base_url、authorization;本节的 base_url 是第一个,名为 default。"""
    offline_max_wait: AgeOrNone = 3600
    """微信号离线时答案最多等待的时间,秒;恢复后更早的答案不再发送,并记下原因。"""
    image_endpoint: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9_]+$"), Allowed("接口名,例如 sendImage2")
    ] = "sendImage2"
    """发送图片所用的网关接口名。"""

    @property
    def callback_tokens(self) -> tuple[str, ...]:
        """The tokens that are valid in the callback's path; empty: the bare path is served."""
        return split_tokens(self.callback_token)

    @property
    def missing(self) -> tuple[str, ...]:
        """Dotted names of what has to be set before the gateway can be called by its first login."""
        values = {
            "ecloud.base_url": self.base_url,
            "ecloud.authorization": self.authorization.get_secret_value(),
        }
        return tuple(name for name, value in values.items() if not value)

    @field_validator("accounts")
    @classmethod
    def _names_differ(cls, accounts: tuple[EcloudAccount, ...]) -> tuple[EcloudAccount, ...]:
        seen = {DEFAULT_LOGIN}
        for one in accounts:
            if one.name in seen:
                raise PydanticCustomError("needed", "登录名 {key} 重复或保留", {"key": one.name})
            seen.add(one.name)
        return accounts

    def every_login(self) -> tuple[EcloudAccount, ...]:
        """All logins that can be used, the one of the flat settings first."""
        if self.missing:
            return self.accounts
        first = EcloudAccount(
            name=DEFAULT_LOGIN, base_url=self.base_url, authorization=self.authorization
        )
        return (first, *self.accounts)


#: How the settings call the app of ``dify.base_url``.
DEFAULT_APP = "default"


AppKind = Literal["auto", "chat", "workflow", "completion"]
#: How an app calls one of its variables.
Variable = Annotated[
    str,
    Field(pattern=r"^\w{1,100}$"),
    Allowed("变量名:1 到 100 个文字、数字或 _"),
]
OptionalVariable = Annotated[
    str,
    Field(pattern=r"^\w{0,100}$"),
    Allowed("变量名,或空"),
]


class DifyApp(Section):
    """One more Dify app; what it leaves out is as for the default app."""

    name: Name
    base_url: Annotated[HttpUrl, Field(min_length=1)]
    api_key: Annotated[HeaderSecret, Field(min_length=1)]
    kind: AppKind | None = None
    files_url: HttpUrl | None = None
    input_key: Variable | None = None
    output_key: OptionalVariable | None = None
    inputs: InputTemplates | None = None
    fallback: OptionalName | None = None
    streaming_enabled: bool | None = None
    stream_moderated: bool | None = None
    voice: bool | None = None
    streaming_timeout: TimeLimit | None = None
    blocking_timeout: TimeLimit | None = None
    first_event_timeout: TimeLimit | None = None
    max_concurrency: Annotated[Number, Field(ge=1, le=10_000)] | None = None
    initial_concurrency: Annotated[Number, Field(ge=1, le=10_000)] | None = None


class WholeDifyApp(Section):
    """One Dify app with nothing left out."""

    name: Name
    base_url: str
    api_key: SecretStr
    files_url: str
    kind: AppKind
    input_key: str
    output_key: str
    inputs: Mapping[str, str]
    fallback: str
    streaming_enabled: bool
    stream_moderated: bool
    voice: bool
    streaming_timeout: float
    blocking_timeout: float
    first_event_timeout: float
    max_concurrency: int
    initial_concurrency: int


class DifySettings(Section):
    """DifyAI"""

    base_url: HttpUrl = ""
    """Dify 接口地址,含 /v1。"""
    api_key: HeaderSecret = SecretStr("")
    """默认应用的 API 密钥。"""
    files_url: HttpUrl = ""
    """网关能访问的 Dify 文件地址,例如 https://dify.example.com;空则用 dify.base_url 的主机。Dify 在内网时必填,否则图片和文件只能以链接发出。"""
    media_hosts: HostNames = ()
    """回答中别处的图片,在这些主机上的也作为图片发送,例如 ["img.example.com", "*.example.org"];其余留作链接。"""
    apps: Annotated[
        tuple[DifyApp, ...],
        Listed,
        Allowed("由 {name, base_url, api_key} 组成的数组,可另写本节的时限、并发与流式各项"),
    ] = ()
    """更多的 Dify 应用,每个写 name、base_url、api_key;哪个群用哪个见 python -m app.cli groups app。"""
    kind: AppKind = "auto"
    """应用的种类:chat(聊天助手、Agent、Chatflow)、workflow(工作流)、completion(文本生成);auto 自动识别。"""
    input_key: Variable = "query"
    """工作流和文本生成应用中接收问题的输入变量。"""
    output_key: OptionalVariable = ""
    """工作流中作为回答的输出变量;空则取 answer、text、output、result,或唯一的文本输出。"""
    inputs: InputTemplates = Field(default_factory=dict)
    """随问题传给应用的变量,值是模板,例如 {"name": "{user_name}"}。"""
    fallback: OptionalName = ""
    """这个应用熔断期间代为回答的应用名;空则等它恢复。"""
    feedback: bool = True
    """是否把群里对回答的评价(引用回答说赞或踩)告诉 Dify;群里什么也不发。"""
    voice: bool = False
    """是否把群里的语音交给应用转成文字,当作问题回答;应用要打开「语音转文字」。"""
    recap_turns: Annotated[Number, Field(ge=0, le=20)] = 0
    """Dify 忘了对话(被删除、换了密钥或无法继续)时,把最近几轮问答附在新对话的问题前;0 表示不附。"""
    streaming_enabled: bool = False
    """是否用流式模式向 Dify 提问,并边生成边发送。"""
    stream_moderated: bool = False
    """会审查输出的应用是否也边生成边发送;默认等回答写完,以免被收回的文字已经发出。"""
    streaming_timeout: TimeLimit = 120
    """一次流式请求从头到尾的最长时间,秒。"""
    blocking_timeout: TimeLimit = 120
    """一次阻塞请求的最长时间,秒。"""
    first_event_timeout: TimeLimit = 60
    """流式请求等到第一个事件(ping 不算)的最长时间,秒。"""
    max_concurrency: Annotated[Number, Field(ge=1, le=10_000)] = 64
    """每个应用同时进行的请求数上限,所有副本合计;实际上限在它之下自动调节。"""
    initial_concurrency: Annotated[Number, Field(ge=1, le=10_000)] = 16
    """自动调节的起点,所有副本合计;大于 dify.max_concurrency 时以后者为准。"""

    @property
    def missing(self) -> tuple[str, ...]:
        """Dotted names of what has to be set before Dify can be asked."""
        values = {"dify.base_url": self.base_url, "dify.api_key": self.api_key.get_secret_value()}
        return tuple(name for name, value in values.items() if not value)

    @field_validator("apps")
    @classmethod
    def _names_differ(cls, apps: tuple[DifyApp, ...]) -> tuple[DifyApp, ...]:
        seen = {DEFAULT_APP}
        for app in apps:
            if app.name in seen:
                raise PydanticCustomError("needed", "应用名 {key} 重复或保留", {"key": app.name})
            seen.add(app.name)
        return apps

    @model_validator(mode="after")
    def _fallbacks_exist(self) -> Self:
        names = {app.name for app in self.apps} | {DEFAULT_APP}
        wanted = {app.name: app.fallback or "" for app in self.apps} | {DEFAULT_APP: self.fallback}
        for name, fallback in wanted.items():
            if fallback and (fallback not in names or fallback == name):
                raise PydanticCustomError(
                    "needed",
                    "应用 {name} 的 fallback 必须是另一个应用的名字:{names}",
                    {
                        "name": name,
                        "names": "、".join(sorted(names - {name})) or "没有另一个应用",
                        "key": "fallback",
                    },
                )
        return self

    def every_app(self) -> tuple[WholeDifyApp, ...]:
        """All apps that can be asked, the default one first."""
        own = self.model_dump(include=set(WholeDifyApp.model_fields))
        first = () if self.missing else ({**own, "name": DEFAULT_APP},)
        others = (self._shared(own, app) | app.model_dump(exclude_none=True) for app in self.apps)
        return tuple(WholeDifyApp.model_validate(one) for one in (*first, *others))

    def _shared(self, own: Mapping[str, Any], app: DifyApp) -> dict[str, Any]:
        """
        What holds for another app unless it says otherwise.

        Whom the default app falls back on is its own matter: it may be this very app. And the files of
        another Dify lie elsewhere.
        """
        files_url = self.files_url if app.base_url == self.base_url else ""
        return {**own, "fallback": "", "files_url": files_url}


class MessageProcessingSettings(Section):
    """消息处理"""

    max_retry_count: Annotated[Number, Field(ge=0, le=100)] = 3
    """第一次失败之后最多再试的次数。"""
    retry_delay: Pause = 5
    """两次尝试之间的等待,秒;对方给出 Retry-After 时以对方为准。"""
    queue_timeout: TimeLimit = 300
    """处理一条消息的一次尝试最多用的时间,秒。"""
    outage_max_wait: Age = 86_400
    """Dify 不可用时,收到超过这么久的消息不再等它恢复而成为死信,秒。"""
    lease: Lease = 30
    """用户队列的租约,秒;每过三分之一续约一次,进程死后到期由别的进程接手。"""
    attachment_wait: AgeOrNone = 600
    """群里发的图片和文件等这个人的下一个问题多久,秒;到时一起交给 Dify。0 表示不理会图片和文件。"""
    crash_limit: Annotated[Number, Field(ge=1, le=100)] = 4
    """单独处理时仍使进程崩溃多少次后放入死信。"""
    max_queue_length: Annotated[Number, Field(ge=1, le=1_000_000)] = 100
    """每个用户最多等待的消息数,超出的拒绝并记下原因。"""
    max_waiting: Annotated[Number, Field(ge=1, le=100_000_000)] = 200_000
    """全部用户最多等待的消息数。"""
    max_message_age: AgeOrNone = 0
    """比这更早的消息视为历史重放而忽略,秒;0 表示不检查,生产环境建议 3600。"""
    dedupe_days: Days = 7
    """消息记录至少保留的天数,用来识别重复的回调。"""
    failure_reply: Annotated[str, Field(max_length=1000), EmptyCounts()] = ""
    """最后一次失败后发到群里的一句话;空表示什么也不发。"""
    keep_ignored_text: bool = False
    """是否保存被忽略消息的文本;默认只留类型、编号和原因。"""
    allow_redis_eviction: bool = False
    """Redis 的 maxmemory-policy 不是 noeviction 时是否仍然启动;内存满时它会悄悄删除队列和租约。"""


class RetentionSettings(Section):
    """数据保留"""

    text_days: Days = 90
    """消息文本保留的天数。"""
    raw_days: Days = 7
    """回调原文保留的天数。"""


class ContactsSettings(Section):
    """联系人"""

    max_age: Age = 86_400
    """联系人资料过多久重新获取,秒。"""


class ConversationsSettings(Section):
    """对话记录"""

    timezone: Timezone = "Asia/Shanghai"
    """对话记录 hour 列(YYYYMMDD_HH)所用的时区。"""


class ReplySettings(Section):
    """回复"""

    max_length: Annotated[Number, Field(ge=1, le=100_000)] = 1500
    """一段回复的最多字符数,更长的在段落或句末分开。"""
    mention_sender: bool = True
    """第一段回复是否 @ 提问的人。"""
    strip_thinking: bool = True
    """是否去掉推理模型的思考过程(<think> 等),只发正文。"""
    media: bool = True
    """回答中的图片和文件是否作为图片和文件发到群里;关闭则以链接发出。"""
    plain_text: bool = False
    """是否把 Markdown 改成微信里易读的纯文本;各群可另设,见 python -m app.cli groups plain。"""
    citations: bool = False
    """回答之后是否列出它所引用的知识库文档;各群可另设,见 python -m app.cli groups citations。"""
    suggestions: bool = False
    """应用打开「下一步问题建议」时,是否在回答之后列出,回复序号就能问;各群可另设,见 python -m app.cli groups suggestions。"""


class GroupsSettings(Section):
    """群规则(各群的默认值)"""

    trigger: TriggerName = "all"
    """何时回答:all 每条,mention 被 @ 时,prefix 以前缀开头,keyword 含关键词,regex 匹配正则。"""
    prefixes: Words = ()
    """trigger 为 prefix 时的前缀。"""
    keywords: Words = ()
    """trigger 为 keyword 时的关键词。"""
    pattern: Re2Pattern = ""
    """trigger 为 regex 时的正则表达式(RE2 语法)。"""
    quote_context: bool = True
    """引用别人的话提问时,是否把原话一起问 Dify。"""
    staff: Words = ()
    """工作人员的 wxid:在群里写 #撤回,收回机器人两分钟之内的上一个回答;空则谁也不能。"""

    @model_validator(mode="after")
    def _trigger_has_its_words(self) -> Self:
        needed = {"prefix": "prefixes", "keyword": "keywords", "regex": "pattern"}.get(self.trigger)
        if needed and not getattr(self, needed):
            raise PydanticCustomError(
                "needed",
                "groups.trigger 为 {trigger} 时必须设置",
                {"trigger": self.trigger, "key": needed},
            )
        return self


class ConsoleSettings(Section):
    """控制台"""

    password: SecretStr = SecretStr("")
    """管理员 admin 的初始密码;空则随机生成,只显示一次。"""


class PlaygroundSettings(Section):
    """演练场"""

    enabled: bool = False
    """是否作为演练场启动(由 start.py 设置);只有这时才有 /playground/ 页面。"""
    gateway_url: HttpUrl = ""
    """演练场所用模拟网关的地址。"""
