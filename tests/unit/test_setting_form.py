"""The form of a setting: whatever stands in a field means, sent as it is, the value that was shown."""

from typing import Any

import pytest

from app.console.setting_form import Field, field_of, read_setting, shown_value, typed_text
from app.console.visit import Form
from config import load_settings
from settings.console import LIVE, Effect, effect_of
from settings.tree import Leaf, leaves

FREE = [leaf for leaf in leaves().values() if effect_of(leaf.name) is not Effect.OUTSIDE]
FEISHU = "https://f.example/open-apis/bot/v2/hook/0123456789abcdef-0123"
VALUES: dict[str, Any] = {
    "groups": {"trigger": "keyword", "keywords": ["你好", "小助手"], "staff": ["wxid_a"]},
    "dify": {"inputs": {"name": "{user_name}"}, "voice": True, "media_hosts": ["*.example.org"]},
    "ecloud": {"send_gap": 0.25, "quiet_hours": "23:00-07:00"},
    "alerts": {"smtp_host": "mail", "mail_from": "a@b.example", "mail_to": ["c@d.example"]},
    "message_processing": {"failure_reply": "稍后再试"},
}


@pytest.mark.parametrize("leaf", FREE, ids=lambda leaf: leaf.name)
def test_a_field_that_is_sent_as_it_is_changes_nothing(leaf: Leaf) -> None:
    """Of every kind; a secret that is left empty stays."""
    loaded = load_settings(environ={}, env_file=None, config_file=None, **VALUES)
    form = Form(pairs=[("value", typed_text(leaf, loaded.settings))])
    typed = read_setting(leaf, form)

    assert typed.is_left is leaf.is_secret
    if not leaf.is_secret:
        again = loaded.outside.tried({}, {leaf.name: typed.value})
        assert leaf.value_in(again) == leaf.value_in(loaded.settings)


def test_a_secret_is_neither_shown_nor_typed_out() -> None:
    """Those inside of lists, too; each can be emptied."""
    channels = [{"name": "a", "kind": "webhook", "url": "https://h.example/key-key-key-key-key"}]
    loaded = load_settings(
        environ={
            "DIFY_API_KEY": "app-secret-key",
            "ALERTS_FEISHU_URL": FEISHU,
        },
        env_file=None,
        config_file=None,
        alerts={"channels": channels},
    )
    for name in ("dify.api_key", "alerts.feishu_url", "alerts.channels"):
        leaf = leaves()[name]
        assert field_of(leaf) in (Field.SECRET, Field.SECRET_JSON)
        assert typed_text(leaf, loaded.settings) == ""
        shown = shown_value(leaf, loaded.settings)
        assert shown
        assert not any(key in shown for key in ("secret-key", "0123456789abcdef", "key-key"))
        emptied = read_setting(leaf, Form(pairs=[("value", ""), ("value.clear", "1")]))
        assert not emptied.is_left
        after = loaded.outside.tried({}, {name: emptied.value})
        assert shown_value(leaf, after) == ""


def test_what_changes_at_once_is_a_setting_that_may_be_changed() -> None:
    """No name without a setting, none that is read before the database."""
    assert set(leaves()) >= LIVE
    assert {effect_of(name) for name in LIVE} == {Effect.LIVE}
