"""Everything that the console says has an English word, and nothing is said that has no place."""

import json
import re
from collections.abc import Iterator
from string import Formatter

from app.console import advice, charts, verdicts
from app.console.entry_form import ACCOUNTS, APPS
from app.console.menu import ENTRIES, ROLE_WORDS, TOLD_WORDS
from app.console.pages import (
    audit,
    contacts,
    failures,
    groups,
    messages,
    overview,
    pauses,
    settings,
    wizard,
)
from app.console.parts import FOLDER, TEMPLATES
from app.console.playground.way import LAST_STATION, SEGMENT_STATES, STATIONS
from app.console.words import FILE, Language, Translator, read_words
from app.models.flow import IgnoreReason, RefuseReason
from app.models.message import MessageState

CHINESE = re.compile(r"[\u4e00-\u9fff]")
#: A call of ``t``, and what stands in its brackets as text.
_SAID = re.compile(r"""\bt\("([^"]+)\"""")
_MACRO = re.compile(r"""ui\.(?:tag|empty)\(([^)]*)\)""")
_LITERAL = re.compile(r"""\"([^"]*)\"""")
_SPOKEN = re.compile(r"""(?:say|refusal|Typed)\((?:[^"()]|\([^()]*\))*"([^"]+)\"""")


def in_templates() -> Iterator[str]:
    """Texts of the templates."""
    for path in sorted(TEMPLATES.glob("*.html")):
        text = path.read_text("utf-8")
        yield from _SAID.findall(text)
        for arguments in _MACRO.findall(text):
            yield from _LITERAL.findall(arguments)
        for pair in re.findall(r"""\("[a-z]*", "([^"]+)"\)|choice\("\w+", "([^"]+)\"""", text):
            yield from pair


def in_code() -> Iterator[str]:
    """Texts that pages hand to the templates."""
    for path in sorted(FOLDER.rglob("*.py")):
        yield from _SPOKEN.findall(path.read_text("utf-8"))
    yield from re.findall(r'"([^"]+请稍后刷新。)"', (FOLDER / "gate.py").read_text("utf-8"))
    yield from (entry.label for entry in ENTRIES)
    for table in (
        ROLE_WORDS,
        TOLD_WORDS,
        SEGMENT_STATES,
        audit.ACTION_WORDS,
        contacts.KIND_WORDS,
        failures.RANGE_WORDS,
        failures.REFUSAL_WORDS,
        failures.STATE_WORDS,
        groups.TRIGGER_WORDS,
        settings.EFFECT_WORDS,
        wizard.LABELS,
        messages.RANGE_WORDS,
        messages.STATE_WORDS,
        overview.SPAN_WORDS,
        overview.DEPENDENCY_NAMES,
        pauses.BAR_WORDS,
    ):
        yield from table.values()
    for tagged in (
        overview.SERIES_WORDS,
        overview.DEPENDENCY_WORDS,
        overview.ACCOUNT_WORDS,
        settings.SOURCE_WORDS,
    ):
        yield from (word for word, _ in tagged.values())
    yield from (word for words in pauses.SWITCHES.values() for word in words)
    for step in wizard.STEPS:
        yield from (step.title, step.explained)
    for kind in (ACCOUNTS, APPS):
        yield from (kind.title, kind.explained, kind.secret_label)
        yield from (*kind.texts.values(), *kind.switches.values())
        yield from (label for label, _ in kind.choices.values())
    yield from (label for _, label in (*STATIONS, LAST_STATION))
    yield from ("放弃", "发送第 {seq} 段", "失败后的那句话")
    yield from of_verdicts()
    yield from re.findall(r'return "([^"]+)"', (FOLDER / "group_form.py").read_text("utf-8"))
    yield from re.findall(r', "(触发为[^"]+)"\)', (FOLDER / "group_form.py").read_text("utf-8"))


def of_verdicts() -> Iterator[str]:
    """What is said about every verdict in every state."""
    states = [*MessageState]
    for verdict in ["", *verdicts.known_verdicts(), *IgnoreReason, *RefuseReason]:
        yield verdicts.brief(verdict)
        for state in states:
            said = verdicts.explain(state=state, verdict=verdict)
            step = advice.next_step(state=state, verdict=verdict)
            yield from (said.label, said.text, step.text, step.label)
    yield advice.next_step(state="done", verdict="answered", cause="undecided").text
    yield from (verdicts.brief("partly_sent"), verdicts.brief("undecided"))


def wanted() -> set[str]:
    """All texts with Chinese in them."""
    return {text for text in (*in_templates(), *in_code()) if CHINESE.search(text)}


def test_every_text_has_english_and_every_english_a_text() -> None:
    """A page is never half in one language."""
    words = read_words()

    assert sorted(wanted() - set(words)) == []
    assert sorted(set(words) - wanted()) == []
    assert [english for english in words.values() if CHINESE.search(english)] == []


def test_what_stands_in_braces_is_the_same_in_both_languages() -> None:
    """Else a page would break in one of them."""
    for chinese, english in read_words().items():
        fields = [
            {name for _, name, _, _ in Formatter().parse(text) if name}
            for text in (chinese, english)
        ]
        assert fields[0] == fields[1], chinese


def test_words_are_in_order_and_said_in_the_chosen_language() -> None:
    """Nobody has to search the file."""
    words = json.loads(FILE.read_text("utf-8"))
    english = Translator(Language.ENGLISH, words)
    chinese = Translator(Language.CHINESE, words)

    assert list(words) == sorted(words)
    assert (english("消息"), chinese("消息")) == ("Messages", "消息")
    assert english("第 {seq} 段", seq=2) == "Part 2"
    assert english("没有英文的话") == "没有英文的话"
    assert set(charts.TONES) == set(overview.SERIES_WORDS)
