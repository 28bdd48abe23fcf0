"""The form of one further gateway login or Dify app: what was typed as an entry of its list. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, SecretStr

from app.console.visit import Form

SWITCHES: Final[Mapping[str, bool | None]] = {"": None, "on": True, "off": False}


@dataclass(frozen=True, kw_only=True, slots=True)
class EntryList:
    """A setting that is a list of entries, each with a name, an address and a key."""

    setting: str
    path: str
    title: str
    explained: str
    #: Field of the key, and how it is called.
    secret: str
    secret_label: str
    #: More fields of an entry: text, by what they are called.
    texts: Mapping[str, str]
    #: More fields that are on, off, or as for the default one.
    switches: Mapping[str, str]
    #: More fields that are chosen: label and choices.
    choices: Mapping[str, tuple[str, Sequence[str]]]


ACCOUNTS: Final = EntryList(
    setting="ecloud.accounts",
    path="/console/settings/accounts",
    title="更多的网关登录",
    explained="每个登录带着它自己的微信号;第一个登录是 ecloud.base_url,名为 default,不在这里。",
    secret="authorization",  # noqa: S106 - the name of a field
    secret_label="Authorization",  # noqa: S106 - the name of a field
    texts={},
    switches={},
    choices={},
)
APPS: Final = EntryList(
    setting="dify.apps",
    path="/console/settings/apps",
    title="更多的 Dify 应用",
    explained="哪个群用哪个应用,在「群与规则」里选;默认的应用是 dify.base_url,名为 default,不在这里。",
    secret="api_key",  # noqa: S106 - the name of a field
    secret_label="API 密钥",  # noqa: S106 - the name of a field
    texts={"files_url": "网关能访问的文件地址(可空)", "fallback": "熔断时代答的应用(可空)"},
    switches={"streaming_enabled": "流式", "voice": "回答语音"},
    choices={"kind": ("种类", ("auto", "chat", "workflow", "completion"))},
)


def read_entry(kind: EntryList, form: Form, old: Mapping[str, Any]) -> dict[str, Any]:
    """
    What was typed, laid over the entry that there was; what the form does not have stays.

    Args:
        old: the entry with its key; empty: it is a new one.
    """
    entry = dict(old)
    entry["name"] = old.get("name") or form.get("name").strip()
    entry["base_url"] = form.get("base_url").strip()
    if key := form.get(kind.secret).strip():
        entry[kind.secret] = key
    typed: dict[str, Any] = {name: form.get(name).strip() or None for name in kind.texts}
    typed |= {name: SWITCHES.get(form.get(name)) for name in kind.switches}
    typed |= {name: form.get(name) or None for name in kind.choices}
    entry |= typed
    return {name: value for name, value in entry.items() if value is not None}


def bare_entries(entries: Sequence[BaseModel]) -> list[dict[str, Any]]:
    """Entries as they are stored, with their keys; only what was set in them."""
    return [bare_entry(one) for one in entries]


def bare_entry(entry: BaseModel) -> dict[str, Any]:
    """One entry as it is stored."""
    plain = {}
    for name in entry.model_fields_set:
        value = getattr(entry, name)
        plain[name] = value.get_secret_value() if isinstance(value, SecretStr) else value
    return {name: value for name, value in plain.items() if value is not None}


def shown_entry(kind: EntryList, entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry as the page may have it: without its key (pure)."""
    return {name: value for name, value in entry.items() if name != kind.secret}
