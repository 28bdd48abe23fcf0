"""When a text in a group is a question, and what is asked."""

import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.content import Quoted
from app.models.flow import (
    Command,
    Feedback,
    GroupMessage,
    Ignored,
    IgnoreReason,
    Origin,
    Question,
    Trigger,
    WcId,
)
from app.services.decide import GroupRules, choice_of, compile_pattern, decide

BOT = WcId("wxid_bot")
PERSON = WcId("wxid_person")
OTHER = WcId("wxid_other")
NOW = 1_767_000_000.0


def make_message(
    text: str, *, mentions: tuple[WcId, ...] = (), sender: WcId = PERSON, timestamp: int = int(NOW)
) -> GroupMessage:
    origin = Origin(
        bot_wc_id=BOT, from_user=sender, group_id=WcId("1@chatroom"), timestamp=timestamp
    )
    return GroupMessage(origin=origin, text=text, mentions=mentions)


def ask(message: GroupMessage, **rules: Any) -> str | IgnoreReason:
    """The question's text, or the reason why there is none."""
    verdict = decide(message, GroupRules(**rules), own_accounts={BOT}, now=NOW)
    if isinstance(verdict, Question):
        assert verdict.message is message
        return verdict.text
    assert verdict.origin is message.origin
    return verdict.reason


def test_every_text_is_a_question_by_default() -> None:
    """The README answers every text of a group."""
    assert ask(make_message(" 几点下班\n")) == "几点下班"


@pytest.mark.parametrize("trigger", list(Trigger))
def test_own_accounts_are_never_answered(trigger: Trigger) -> None:
    """Two of our accounts in one group would talk for ever; the text is kept for the echo."""
    message = make_message("几点下班", sender=OTHER)
    verdict = decide(message, GroupRules(trigger=trigger), own_accounts={BOT, OTHER}, now=NOW)

    assert isinstance(verdict, Ignored)
    assert (verdict.reason, verdict.text) == (IgnoreReason.OWN_MESSAGE, "几点下班")


def test_a_silent_group_gets_no_answer() -> None:
    """A group can be switched off."""
    assert ask(make_message("几点"), is_enabled=False) is IgnoreReason.GROUP_OFF


@pytest.mark.parametrize(
    ("age", "bound", "is_old"),
    [(59, 60, False), (60, 60, False), (61, 60, True), (10**6, 0, False), (-50, 60, False)],
)
def test_only_messages_beyond_the_bound_are_too_old(
    age: int, bound: float, *, is_old: bool
) -> None:
    """A replayed history is not answered; 0 switches the bound off."""
    verdict = ask(make_message("几点", timestamp=int(NOW) - age), max_message_age=bound)

    assert (verdict is IgnoreReason.TOO_OLD) == is_old


def test_a_message_without_a_time_is_not_old() -> None:
    """The gateway does not always say when."""
    assert ask(make_message("几点", timestamp=0), max_message_age=60) == "几点"


@pytest.mark.parametrize(
    ("text", "mentions", "expected"),
    [
        ("@小桥\u2005几点下班", (BOT,), "几点下班"),
        ("@小桥 几点下班", (BOT,), "几点下班"),
        ("@小 桥 二号\u2005几点下班", (BOT,), "几点下班"),
        ("@小 桥 几点下班", (BOT,), "桥 几点下班"),
        ("  @小桥\u2005\n几点下班", (BOT,), "几点下班"),
        ("@小桥 问问 @兰兰\u2005在吗", (BOT, OTHER), "问问 @兰兰\u2005在吗"),
        ("@兰兰\u2005@小桥\u2005在吗", (OTHER, BOT), "@兰兰\u2005在吗"),
        ("@小桥\u2005@兰兰\u2005在吗", (BOT, OTHER), "@兰兰\u2005在吗"),
        ("@兰兰\u2005你问问 @小桥\u2005", (OTHER, BOT), "@兰兰\u2005你问问 @小桥"),
        ("你问问@小桥\u2005吧", (BOT,), "你问问@小桥\u2005吧"),
        ("@小桥几点下班", (BOT,), "@小桥几点下班"),
        ("@兰兰\u2005在吗", (OTHER,), "@兰兰\u2005在吗"),
        ("@小桥\u2005在吗", (), "@小桥\u2005在吗"),
        ("@a@b\u2005在吗", (BOT,), "在吗"),
    ],
)
def test_the_bots_leading_mention_is_no_part_of_the_question(
    text: str, mentions: tuple[WcId, ...], expected: str
) -> None:
    """It is taken off where the bot is mentioned, and nothing else is."""
    assert ask(make_message(text, mentions=mentions)) == expected


@pytest.mark.parametrize("text", ["@小桥\u2005", "@小桥 ", "@小桥\u2005\u200b\n"])
def test_a_mention_alone_is_no_text(text: str) -> None:
    """There is nothing to ask Dify."""
    assert ask(make_message(text, mentions=(BOT,))) is IgnoreReason.NO_TEXT


def test_mention_trigger_wants_the_bot_in_the_list() -> None:
    """Names in the text and everybody-mentions do not count."""
    rules = {"trigger": Trigger.MENTION}

    assert ask(make_message("@小桥\u2005几点", mentions=(BOT,)), **rules) == "几点"
    for mentions in ((), (OTHER,), (WcId("notify@all"),)):
        message = make_message("@小桥\u2005几点", mentions=mentions)
        assert ask(message, **rules) is IgnoreReason.NOT_MENTIONED


@pytest.mark.parametrize(
    ("text", "mentions", "expected"),
    [
        ("/ask 几点", (), "几点"),
        ("  /ask几点", (), "几点"),
        ("/ask2 几点", (), "几点"),
        ("@小桥\u2005/ask 几点", (BOT,), "几点"),
        ("问问几点", (), "问几点"),
        ("ask 几点", (), IgnoreReason.NO_PREFIX),
        ("几点 /ask", (), IgnoreReason.NO_PREFIX),
        ("@兰兰\u2005/ask 几点", (OTHER,), IgnoreReason.NO_PREFIX),
        ("/ask", (), IgnoreReason.NO_TEXT),
        ("/ask \u2005", (), IgnoreReason.NO_TEXT),
    ],
)
def test_prefix_trigger_takes_the_prefix_off(
    text: str, mentions: tuple[WcId, ...], expected: str | IgnoreReason
) -> None:
    """The longest prefix wins and is no part of the question."""
    verdict = ask(
        make_message(text, mentions=mentions),
        trigger=Trigger.PREFIX,
        prefixes=("/ask", "/ask2", "问", " ", ""),
    )

    assert verdict == expected


def test_the_bots_name_may_be_the_prefix() -> None:
    """Operators whose gateway sends no list of mentions write it so."""
    rules = {"trigger": Trigger.PREFIX, "prefixes": ("@小桥",)}

    assert ask(make_message("@小桥\u2005几点", mentions=(BOT,)), **rules) == "几点"
    assert ask(make_message("@小桥几点"), **rules) == "几点"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("请问报销怎么走", "请问报销怎么走"),
        ("how do VPNs work", "how do VPNs work"),
        ("STRASSE?", "STRASSE?"),
        ("午饭吃什么", IgnoreReason.NO_KEYWORD),
    ],
)
def test_keyword_trigger_finds_words_in_any_case(text: str, expected: object) -> None:
    """The words may stand anywhere; blank ones are no words."""
    rules = {"trigger": Trigger.KEYWORD, "keywords": ("报销", "vpn", "straße", "", "  ")}

    assert ask(make_message(text), **rules) == expected


def test_keywords_are_not_looked_for_in_the_bots_name() -> None:
    """Otherwise each mention would be a question."""
    message = make_message("@报销助手\u2005早", mentions=(BOT,))
    verdict = ask(message, trigger=Trigger.KEYWORD, keywords=("报销",))

    assert verdict is IgnoreReason.NO_KEYWORD


def test_regex_trigger_finds_the_pattern_anywhere() -> None:
    """Without a pattern nothing matches."""
    rules = {"trigger": Trigger.REGEX, "pattern": compile_pattern(r"(?i)工单\s*#?\d+|help\b")}

    assert ask(make_message("看下工单 #42"), **rules) == "看下工单 #42"
    assert ask(make_message("HELP me"), **rules) == "HELP me"
    assert ask(make_message("helpers"), **rules) is IgnoreReason.NO_MATCH
    assert ask(make_message("工单 1"), trigger=Trigger.REGEX) is IgnoreReason.NO_MATCH


@pytest.mark.parametrize("pattern", ["(a", "(?=a)", r"(a)\1", "[z-a]", "a{5000}", "a\ud83d"])
def test_a_wrong_pattern_is_refused_with_words(pattern: str) -> None:
    """The operator reads what is wrong, in one sentence."""
    with pytest.raises(ValueError, match="RE2"):
        compile_pattern(pattern)


def test_no_pattern_takes_longer_than_the_text_allows() -> None:
    """A pattern that is exponential elsewhere is linear here."""
    pattern = compile_pattern(r"^(a+)+$")
    started = time.process_time()

    assert pattern.search("a" * 200_000 + "b") is None
    assert time.process_time() - started < 1


@given(
    st.text(alphabet="@小桥 \u2005\n/ask报销1", max_size=30),
    st.lists(st.sampled_from([BOT, OTHER]), max_size=3),
    st.sampled_from(list(Trigger)),
)
def test_any_text_is_a_question_with_words_or_a_reason(
    text: str, mentions: list[WcId], trigger: Trigger
) -> None:
    """A question is never blank, and its words stand in the text."""
    verdict = ask(
        make_message(text, mentions=tuple(mentions)),
        trigger=trigger,
        prefixes=("/a",),
        keywords=("报销",),
        pattern=compile_pattern("1"),
    )

    if not isinstance(verdict, IgnoreReason):
        assert verdict.strip() == verdict != ""
        assert set(verdict) <= set(text)


def make_quote(text: str, *, of: WcId) -> GroupMessage:
    quoted = Quoted(sender=of, sender_name="小助手", text="先填表", is_text=True)
    return replace(make_message(text), quoted=quoted)


def test_a_quote_goes_to_dify_with_the_question() -> None:
    """Unless the rules say that only what was typed does."""
    message = make_quote("然后呢", of=OTHER)

    assert ask(message) == "「引用 小助手:先填表」\n然后呢"
    assert ask(message, tells_quoted=False) == "然后呢"


def test_a_quote_of_the_bot_counts_as_a_mention() -> None:
    """Whoever quotes its answer speaks to it; a quote of somebody else does not."""
    assert (
        ask(make_quote("然后呢", of=BOT), trigger=Trigger.MENTION, tells_quoted=False) == "然后呢"
    )
    assert (
        ask(make_quote("然后呢", of=OTHER), trigger=Trigger.MENTION) is IgnoreReason.NOT_MENTIONED
    )


def test_a_trigger_looks_at_what_was_typed_alone() -> None:
    """A prefix, keyword or pattern in the quoted message is not the person's."""
    message = make_quote("然后呢", of=OTHER)

    assert ask(message, trigger=Trigger.KEYWORD, keywords=("先填",)) is IgnoreReason.NO_KEYWORD
    assert ask(message, trigger=Trigger.PREFIX, prefixes=("先",)) is IgnoreReason.NO_PREFIX
    pattern = compile_pattern("先填")
    assert ask(message, trigger=Trigger.REGEX, pattern=pattern) is IgnoreReason.NO_MATCH


THIRD = WcId("wxid_third")
OWN = {BOT, OTHER, THIRD}


def decide_among(message: GroupMessage, *, offline: set[WcId], **rules: Any) -> Question | Ignored:
    """With three accounts of ours in the group."""
    verdict = decide(message, GroupRules(**rules), own_accounts=OWN, now=NOW, offline=offline)
    assert not isinstance(verdict, Feedback | Command)
    return verdict


@pytest.mark.parametrize("trigger", [Trigger.ALL, Trigger.MENTION])
@pytest.mark.parametrize(
    ("mentions", "offline", "is_answered"),
    [
        ((OTHER,), set(), False),
        ((OTHER,), {THIRD}, False),
        ((OTHER,), {OTHER}, True),
        ((OTHER, BOT), set(), True),
        ((OTHER, THIRD), {OTHER}, False),
        ((OTHER, THIRD), {OTHER, THIRD}, True),
        ((PERSON, BOT), set(), True),
    ],
)
def test_a_message_for_another_account_of_ours_is_left_to_it_while_it_is_online(
    trigger: Trigger, mentions: tuple[WcId, ...], offline: set[WcId], *, is_answered: bool
) -> None:
    """Left with what would be asked: as if it were for us, whatever the trigger."""
    text = "".join(f"@{one}\u2005" for one in mentions) + "几点下班"
    verdict = decide_among(make_message(text, mentions=mentions), offline=offline, trigger=trigger)

    if is_answered:
        assert isinstance(verdict, Question)
        return
    assert isinstance(verdict, Ignored)
    assert verdict.reason is IgnoreReason.OTHER_ACCOUNT
    assert verdict.detail == ",".join(mentions)
    assert verdict.question is not None
    assert verdict.question.text.endswith("几点下班")


def test_a_quote_of_another_account_of_ours_is_for_that_one() -> None:
    """As a mention is; also while it is offline."""
    message = make_quote("然后呢", of=OTHER)

    left = decide_among(message, offline=set(), trigger=Trigger.MENTION)
    taken = decide_among(message, offline={OTHER}, trigger=Trigger.MENTION)

    assert isinstance(left, Ignored)
    assert left.reason is IgnoreReason.OTHER_ACCOUNT
    assert isinstance(taken, Question)


def test_an_account_that_stands_in_takes_the_other_ones_mention_off() -> None:
    """Dify is asked what the other one would have been asked."""
    message = make_message("@二号\u2005几点下班", mentions=(OTHER,))

    verdict = decide_among(message, offline={OTHER}, trigger=Trigger.MENTION)

    assert isinstance(verdict, Question)
    assert verdict.text == "几点下班"


def test_nobody_mentioned_is_for_whoever_gets_it_and_rules_come_first() -> None:
    """An account that is off in this group leaves nothing to others: it has no part in it."""
    plain = decide_among(make_message("几点下班"), offline=set())
    off = decide_among(make_message("在吗", mentions=(OTHER,)), offline=set(), is_enabled=False)

    assert isinstance(plain, Question)
    assert isinstance(off, Ignored)
    assert off.reason is IgnoreReason.GROUP_OFF


OFFERED = ("怎么退货", "多久到账")
MENTION = {"trigger": Trigger.MENTION}


def choose(message: GroupMessage, **rules: Any) -> str | IgnoreReason:
    """As ``ask``, where two questions were suggested."""
    verdict = decide(message, GroupRules(**rules), own_accounts={BOT}, now=NOW, offered=OFFERED)
    return verdict.text if isinstance(verdict, Question) else verdict.reason


@pytest.mark.parametrize(
    "text",
    [
        "2",
        " 2\n",
        "2.",
        "2。",
        "2、",
        "\uff12",
        "\uff12\uff0e",
        "「2」",
        "(2)",
        "\uff082\uff09",
        "②",
    ],
)
def test_a_number_asks_what_was_suggested_whatever_the_trigger_is(text: str) -> None:
    """Nobody types a question again that stands there, nor an @ before a number."""
    assert choose(make_message(text)) == "多久到账"
    assert choose(make_message(text), **MENTION) == "多久到账"
    assert choose(make_message(f"#{text}"), trigger=Trigger.PREFIX, prefixes=("#",)) == "多久到账"


def test_a_number_below_the_quoted_list_asks_what_was_suggested_alone() -> None:
    """The list is how it was chosen, not what is asked; other words keep their quote."""
    assert choose(make_quote("2", of=BOT)) == "多久到账"
    assert choose(make_quote("9", of=BOT)) == "「引用 小助手:先填表」\n9"


@pytest.mark.parametrize("text", ["3", "0", "22", "2 个", "第2个", "2!", "-2", "", "二"])
def test_what_is_no_number_of_the_list_is_as_ever(text: str) -> None:
    """The trigger says what it is."""
    assert choose(make_message(f"{text} "), **MENTION) == IgnoreReason.NOT_MENTIONED
    assert choose(make_message(f"问 {text}")) == f"问 {text}".strip()


def test_a_number_behind_the_mention_of_the_bot_is_one() -> None:
    """Who is used to it may go on."""
    message = make_message("@小助手\u20051", mentions=(BOT,))

    assert choose(message, **MENTION) == "怎么退货"


def test_where_nothing_was_suggested_a_number_is_a_text() -> None:
    """Somebody may ask about a number."""
    assert ask(make_message("2")) == "2"
    assert ask(make_message("2"), **MENTION) == IgnoreReason.NOT_MENTIONED


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"is_enabled": False}, IgnoreReason.GROUP_OFF),
        ({"max_message_age": 60}, IgnoreReason.TOO_OLD),
    ],
)
def test_a_number_does_not_get_past_what_ignores_every_text(
    rules: dict[str, Any], reason: IgnoreReason
) -> None:
    """A group that is off stays silent, and a history is not answered."""
    assert choose(make_message("2", timestamp=int(NOW) - 61), **rules) == reason


@given(st.text(max_size=300))
def test_any_text_has_a_number_of_one_digit_or_none(text: str) -> None:
    """Whatever people write."""
    number = choice_of(make_message(text), GroupRules())

    assert number is None or 1 <= number <= 9


COLLEAGUE = WcId("wxid_bot2")


def told(text: str, *, mentions: tuple[WcId, ...] = (), **rules: Any) -> Command | None:
    """The command that somebody of the staff gives by a text."""
    message = make_message(text, mentions=mentions)
    staff = {"staff": frozenset({PERSON}), **rules}
    decision = decide(message, GroupRules(**staff), own_accounts={BOT, COLLEAGUE}, now=NOW)
    return decision if isinstance(decision, Command) else None


@pytest.mark.parametrize(
    ("text", "mentions"),
    [
        ("#撤回", ()),
        (" #撤回\n", ()),
        ("@小助手\u2005#撤回", (BOT,)),
        ("@小助手 #撤回", (BOT,)),
        ("@另一个\u2005#撤回", (COLLEAGUE,)),
    ],
)
@pytest.mark.parametrize("trigger", [Trigger.ALL, Trigger.MENTION])
def test_the_staff_has_an_answer_taken_back_whatever_the_trigger_is(
    text: str, mentions: tuple[WcId, ...], trigger: Trigger
) -> None:
    """With or without a mention of an account of ours."""
    command = told(text, mentions=mentions, trigger=trigger)

    assert command is not None
    assert (command.reason, command.quoted_id) == (IgnoreReason.COMMAND, "")


@pytest.mark.parametrize("text", ["#撤回吧", "请#撤回", "撤回", "＃撤回", "#撤回 #撤回", ""])
def test_anything_else_is_no_command(text: str) -> None:
    """Exactly the word and nothing else."""
    assert told(text) is None


@pytest.mark.parametrize("staff", [frozenset(), frozenset({OTHER})])
def test_the_command_of_anybody_else_is_an_ordinary_text(staff: frozenset[WcId]) -> None:
    """By default nobody is of the staff."""
    assert ask(make_message("#撤回"), staff=staff) == "#撤回"
    assert ask(make_message("#撤回"), staff=staff, trigger=Trigger.MENTION) == (
        IgnoreReason.NOT_MENTIONED
    )


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"is_enabled": False}, IgnoreReason.GROUP_OFF),
        ({"max_message_age": 5}, IgnoreReason.TOO_OLD),
    ],
)
def test_a_command_is_none_where_nothing_is_heard(
    rules: dict[str, Any], reason: IgnoreReason
) -> None:
    """A replayed history takes nothing back."""
    message = make_message("#撤回", timestamp=int(NOW) - 60)

    assert ask(message, staff=frozenset({PERSON}), **rules) is reason


def test_a_command_below_an_answer_means_that_one() -> None:
    """It quotes what is to be taken back."""
    quoted = Quoted(sender=BOT, new_msg_id="71", text="答", is_text=True)
    message = replace(make_message("#撤回"), quoted=quoted)
    rules = GroupRules(staff=frozenset({PERSON}))
    decision = decide(message, rules, own_accounts={BOT}, now=NOW)

    assert isinstance(decision, Command)
    assert decision.quoted_id == "71"


def test_a_muted_group_hears_questions_and_answers_none_until_the_time_is_over() -> None:
    """What is no question keeps its own reason; the staff may still have an answer taken back."""
    rules = GroupRules(muted_until=200, staff=frozenset({PERSON}))
    mentioned = GroupRules(muted_until=200, trigger=Trigger.MENTION)

    def outcome(text: str, rules: GroupRules, now: float = 100) -> object:
        return decide(make_message(text), rules, own_accounts=(BOT,), now=now)

    def reason(text: str, rules: GroupRules) -> IgnoreReason | None:
        return getattr(outcome(text, rules), "reason", None)

    assert reason("几点", rules) is IgnoreReason.MUTED
    assert reason("几点", mentioned) is IgnoreReason.NOT_MENTIONED
    assert isinstance(outcome("#撤回", rules), Command)
    assert isinstance(outcome("几点", rules, now=200), Question)
