"""The section of the alerts: whom the operator is told through, and from when on."""

from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from settings.addresses import keys_of
from settings.kinds import (
    AgeOrNone,
    Allowed,
    HostName,
    Listed,
    MailAddress,
    MailAddresses,
    Number,
    Span,
    WebhookUrl,
)
from settings.sections import Name, Section

ChannelKind = Literal["wecom", "dingtalk", "feishu", "webhook"]


class AlertChannel(Section):
    """One more robot or program that is told."""

    name: Name
    kind: ChannelKind
    url: Annotated[WebhookUrl, Field(min_length=1)]
    secret: SecretStr = SecretStr("")


class AlertsSettings(Section):
    """告警(给运维人员,不进客户的群)"""

    wecom_url: WebhookUrl = SecretStr("")
    """企业微信群机器人的 Webhook 地址,含 key;空则不用。"""
    dingtalk_url: WebhookUrl = SecretStr("")
    """钉钉自定义机器人的 Webhook 地址,含 access_token;空则不用。"""
    dingtalk_secret: SecretStr = SecretStr("")
    """钉钉机器人「加签」的密钥(SEC 开头);没有加签就留空。"""
    feishu_url: WebhookUrl = SecretStr("")
    """飞书自定义机器人的 Webhook 地址;空则不用。"""
    feishu_secret: SecretStr = SecretStr("")
    """飞书机器人「签名校验」的密钥;没有签名校验就留空。"""
    webhook_url: WebhookUrl = SecretStr("")
    """任意接收 JSON 的地址;空则不用。"""
    webhook_secret: SecretStr = SecretStr("")
    """给 JSON 签名的密钥,签名在请求头 X-Bridge-Signature;空则不签名。"""
    channels: Annotated[
        tuple[AlertChannel, ...],
        Listed,
        Allowed(
            "由 {name, kind, url, secret} 组成的数组,kind 是 wecom、dingtalk、feishu 或 webhook"
        ),
    ] = ()
    """更多的机器人,每个写 name、kind(wecom、dingtalk、feishu、webhook)、url,需要时写 secret。"""
    smtp_host: HostName = ""
    """发告警邮件的 SMTP 服务器;空则不发邮件。"""
    smtp_port: Annotated[Number, Field(ge=1, le=65_535)] = 587
    """SMTP 端口;starttls 多为 587,tls 多为 465。"""
    smtp_security: Literal["starttls", "tls", "plain"] = "starttls"
    """SMTP 的加密:starttls、tls(一开始就加密)或 plain(不加密)。"""
    smtp_user: str = ""
    """SMTP 用户名;空则不登录。"""
    smtp_password: SecretStr = SecretStr("")
    """SMTP 密码或授权码。"""
    mail_from: MailAddress = ""
    """告警邮件的发件人。"""
    mail_to: MailAddresses = ()
    """告警邮件的收件人。"""
    name: Annotated[
        str, Field(pattern=r"^[^\x00-\x1f\x7f]{0,64}$"), Allowed("不超过 64 个字符,一行")
    ] = ""
    """告警里怎样称呼这套服务;空则用 ecloud-dify。"""
    hold: Span = 30
    """一件事持续多久才告警、消失多久才算恢复,秒。"""
    reminder: AgeOrNone = 0
    """没有恢复的事隔多久再提醒一次,秒;0 表示只说一次。"""
    oldest_waiting: AgeOrNone = 300
    """最久的消息等了超过多久就告警,秒;0 表示不管。"""
    disk_free: Annotated[Number, Field(ge=0, le=100_000_000)] = 1024
    """数据目录所在磁盘的剩余少于多少 MiB 就告警;0 表示不管。"""

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        lacking = {
            "dingtalk_url": self.dingtalk_secret and not self.dingtalk_url,
            "feishu_url": self.feishu_secret and not self.feishu_url,
            "webhook_url": self.webhook_secret and not self.webhook_url,
            "mail_from": self.smtp_host and not self.mail_from,
            "mail_to": self.smtp_host and not self.mail_to,
            "smtp_host": (self.mail_from or self.mail_to) and not self.smtp_host,
            "smtp_password": self.smtp_user and not self.smtp_password,
            "smtp_user": self.smtp_password and not self.smtp_user,
        }
        for key, is_lacking in lacking.items():
            if is_lacking:
                raise PydanticCustomError("needed", "写了与它相配的设置,这一项也要写", {"key": key})
        return self

    @field_validator("channels")
    @classmethod
    def _names_differ(cls, channels: tuple[AlertChannel, ...]) -> tuple[AlertChannel, ...]:
        seen = {"wecom", "dingtalk", "feishu", "webhook", "mail"}
        for one in channels:
            if one.name in seen:
                raise PydanticCustomError("needed", "名字 {key} 重复或保留", {"key": one.name})
            seen.add(one.name)
        return channels

    def every_channel(self) -> tuple[AlertChannel, ...]:
        """All robots and programs, those of the flat settings first; not the mailbox."""
        flat: tuple[tuple[ChannelKind, SecretStr, SecretStr], ...] = (
            ("wecom", self.wecom_url, SecretStr("")),
            ("dingtalk", self.dingtalk_url, self.dingtalk_secret),
            ("feishu", self.feishu_url, self.feishu_secret),
            ("webhook", self.webhook_url, self.webhook_secret),
        )
        named = (
            AlertChannel(name=kind, kind=kind, url=url, secret=secret)
            for kind, url, secret in flat
            if url
        )
        return (*named, *self.channels)

    def secrets(self) -> frozenset[str]:
        """What must not be seen: of addresses the whole and what is the key in them."""
        found = {self.smtp_password.get_secret_value()}
        for one in self.every_channel():
            found |= {one.secret.get_secret_value(), *keys_of(one.url.get_secret_value())}
        return frozenset(found - {""})
