"""Rules of a group: the defaults with what the table says on top."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from app.models.flow import Trigger
from app.services.decide import GroupRules
from app.services.groups import GroupSettings, overlaid, without_trigger

DEFAULTS = GroupSettings(
    rules=GroupRules(trigger=Trigger.PREFIX, prefixes=("#",), keywords=("价格",)),
    mention_sender=True,
)


def row(**values: Any) -> Any:
    """A row in which everything that is not named is NULL."""
    rules = (
        "is_enabled",
        "trigger",
        "prefixes",
        "keywords",
        "pattern",
        "mention_sender",
        "muted_until",
    )
    switches = ("plain_text", "citations", "suggestions")
    return SimpleNamespace(**{**dict.fromkeys((*rules, *switches)), **values})


def test_nothing_set_means_the_defaults() -> None:
    """A group appears in the table when it is first seen, and nothing changes by that."""
    assert overlaid(DEFAULTS, row()) == DEFAULTS


@pytest.mark.parametrize(
    ("values", "rules"),
    [
        ({"is_enabled": False}, {"is_enabled": False}),
        ({"is_enabled": 0}, {"is_enabled": False}),
        ({"trigger": "mention"}, {"trigger": Trigger.MENTION}),
        ({"prefixes": ["问", "/"]}, {"prefixes": ("问", "/")}),
        ({"prefixes": []}, {"prefixes": ()}),
        ({"keywords": ["退货"]}, {"keywords": ("退货",)}),
    ],
)
def test_each_value_that_is_set_replaces_its_default(
    values: dict[str, Any], rules: dict[str, Any]
) -> None:
    """And only that one; an empty list is set, too."""
    assert overlaid(DEFAULTS, row(**values)).rules == replace(DEFAULTS.rules, **rules)


def test_a_pattern_is_compiled() -> None:
    """For the trigger ``regex``."""
    settings = overlaid(DEFAULTS, row(trigger="regex", pattern="^多少钱"))

    assert settings.rules.pattern is not None
    assert settings.rules.pattern.search("多少钱一斤")
    assert not settings.rules.pattern.search("问多少钱")


def test_the_mention_can_be_switched_off() -> None:
    """For one group."""
    assert not overlaid(DEFAULTS, row(mention_sender=False)).mention_sender


@pytest.mark.parametrize("values", [{"trigger": "whenever"}, {"pattern": "(?=x)"}])
def test_values_that_are_none_are_an_error(values: dict[str, Any]) -> None:
    """The caller falls back to what cannot be wrong: above all, off stays off."""
    odd = row(is_enabled=False, mention_sender=False, **values)
    with pytest.raises(ValueError, match=r"whenever|RE2"):
        overlaid(DEFAULTS, odd)

    fallen_back = without_trigger(DEFAULTS, odd)

    assert fallen_back.rules == replace(DEFAULTS.rules, is_enabled=False)
    assert not fallen_back.mention_sender
