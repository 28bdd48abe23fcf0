"""Addresses of stores: what is refused before anything is opened, and that the rest can be opened."""

import asyncio
import re
import string
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.utils.db import make_engines, sync_url
from app.utils.redis_client import close_redis, make_redis
from config import SettingsError, load_settings
from settings.addresses import check_database_url, check_redis_url, passwords_of

SECRET = "hunter2hunter2"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite://", "内存里的 SQLite"),
        ("sqlite:///", "内存里的 SQLite"),
        ("sqlite:///:memory:", "内存里的 SQLite"),
        ("sqlite+aiosqlite:///:memory:", "内存里的 SQLite"),
        ("sqlite:///file:x.db?mode=memory&uri=true", "不能有 ?"),
        ("sqlite:///a#b.db", "不能有 ? 和 #"),
        ("sqlite:///data/", "这是目录"),
        ("sqlite://data/bridge.db", "sqlite:/// 加文件路径"),
        ("sqlite:bridge.db", "不支持这种数据库地址"),
        ("SQLITE:///bridge.db", "不支持这种数据库地址"),
        ("sqlite:///a\0b.db", "控制字符"),
        ("mysql+pymysql://u:p@db/x?foo=1", "不认识的参数 foo"),
        ("mysql://u:p@db/x?write_timeout=5", "不认识的参数 write_timeout"),
        ("mysql://u:p@db/x?ssl=true", "不认识的参数 ssl"),
        ("mysql://u:p@db/x?connect_timeout=soon", "connect_timeout 的值不对"),
        ("mysql://u:p@db/x?connect_timeout=0", "connect_timeout 的值不对"),
        ("mysql://u:p@db/x?charset=klingon", "charset 的值不对"),
        ("mysql://u:p@db/x?ssl_ca=", "ssl_ca 的值不对"),
        ("mysql://u:p@db/x?charset=utf8mb4&charset=utf8mb4", "charset 写了两次"),
        ("mysql://u:p@db:0/x", "端口不能是 0"),
        ("mysql://u:p@db..local/x", "主机名写法不对"),
        ("mysql://u:p@[::1]x/x", "主机名写法不对"),
        ("mysql://u:p@db:/x", "主机名写法不对"),
    ],
)
def test_database_address_that_cannot_work_is_refused(url: str, reason: str) -> None:
    """The clause says what is wrong; the setting's name is told around it."""
    with pytest.raises(ValueError, match=re.escape(reason)):
        check_database_url(url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis://h?foo=1", "不认识的参数 foo"),
        ("redis://h?decode_responses=true", "不认识的参数 decode_responses"),
        ("redis://h?protocol=3", "不认识的参数 protocol"),
        ("redis://h?ssl_cert_reqs=none", "ssl_ 开头的要配 rediss://"),
        ("rediss://h?ssl_cert_reqs=CERT_NONE", "ssl_cert_reqs 的值不对"),
        ("redis://h?socket_timeout=0", "socket_timeout 的值不对"),
        ("redis://h/abc", "库号不是数字"),
        ("redis://h/1/2", "库号不是数字"),
        ("redis://h?db=x", "db 的值不对"),
        ("redis://h/1?db=2", "库号写了两次"),
        ("redis://h:0/1", "端口不能是 0"),
        ("redis://h..local", "主机名写法不对"),
        ("REDIS://h", "不支持这种 Redis 地址"),
        ("EMBEDDED://", "不支持这种 Redis 地址"),
        ("unix://run/redis.sock", "共三个 /"),
        ("unix:///run/redis.sock?ssl_cert_reqs=none", "不认识的参数 ssl_cert_reqs"),
        ("redis+sentinel://a:26379", "缺少主节点名"),
        ("redis+sentinel://a:26379,:1/main", "Sentinel 地址应为"),
        ("redis+sentinel://a:x/main", "地址写法不对"),
        ("redis+sentinel://a:0/main", "端口不能是 0"),
        ("redis+sentinel://a/main/x", "库号不是数字"),
        ("redis+sentinel://a/main?ssl_cert_reqs=none", "不认识的参数 ssl_cert_reqs"),
    ],
)
def test_redis_address_that_cannot_work_is_refused(url: str, reason: str) -> None:
    """What the client would take in silence, too: another database, a protocol the queue cannot use."""
    with pytest.raises(ValueError, match=re.escape(reason)):
        check_redis_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "mysql+pymysql://u:p@db/x?charset=utf8mb4&connect_timeout=3&read_timeout=30",
        "mysql://u:p@db/x?ssl_ca=/etc/ca.pem&ssl_cert=/c.pem&ssl_key=/k.pem",
        "mysql://u:p@db/x?ssl_capath=/etc/ca&ssl_cipher=AES256&ssl_check_hostname=false",
        "mysql://u:p@localhost/x?unix_socket=/run/mysqld/mysqld.sock&sql_mode=ANSI,STRICT_ALL_TABLES",
        "mysql://u:p@[::1]:3307/x",
        "mysql://db/x?user=joe&password=secret",
    ],
)
def test_parameters_of_a_database_are_kept(url: str) -> None:
    """TLS above all: both drivers take them."""
    check_database_url(url)

    reader, _ = make_engines(url)
    assert sync_url(url).query.items() <= reader.url.query.items()


@pytest.mark.parametrize(
    "url",
    [
        "rediss://h:6380/1?ssl_cert_reqs=none",
        "rediss://h?ssl_cert_reqs=required&ssl_ca_certs=/ca.pem&ssl_check_hostname=false",
        "rediss://h?ssl_certfile=/c.pem&ssl_keyfile=/k.pem&ssl_min_version=772&ssl_ciphers=AES256",
        "rediss://h?ssl_include_verify_flags=VERIFY_X509_STRICT,VERIFY_X509_PARTIAL_CHAIN",
        "redis://u:p@h?db=2&client_name=bridge&socket_timeout=1.5&socket_keepalive=yes",
        "redis://h/?max_connections=9&timeout=3&health_check_interval=0",
        "unix://:p@/run/redis.sock?db=1",
        "unix:///run/a@b.sock?password=x",
        "redis+sentinel://joe:p@a:26379,b,[::1]:26381/main/4?sentinel_password=x",
    ],
)
async def test_parameters_of_redis_are_kept(url: str) -> None:
    """TLS, names and time limits; the client is built with them."""
    check_redis_url(url)

    await close_redis(make_redis(url))


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://u:12/{SECRET}@db/x",
        f"mysql://u:12?{SECRET}@db/x",
        f"mysql://u@db:3306/x?ssl_ca=/{SECRET}@x",
        f"redis://:12/{SECRET}@h/0",
        f"redis://:12?{SECRET}@h/0",
        f"redis://:12?{SECRET}=1@h/0",
        f"redis+sentinel://:12/{SECRET}@a/main",
    ],
)
def test_raw_sign_in_a_password_is_refused_without_showing_the_rest(url: str) -> None:
    """A slash or a question mark ends the host's part, and what follows must not pass for a name."""
    name = "DATABASE_URL" if url.startswith("mysql") else "REDIS_URL"

    with pytest.raises(SettingsError, match="%40") as refused:
        load_settings(environ={name: url}, env_file=None, config_file=None)

    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "passwords"),
    [
        ("mysql://u:p%40ss@db/x", {"p%40ss", "p@ss"}),
        ("unix:///s?password=a%2Fb", {"a/b"}),
        ("rediss://:one@h?ssl_password=two", {"one", "two"}),
        ("redis+sentinel://:one@a/main?sentinel_password=three", {"one", "three"}),
        ("sqlite:///x.db", set()),
    ],
)
def test_every_password_of_an_address_is_known_to_the_log(url: str, passwords: set[str]) -> None:
    """Those in its parameters as well."""
    assert passwords_of(url) == passwords


PARTS = st.sampled_from(
    [
        *("", "h", "127.0.0.1", "[::1]", "a..b", ":0", ":6379", ":x", "@", "u:p@", ":p@", "/"),
        *("0", "abc", "x.db", ":memory:", "//", ",", "?", "&", "=", "foo", "charset", "utf8mb4"),
        *("ssl_ca", "db", "timeout", "5", "true", "#", "%", "main", "unix_socket", "é"),
    ]
) | st.text(string.printable, max_size=4)


@given(st.lists(PARTS, max_size=8).map("".join), st.sampled_from(["mysql", "sqlite"]))
def test_any_database_address_that_is_accepted_can_be_built(rest: str, scheme: str) -> None:
    """Nothing that passes the check ends in an error of SQLAlchemy."""
    url = f"{scheme}://{rest}"
    try:
        check_database_url(url)
    except ValueError:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sync_url(url).database
        if scheme == "mysql":
            make_engines(url)


@given(
    st.lists(PARTS, max_size=8).map("".join),
    st.sampled_from(["redis", "rediss", "unix", "redis+sentinel"]),
)
def test_any_redis_address_that_is_accepted_can_be_built(rest: str, scheme: str) -> None:
    """Nothing that passes the check ends in an error of the client."""
    url = f"{scheme}://{rest}"
    try:
        check_redis_url(url)
    except ValueError:
        return

    async def build() -> None:
        await close_redis(make_redis(url))

    asyncio.run(build())
