"""The tree of all settings, and the list of its leaves."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

import annotated_types
from pydantic import BaseModel, Field, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import override

from settings.addresses import passwords_of
from settings.alerts import AlertsSettings
from settings.kinds import Allowed, DatabaseUrl, EmptyCounts, RedisUrl
from settings.sections import (
    ConsoleSettings,
    ContactsSettings,
    ConversationsSettings,
    DifySettings,
    EcloudSettings,
    GroupsSettings,
    LogSettings,
    MessageProcessingSettings,
    PlaygroundSettings,
    ReplySettings,
    RetentionSettings,
    ServerSettings,
    WorkerSettings,
)


class Settings(BaseSettings):
    """All settings. Made by ``load_settings`` alone; everyone else is given a section."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        # SECTION_NAME: the first underscore after the section's own name parts the two.
        env_nested_delimiter="_",
        env_nested_max_split=1,
        # Lists are parsed by their own type, so that a mistake in one is reported like any other.
        enable_decoding=False,
    )

    database_url: DatabaseUrl = SecretStr("sqlite+aiosqlite:///./data/bridge.db")
    """数据库地址;默认用内置的 SQLite。"""
    redis_url: RedisUrl = SecretStr("embedded://")
    """Redis 地址;默认用进程内的 Redis,embedded://127.0.0.1:6380 另开端口给 redis-cli。"""
    server: ServerSettings = Field(default_factory=ServerSettings)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    ecloud: EcloudSettings = Field(default_factory=EcloudSettings)
    dify: DifySettings = Field(default_factory=DifySettings)
    message_processing: MessageProcessingSettings = Field(default_factory=MessageProcessingSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    contacts: ContactsSettings = Field(default_factory=ContactsSettings)
    conversations: ConversationsSettings = Field(default_factory=ConversationsSettings)
    reply: ReplySettings = Field(default_factory=ReplySettings)
    groups: GroupsSettings = Field(default_factory=GroupsSettings)
    alerts: AlertsSettings = Field(default_factory=AlertsSettings)
    console: ConsoleSettings = Field(default_factory=ConsoleSettings)
    playground: PlaygroundSettings = Field(default_factory=PlaygroundSettings)

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only arguments: the model itself never looks around; ``load_settings`` does."""
        return (init_settings,)

    def secrets(self) -> tuple[str, ...]:
        """Every text that must not be seen in a log; of addresses only the password."""
        found = {
            self.ecloud.authorization.get_secret_value(),
            self.dify.api_key.get_secret_value(),
            self.ecloud.callback_token.get_secret_value(),
            self.console.password.get_secret_value(),
            *self.ecloud.callback_tokens,
            *(account.authorization.get_secret_value() for account in self.ecloud.accounts),
            *(app.api_key.get_secret_value() for app in self.dify.apps),
            *self.alerts.secrets(),
        }
        for url in (self.database_url, self.redis_url):
            found |= passwords_of(url.get_secret_value())
        return tuple(sorted(found - {""}))


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaf:
    """One setting: where it stands in the tree and how it is called outside."""

    section: str
    key: str
    field: FieldInfo

    @property
    def name(self) -> str:
        return f"{self.section}.{self.key}" if self.section else self.key

    @property
    def env(self) -> str:
        return self.name.replace(".", "_").upper()

    def value_in(self, settings: Settings) -> Any:
        """What the setting is in *settings*."""
        return getattr(getattr(settings, self.section) if self.section else settings, self.key)

    @property
    def is_secret(self) -> bool:
        """Its value, or a part of it, must not be shown."""
        return _holds_secret(self.field.annotation)

    @property
    def has_file_variant(self) -> bool:
        """The value may stand in a file named by ``<env>_FILE``."""
        return self.field.annotation is SecretStr

    @property
    def empty_counts(self) -> bool:
        return any(isinstance(mark, EmptyCounts) for mark in self.field.metadata)

    @property
    def allowed(self) -> str:
        """What may stand in it, in Chinese."""
        for mark in self.field.metadata:
            if isinstance(mark, Allowed):
                return mark.text
        return _derive_allowed(self.field)


def _holds_secret(annotation: Any) -> bool:
    if annotation is SecretStr:
        return True
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return any(_holds_secret(field.annotation) for field in annotation.model_fields.values())
    if get_origin(annotation) is Annotated:
        return _holds_secret(get_args(annotation)[0])
    return any(_holds_secret(part) for part in get_args(annotation))


def _derive_allowed(field: FieldInfo) -> str:
    annotation = field.annotation
    if get_origin(annotation) is Literal:
        return "、".join(str(choice) for choice in get_args(annotation)) + " 之一"
    if annotation is bool:
        return "true 或 false"
    if annotation in {int, float}:
        bounds = "、".join(text for mark in field.metadata if (text := _bound(mark)))
        return (bounds + " 的" if bounds else "") + ("整数" if annotation is int else "数")
    for mark in field.metadata:
        if isinstance(mark, annotated_types.MaxLen):
            return f"不超过 {mark.max_length} 个字符的文本"
    return "文本"


def _bound(mark: object) -> str:
    match mark:
        case annotated_types.Gt(gt=bound):
            return f"大于 {bound}"
        case annotated_types.Ge(ge=bound):
            return f"不小于 {bound}"
        case annotated_types.Le(le=bound):
            return f"不大于 {bound}"
        case _:
            return ""


def _walk() -> Iterator[Leaf]:
    for name, field in Settings.model_fields.items():
        model = field.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            for key, inner in model.model_fields.items():
                yield Leaf(section=name, key=key, field=inner)
        else:
            yield Leaf(section="", key=name, field=field)


@cache
def leaves() -> Mapping[str, Leaf]:
    """All settings by dotted name, in the order of the tree."""
    return {leaf.name: leaf for leaf in _walk()}


@cache
def sections() -> tuple[str, ...]:
    """The names of the sections."""
    return tuple(dict.fromkeys(leaf.section for leaf in leaves().values() if leaf.section))
