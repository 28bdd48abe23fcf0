"""The console as a source of settings: which it may change, when that takes effect, and its layer."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from settings.sources import Found, Layer, Source
from settings.tree import leaves

PLACE: Final = "管理后台"


class Effect(StrEnum):
    """When a change in the console takes effect."""

    #: In all processes within seconds.
    LIVE = "live"
    #: With the next start of each process.
    RESTART = "restart"
    #: The console cannot change it: it is needed before the database can be read, or it says who
    #: reaches the console.
    OUTSIDE = "outside"


#: What the parts read anew each time, see ``LiveSettings``.
LIVE: Final = frozenset(
    {
        "ecloud.sends_per_minute",
        "ecloud.send_gap",
        "ecloud.target_gap",
        "ecloud.images_per_minute",
        "ecloud.files_per_minute",
        "ecloud.quiet_hours",
        "message_processing.max_queue_length",
        "message_processing.max_waiting",
        "message_processing.max_message_age",
        "message_processing.failure_reply",
        "reply.mention_sender",
        "reply.plain_text",
        "reply.citations",
        "reply.suggestions",
        "groups.trigger",
        "groups.prefixes",
        "groups.keywords",
        "groups.pattern",
        "groups.quote_context",
        "groups.staff",
    }
)
_OUTSIDE: Final = frozenset(
    {"database_url", "redis_url", "server.host", "server.port", "console.password"}
)


def effect_of(name: str) -> Effect:
    """When a change of this setting in the console takes effect (pure)."""
    if name in _OUTSIDE or leaves()[name].section == "playground":
        return Effect.OUTSIDE
    return Effect.LIVE if name in LIVE else Effect.RESTART


def read_console(values: Mapping[str, Any]) -> Layer:
    """
    The layer of what was changed in the console, by dotted name.

    Unlike elsewhere an empty text is a value: who empties a field means it. A name that this
    program does not know is one of another release: it is warned of, so that either can start.
    """
    layer = Layer(source=Source.CONSOLE, place=PLACE)
    known = leaves()
    for name, value in values.items():
        if name in known and effect_of(name) is not Effect.OUTSIDE:
            text = value.strip() if isinstance(value, str) else value
            layer.values[name] = Found(value=text, place=PLACE)
        else:
            layer.warnings.append(f"后台里改过的 {name} 不是这个版本能在后台改的设置,已忽略")
    return layer
