"""Kinds of values: what may stand in a setting, checked where it is read. No I/O."""

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import re2
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from settings.addresses import (
    DATABASE_SCHEMES,
    REDIS_SCHEMES,
    check_database_url,
    check_http_url,
    check_redis_url,
    check_webhook_url,
)

ONE_HOUR = 3600
ONE_DAY = 86_400
ONE_YEAR = 31_536_000
MIN_TOKEN_LENGTH = 16
#: A name with a dot, perhaps for all below it, or an IPv4 address.
_HOST = re.compile(r"(?:\*\.)?(?:[a-z0-9_-]{1,63}\.){1,8}[a-z0-9-]{1,63}")
MAX_TOKENS = 2
HOURS, MINUTES = 24, 60


@dataclass(frozen=True, slots=True)
class Allowed:
    """Metadata of a field: what may stand in it, for the operator; else it is derived."""

    text: str


class EmptyCounts:
    """Metadata of a field: an empty text is a value, not the absence of one."""


def _no_bool(value: Any) -> Any:
    """``true`` is no number, although Python says so."""
    if isinstance(value, bool):
        raise ValueError("true 和 false 不是数字")  # noqa: TRY004 - pydantic turns ValueError only
    return value


def _parse_list(value: Any) -> Any:
    """An environment variable holds a list as JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError("不是合法的 JSON 数组") from error


def _parse_object(value: Any) -> Any:
    """An environment variable holds an object as JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError("不是合法的 JSON 对象") from error


#: What a template may name: facts of the message that is asked about.
PLACEHOLDERS = ("user_id", "user_name", "group_id", "group_name", "message_id", "time", "bot_id")


def _check_templates(templates: Mapping[str, str]) -> Mapping[str, str]:
    for name, template in templates.items():
        if not name.strip():
            raise ValueError("有变量没有名字")
        try:
            parts = list(Formatter().parse(template))
        except ValueError as error:
            raise ValueError(f"{name} 的模板里花括号不成对") from error
        for _, key, form, conversion in parts:
            if key is not None and (key not in PLACEHOLDERS or form or conversion):
                raise ValueError(f"{name} 的模板里有不认识的 {{{key}}}")
    return templates


def _check_header_value(secret: SecretStr) -> SecretStr:
    if re.search(r"[^\x20-\x7e]", secret.get_secret_value()):
        raise ValueError("含有换行、中文或其他不能放进 HTTP 请求头的字符")
    return secret


def split_tokens(secret: SecretStr) -> tuple[str, ...]:
    """The tokens of a comma-separated secret; empty if there is none."""
    return tuple(part.strip() for part in secret.get_secret_value().split(",") if part.strip())


def _check_tokens(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value():
        return secret
    parts = [part.strip() for part in secret.get_secret_value().split(",")]
    if len(parts) > MAX_TOKENS:
        raise ValueError("最多两个令牌")
    for part in parts:
        if len(part) < MIN_TOKEN_LENGTH:
            raise ValueError(f"有令牌短于 {MIN_TOKEN_LENGTH} 个字符")
        if not re.fullmatch(r"[A-Za-z0-9_.~-]+", part):
            raise ValueError("令牌里有不能放进网址的字符")
    return secret


def _check_database_url(secret: SecretStr) -> SecretStr:
    check_database_url(secret.get_secret_value())
    return secret


def _check_redis_url(secret: SecretStr) -> SecretStr:
    check_redis_url(secret.get_secret_value())
    return secret


def _check_webhook_url(secret: SecretStr) -> SecretStr:
    check_webhook_url(secret.get_secret_value())
    return secret


def _check_addresses(addresses: tuple[str, ...]) -> tuple[str, ...]:
    if not all(is_mail_address(one) for one in addresses):
        raise ValueError("列表里有不是邮箱地址的")
    return addresses


def _check_address(address: str) -> str:
    if address and not is_mail_address(address):
        raise ValueError("不是邮箱地址")
    return address


def is_mail_address(text: str) -> bool:
    """Whether a letter's head may have it: no name beside it, nothing that ends a line."""
    return re.fullmatch(r"[\w.!#$%&'*+/=?^`{|}~-]+@[\w-]+(\.[\w-]+)*", text, re.ASCII) is not None


def _check_pattern(pattern: str) -> str:
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"正则无法编译:{text}") from error
    return pattern


def _check_words(words: tuple[str, ...]) -> tuple[str, ...]:
    if any(not word.strip() for word in words):
        raise ValueError("列表里有空白的词")
    return words


def _check_callback_base(url: str) -> str:
    if "/api/v1/callback" in url:
        raise ValueError("只写主机(和反向代理加的前缀),/api/v1/callback 和令牌自动补全")
    return url


def _check_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    for one in networks:
        try:
            ipaddress.ip_network(one)
        except ValueError as error:
            raise ValueError(f"{one!r} 不是 IP 地址或网段") from error
    return networks


def _check_hosts(hosts: tuple[str, ...]) -> tuple[str, ...]:
    if any(not _HOST.fullmatch(host.lower()) for host in hosts):
        raise ValueError("列表里有不是主机名的内容;只写主机名,不写 https:// 和路径")
    return tuple(host.lower() for host in hosts)


def _check_quiet_hours(text: str) -> str:
    found = re.fullmatch(r"(\d\d):(\d\d)-(\d\d):(\d\d)", text)
    if text and found is None:
        raise ValueError("写法是 HH:MM-HH:MM")
    if found is not None:
        begin, end = (found[1], found[2]), (found[3], found[4])
        if any(int(hour) >= HOURS or int(minute) >= MINUTES for hour, minute in (begin, end)):
            raise ValueError("没有这个时刻")
        if begin == end:
            raise ValueError("起止相同")
    return text


def _check_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("没有这个时区") from error
    return name


TimeLimit = Annotated[
    float, BeforeValidator(_no_bool), Field(ge=0.1, le=ONE_DAY, allow_inf_nan=False)
]
"""The longest time of one call or try, in seconds; one that is shorter would never be enough."""

Lease = Annotated[float, BeforeValidator(_no_bool), Field(ge=1, le=ONE_HOUR, allow_inf_nan=False)]
"""In seconds. Renewed at a third, which takes time; for so long a dead process holds things up."""

Span = Annotated[float, BeforeValidator(_no_bool), Field(ge=1, le=ONE_HOUR, allow_inf_nan=False)]
"""How long something must last to count, in seconds."""

Age = Annotated[float, BeforeValidator(_no_bool), Field(ge=1, le=ONE_YEAR, allow_inf_nan=False)]
"""Until something is made anew, in seconds."""

Pause = Annotated[float, BeforeValidator(_no_bool), Field(ge=0, le=ONE_HOUR, allow_inf_nan=False)]
"""A wait that is wanted, in seconds; 0: none."""

AgeOrNone = Annotated[
    float, BeforeValidator(_no_bool), Field(ge=0, le=ONE_YEAR, allow_inf_nan=False)
]
"""How old something may be, in seconds; the setting says what 0 means."""

Number = Annotated[int, BeforeValidator(_no_bool)]
"""A whole number; the field adds its bounds."""

Days = Annotated[int, BeforeValidator(_no_bool), Field(ge=1, le=36_500)]

HttpUrl = Annotated[
    str,
    AfterValidator(check_http_url),
    Allowed("以 http:// 或 https:// 开头的地址,不带用户名、密码、? 和 #"),
]
"""An address without a slash at its end; empty if not set."""

CallbackBase = Annotated[
    str,
    AfterValidator(check_http_url),
    AfterValidator(_check_callback_base),
    Allowed("以 http:// 或 https:// 开头的地址,不带 /api/v1/callback、用户名、密码、? 和 #"),
]
HeaderSecret = Annotated[
    SecretStr, AfterValidator(_check_header_value), Allowed("一行 ASCII 可见字符")
]
CallbackTokens = Annotated[
    SecretStr,
    AfterValidator(_check_tokens),
    Allowed("一个或两个令牌(逗号分隔),每个至少 16 个字符,只含字母、数字和 - _ . ~"),
]
WebhookUrl = Annotated[
    SecretStr,
    AfterValidator(_check_webhook_url),
    Allowed("以 http:// 或 https:// 开头的完整地址,可带 ? 后面的参数"),
]
"""The address of a robot; it has the robot's key in it, so it is a secret."""
MailAddress = Annotated[
    str, AfterValidator(_check_address), Allowed("一个邮箱地址,例如 bot@example.com")
]
MailAddresses = Annotated[
    tuple[str, ...],
    BeforeValidator(_parse_list),
    AfterValidator(_check_addresses),
    Allowed('由邮箱地址组成的 JSON 数组,例如 ["ops@example.com"]'),
]
HostName = Annotated[
    str,
    Field(pattern=r"^([A-Za-z0-9._-]{0,253}|[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*)$"),
    Allowed("主机名或 IP 地址,不带端口"),
]
DatabaseUrl = Annotated[
    SecretStr,
    AfterValidator(_check_database_url),
    Allowed(
        "、".join(f"{scheme}://…" for scheme in DATABASE_SCHEMES)
        + " 之一;用户名和密码里的 @ : / # ? % 要写成 %40 %3A %2F %23 %3F %25"
    ),
]
RedisUrl = Annotated[
    SecretStr,
    AfterValidator(_check_redis_url),
    Allowed("、".join(f"{scheme}://…" for scheme in REDIS_SCHEMES) + " 之一"),
]
Re2Pattern = Annotated[
    str,
    AfterValidator(_check_pattern),
    Allowed("RE2 语法的正则表达式(没有反向引用和环视)"),
]
Words = Annotated[
    tuple[str, ...],
    BeforeValidator(_parse_list),
    AfterValidator(_check_words),
    Allowed('由非空文本组成的 JSON 数组,例如 ["/ai", "小助手"]'),
]
Networks = Annotated[
    tuple[str, ...],
    BeforeValidator(_parse_list),
    AfterValidator(_check_networks),
    Allowed('由 IP 地址或网段组成的 JSON 数组,例如 ["203.0.113.7", "10.0.0.0/8"]'),
]
HostNames = Annotated[
    tuple[str, ...],
    BeforeValidator(_parse_list),
    AfterValidator(_check_hosts),
    Allowed('由主机名组成的 JSON 数组,例如 ["img.example.com", "*.example.org"]'),
]
InputTemplates = Annotated[
    Mapping[str, str],
    BeforeValidator(_parse_object),
    AfterValidator(_check_templates),
    Allowed(
        "变量名到模板的 JSON 对象,模板里可用 "
        + "、".join(f"{{{name}}}" for name in PLACEHOLDERS)
        + ",花括号本身写成 {{ 和 }}"
    ),
]
"""Variables of an app by templates of ``str.format`` that name placeholders only."""
QuietHours = Annotated[
    str, AfterValidator(_check_quiet_hours), Allowed("HH:MM-HH:MM,例如 23:00-07:00,或空")
]
"""A time of day, which may go over midnight; empty: none."""
Timezone = Annotated[
    str, AfterValidator(_check_timezone), Allowed("IANA 时区名,例如 Asia/Shanghai")
]
Upper = BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value)
Listed = BeforeValidator(_parse_list)
