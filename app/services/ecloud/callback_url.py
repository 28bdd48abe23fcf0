"""The address at which the gateway reaches this bridge. Pure; no text of an error holds a token."""

from collections.abc import Sequence
from urllib.parse import urlsplit

CALLBACK_PATH = "/api/v1/callback"
MASK = "***"
SHORTEST_TOKEN = 8
SHOWN_OF_TOKEN = 4


def callback_url(base: str, token: str) -> str:
    """The address the gateway posts to."""
    return f"{base.rstrip('/')}{CALLBACK_PATH}" + (f"/{token}" if token else "")


def complete_callback_url(url: str, tokens: Sequence[str]) -> str:
    """
    The address to register: path and token are added to a bare host.

    Raises:
        ValueError: this bridge would not take callbacks there.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("回调地址要以 http:// 或 https:// 开头,并写明主机。")
    if parts.query or parts.fragment:
        raise ValueError("回调地址里不能有 ? 和 #。")
    if not parts.path.strip("/"):
        return callback_url(url, next(iter(tokens), ""))
    if not is_served(url, tokens):
        shown = callback_url("", "<令牌>" if tokens else "")
        raise ValueError(f"回调地址的路径应以 {shown} 结尾,否则本服务收不到消息。")
    return url


def is_served(url: str, tokens: Sequence[str]) -> bool:
    """Whether a callback posted there would be taken, wherever the host leads."""
    path = urlsplit(url).path.rstrip("/")
    return any(path.endswith(callback_url("", token)) for token in tokens or [""])


def own_urls(base: str, tokens: Sequence[str]) -> tuple[str, ...]:
    """
    Every address of this bridge that may stand at the gateway, the one to register first.

    While tokens are rotated both are valid: what is registered with the old one still arrives.

    Args:
        base: the bridge as the gateway reaches it, with the path that a proxy may put in front.
    """
    return tuple(callback_url(base, token) for token in tokens or [""])


def mask_token(token: str) -> str:
    """The beginning of a token, enough to tell two apart."""
    return token[:SHOWN_OF_TOKEN] + MASK if len(token) >= SHORTEST_TOKEN else MASK


def masked(url: str, tokens: Sequence[str]) -> str:
    """An address that may be shown."""
    for token in tokens:
        url = url.replace(token, mask_token(token))
    return url
