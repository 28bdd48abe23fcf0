"""
Addresses: what may stand in the URL of a peer, a database, a Redis. No I/O.

An error's text never repeats a part of the address that may be a piece of a password.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

DATABASE_SCHEMES = (
    "mysql+pymysql",
    "mysql",
    "mysql+asyncmy",
    "mysql+aiomysql",
    "sqlite",
    "sqlite+aiosqlite",
)
REDIS_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "embedded")

_TEXT = r".+"
_COUNT = r"[1-9]\d{0,5}"
_SECONDS = r"(?=.*[1-9])\d{1,5}(\.\d{1,3})?"
_SWITCH = r"(?i:true|false|yes|no|1|0)"
_HOST = r"(\[[^\[\]]+\]|[^\[\]:]+)?(:\d+)?"
_FLAGS = r"\[?VERIFY_[A-Z0-9_]+(, ?VERIFY_[A-Z0-9_]+)*\]?"
#: Parameters of an address, each with what may be its value. Only what both drivers know: Alembic's
#: (pymysql) and the bridge's own (asyncmy).
MYSQL_PARAMETERS = {
    "charset": "utf8mb4",
    "connect_timeout": _COUNT,
    "init_command": _TEXT,
    "password": _TEXT,
    "program_name": _TEXT,
    "read_default_file": _TEXT,
    "read_default_group": _TEXT,
    "read_timeout": _COUNT,
    "sql_mode": _TEXT,
    "ssl_ca": _TEXT,
    "ssl_capath": _TEXT,
    "ssl_cert": _TEXT,
    "ssl_check_hostname": _SWITCH,
    "ssl_cipher": _TEXT,
    "ssl_key": _TEXT,
    "unix_socket": _TEXT,
    "user": _TEXT,
}
#: Not those that would change how the bridge talks: protocol, decoding, repetition.
UNIX_PARAMETERS = {
    "client_name": r"[\x21-\x7e]+",
    "db": r"\d{1,5}",
    "health_check_interval": r"\d{1,5}",
    "max_connections": _COUNT,
    "password": _TEXT,
    "socket_connect_timeout": _SECONDS,
    "socket_timeout": _SECONDS,
    "timeout": _SECONDS,
    "username": _TEXT,
}
REDIS_PARAMETERS = {**UNIX_PARAMETERS, "socket_keepalive": _SWITCH}
REDISS_PARAMETERS = {
    **REDIS_PARAMETERS,
    "ssl_ca_certs": _TEXT,
    "ssl_ca_data": _TEXT,
    "ssl_ca_path": _TEXT,
    "ssl_cert_reqs": "none|optional|required",
    "ssl_certfile": _TEXT,
    "ssl_check_hostname": _SWITCH,
    "ssl_ciphers": _TEXT,
    "ssl_exclude_verify_flags": _FLAGS,
    "ssl_include_verify_flags": _FLAGS,
    "ssl_keyfile": _TEXT,
    "ssl_min_version": r"\d{3}",
    "ssl_password": _TEXT,
}
SENTINEL_PARAMETERS = {"sentinel_password": _TEXT, "sentinel_username": _TEXT}


#: A shorter part of a robot's address is a word of it, no key.
KEY_LENGTH = 16


def check_http_url(url: str) -> str:
    """
    The address of an HTTP service, without a slash at its end; empty stays empty.

    Raises:
        ValueError: what is wrong, in Chinese; so do all of these.
    """
    if not url:
        return url
    parts = _split(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("缺少 http:// 或 https:// 开头,或缺少主机名")
    if parts.username is not None:
        raise ValueError("地址里不能带用户名和密码")
    if parts.query or parts.fragment or re.search(r"\s", url):
        raise ValueError("地址里不能有 ?、# 或空白")
    _check_host(parts)
    return url.rstrip("/")


def check_webhook_url(url: str) -> None:
    """The address of a robot: it may have a key in its path or behind its ``?``."""
    if not url:
        return
    if re.search(r"[^\x21-\x7e]", url):
        raise ValueError("地址里不能有空白、中文或控制字符")
    parts = _split(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("缺少 http:// 或 https:// 开头,或缺少主机名")
    if parts.username is not None:
        raise ValueError("地址里不能带用户名和密码")
    if parts.fragment:
        raise ValueError("地址里不能有 #")
    _check_host(parts)


def keys_of(url: str) -> set[str]:
    """What in a robot's address must not be seen: the whole, and every part that may be a key."""
    parts = urlsplit(url)
    values = [value for _, value in parse_qsl(parts.query)]
    long = {one for one in (*parts.path.split("/"), *values) if len(one) >= KEY_LENGTH}
    return {url, *long} - {""}


def check_database_url(url: str) -> None:
    """MySQL by one of its drivers, or a file of SQLite."""
    scheme = url.partition("://")[0]
    if scheme not in DATABASE_SCHEMES:
        raise ValueError("不支持这种数据库地址")
    parts = _split(url)
    if scheme.startswith("sqlite"):
        _check_sqlite(parts)
        return
    _check_login(parts)
    if not parts.hostname:
        raise ValueError("缺少主机名")
    if not parts.path.strip("/"):
        raise ValueError("缺少库名")
    _check_host(parts)
    _check_parameters(parts, MYSQL_PARAMETERS)


def check_redis_url(url: str) -> None:
    """A server, a socket file, sentinels, or the engine inside the process."""
    scheme = url.partition("://")[0]
    if scheme not in REDIS_SCHEMES or "://" not in url:
        raise ValueError("不支持这种 Redis 地址")
    parts = _split(url, many_hosts=scheme == "redis+sentinel")
    _check_login(parts, is_path_free=scheme == "unix")
    match scheme:
        case "embedded":
            _check_embedded(parts)
        case "unix":
            _check_unix(parts)
        case "redis+sentinel":
            _check_sentinel(parts)
        case _:
            _check_server(parts)


def passwords_of(url: str) -> set[str]:
    """Every text of an address that must not be seen: as it is written, and as it is meant (pure)."""
    parts = urlsplit(url)
    password = parts.password or ""
    asked = {value for name, value in parse_qsl(parts.query) if name.endswith("password")}
    return {password, unquote(password), *asked} - {""}


def _split(url: str, *, many_hosts: bool = False) -> SplitResult:
    if re.search(r"[\x00-\x1f\x7f]", url):
        raise ValueError("地址里有换行或控制字符")
    try:
        parts = urlsplit(url)
        if not many_hosts:
            _ = parts.port  # raises for a port that is no number
    except ValueError:  # its text may hold the password, so it is not chained
        raise ValueError("地址写法不对(检查端口和方括号)") from None
    return parts


def _check_host(parts: SplitResult) -> None:
    if parts.port == 0:
        raise ValueError("端口不能是 0")
    try:
        (parts.hostname or "").encode("idna")
    except UnicodeError:
        is_name = False
    else:
        is_name = re.fullmatch(_HOST, parts.netloc.rpartition("@")[2]) is not None
    if not is_name:
        raise ValueError("主机名写法不对")


def _check_login(parts: SplitResult, *, is_path_free: bool = False) -> None:
    """A raw sign in the password would cut the address short, and a part of it be taken for the host."""
    if parts.fragment:
        raise ValueError("地址里有 #:密码中的特殊字符要转义")
    if parts.netloc.count("@") > 1:
        raise ValueError("主机名之前有多个 @:密码中的特殊字符要转义")
    if "@" in parts.query or ("@" in parts.path and not is_path_free):
        raise ValueError("主机名之后有 @:密码和参数中的 @ 要写成 %40,/ 写成 %2F,? 写成 %3F")


def _check_parameters(parts: SplitResult, allowed: Mapping[str, str]) -> None:
    """Each parameter is known, stands there once, and has a value that fits."""
    seen, is_plain = set(), parts.scheme == "redis"
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in allowed:
            shown = f" {name}" if re.fullmatch(r"[A-Za-z_]{1,40}", name) else ""
            hint = ";ssl_ 开头的要配 rediss://" if is_plain and name in REDISS_PARAMETERS else ""
            raise ValueError(f"不认识的参数{shown}(可用:{'、'.join(allowed)}{hint})")
        if name in seen:
            raise ValueError(f"参数 {name} 写了两次")
        if not re.fullmatch(allowed[name], value):
            raise ValueError(f"参数 {name} 的值不对")
        seen.add(name)


def _check_sqlite(parts: SplitResult) -> None:
    if parts.netloc:
        raise ValueError("SQLite 地址应为 sqlite:/// 加文件路径(绝对路径共四个 /)")
    if parts.query or parts.fragment:
        raise ValueError("SQLite 地址里不能有 ? 和 #")
    if parts.path in {"", "/", "/:memory:"}:
        raise ValueError(
            "不能用内存里的 SQLite(停机就丢):要写文件路径,如 sqlite:///./data/bridge.db"
        )
    if parts.path.endswith("/"):
        raise ValueError("这是目录,要写文件路径")


def _check_embedded(parts: SplitResult) -> None:
    if parts.username is not None or parts.path.strip("/") or parts.query:
        raise ValueError("embedded:// 后面只能是本机地址和端口")
    if not parts.netloc:
        return
    host = parts.hostname or ""
    try:
        is_loopback = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise ValueError("embedded:// 只能监听本机地址(127.0.0.1、::1 或 localhost)")
    if parts.port is None:
        raise ValueError("embedded:// 写了地址就要写端口")


def _check_unix(parts: SplitResult) -> None:
    if not parts.path.strip("/"):
        raise ValueError("缺少套接字文件的路径")
    if parts.netloc.rpartition("@")[2]:
        raise ValueError("unix:// 后面应为套接字文件的绝对路径(共三个 /)")
    _check_parameters(parts, UNIX_PARAMETERS)


def _check_server(parts: SplitResult) -> None:
    if not parts.netloc.rpartition("@")[2]:
        raise ValueError("缺少主机名")
    _check_host(parts)
    if not re.fullmatch(r"/?(\d{1,5})?/?", parts.path):
        raise ValueError("库号不是数字")
    _check_parameters(parts, REDISS_PARAMETERS if parts.scheme == "rediss" else REDIS_PARAMETERS)
    if parts.path.strip("/") and "db" in dict(parse_qsl(parts.query)):
        raise ValueError("库号写了两次")


def _check_sentinel(parts: SplitResult) -> None:
    addresses = parts.netloc.rpartition("@")[2]
    if not addresses:
        raise ValueError("缺少主机名")
    for address in addresses.split(","):
        sentinel = _split(f"//{address}")
        if not sentinel.hostname:
            raise ValueError("Sentinel 地址应为 主机:端口,多个用逗号分隔")
        _check_host(sentinel)
    name, _, database = parts.path.strip("/").partition("/")
    if not name:
        raise ValueError("缺少主节点名:redis+sentinel://主机:端口,主机:端口/主节点名/库号")
    if not re.fullmatch(r"\d{0,5}", database):
        raise ValueError("库号不是数字")
    _check_parameters(parts, SENTINEL_PARAMETERS)
