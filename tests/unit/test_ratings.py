"""What people write below an answer, and what of it is a feedback."""

import pytest

from app.models.content import Quoted
from app.models.flow import (
    Feedback,
    GroupMessage,
    Ignored,
    IgnoreReason,
    Origin,
    Question,
    Rating,
    WcId,
)
from app.services.decide import GroupRules, decide
from app.services.ratings import DISLIKES, LIKES, rating_of
from tests.fixtures.bridge import ROOT

BOT = WcId("wxid_bot")


def quotation(text: str, *, sender: str = "wxid_a", of: str = BOT) -> GroupMessage:
    """Below segment 71, or another message."""
    origin = Origin(
        bot_wc_id=BOT, from_user=WcId(sender), group_id=WcId("1@chatroom"), timestamp=1000
    )
    quoted = Quoted(sender=WcId(of), new_msg_id="71", text="答", is_text=True)
    return GroupMessage(origin=origin, text=text, quoted=quoted)


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        *((word, Rating.LIKE) for word in sorted(LIKES)),
        *((word, Rating.DISLIKE) for word in sorted(DISLIKES)),
        (" 赞! ", Rating.LIKE),
        ("👍🏽", Rating.LIKE),
        ("👎\ufe0f", Rating.DISLIKE),
        ("赞成", None),
        ("不赞", None),
        ("", None),
        ("!", None),
        ("赞" * 21, None),
    ],
)
def test_a_word_of_the_list_alone_is_a_rating(text: str, rating: Rating | None) -> None:
    """A sentence is none: nobody guesses what it means."""
    assert rating_of(text) is rating


def test_the_words_stand_in_the_manual() -> None:
    """Operators tell people what to write."""
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    [line] = [one for one in page.splitlines() if one.startswith("- 评价:")]

    assert all(f"`{word}`" in line for word in LIKES | DISLIKES)


def test_a_rating_below_an_answer_is_feedback_whatever_the_trigger_is() -> None:
    """It needs no @."""
    decision = decide(quotation("踩"), GroupRules(), own_accounts={BOT}, now=1000)

    assert isinstance(decision, Feedback)
    assert (decision.rating, decision.quoted_id) == (Rating.DISLIKE, "71")


@pytest.mark.parametrize(
    ("said", "rules", "reason"),
    [
        (quotation("赞"), GroupRules(is_enabled=False), IgnoreReason.GROUP_OFF),
        (quotation("赞"), GroupRules(max_message_age=10), IgnoreReason.TOO_OLD),
        (quotation("赞", sender=BOT), GroupRules(), IgnoreReason.OWN_MESSAGE),
    ],
)
def test_what_is_ignored_whatever_it_says_is_no_feedback(
    said: GroupMessage, rules: GroupRules, reason: IgnoreReason
) -> None:
    """A group that is off stays silent."""
    decision = decide(said, rules, own_accounts={BOT}, now=1011)

    assert isinstance(decision, Ignored)
    assert decision.reason is reason


@pytest.mark.parametrize(
    ("said", "rules"),
    [
        (quotation("几点下班"), GroupRules()),
        (quotation("赞"), GroupRules(takes_feedback=False)),
        (quotation("赞", of="wxid_b"), GroupRules()),
    ],
)
def test_what_is_no_feedback_is_a_question_as_ever(said: GroupMessage, rules: GroupRules) -> None:
    """Another text, below another person's message, or where nobody is told."""
    decision = decide(said, rules, own_accounts={BOT}, now=1000)

    assert isinstance(decision, Question)
    assert decision.text.endswith(said.text)
