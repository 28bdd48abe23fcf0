"""What waits for a question: sent since the last one, and kept in the row of its own message."""

from dataclasses import dataclass

import pytest

from app.models.flow import Ignored, IgnoreReason, MemberFile, Origin, WcId
from app.models.message import MessageState
from app.services.attachments import MAX_FILES, files_before
from app.services.decide import GroupRules, decide_file
from app.services.inbox_rows import file_of_text, file_text

BOT, PERSON = WcId("wxid_bot"), WcId("wxid_a")


@dataclass
class Row:
    """A message of the person, as it is read."""

    state: MessageState
    verdict: str = ""
    text: str | None = None
    twin_of: int | None = None
    id: int = 0


def file(number: int) -> MemberFile:
    """One of several."""
    return MemberFile(msg_id=str(number), content=f"<msg {number}/>", is_image=True)


def sent(number: int) -> Row:
    """It waits."""
    return Row(MessageState.IGNORED, IgnoreReason.ATTACHMENT, file_text(file(number)))


TALK = Row(MessageState.IGNORED, IgnoreReason.NOT_MENTIONED)


def test_what_was_sent_since_the_last_question_goes_along_in_order() -> None:
    """Talk in between does not matter; rows come newest first."""
    rows = [sent(3), TALK, sent(2), Row(MessageState.DONE, "answered"), sent(1)]

    assert files_before(rows) == (file(2), file(3))


@pytest.mark.parametrize(
    "state",
    [
        MessageState.RECEIVED,
        MessageState.PROCESSING,
        MessageState.ANSWERED,
        MessageState.DONE,
    ],
)
def test_a_question_takes_what_was_before_it(state: MessageState) -> None:
    """However far it is."""
    assert files_before([Row(state), sent(1)]) == ()


def test_another_accounts_copy_of_a_question_takes_what_was_before_it() -> None:
    """The account that answered it gave it what it had itself."""
    copy = Row(MessageState.IGNORED, IgnoreReason.OTHER_ACCOUNT, twin_of=5)

    assert files_before([sent(2), copy, sent(1)]) == (file(2),)


def test_a_reply_to_a_form_takes_nothing() -> None:
    """Nothing goes along with it."""
    assert files_before([Row(MessageState.DONE, id=3), sent(1)], {3}) == (file(1),)


def test_files_of_one_question_are_bounded() -> None:
    """The newest count."""
    found = files_before([sent(number) for number in range(50, 0, -1)])

    assert len(found) == MAX_FILES
    assert found[-1] == file(50)


@pytest.mark.parametrize("text", [None, "", "{", "[]", "3", '{"msg_id": "1"}', '{"new": 1}'])
def test_what_is_gone_or_of_another_release_is_none(text: str | None) -> None:
    """The retention of texts takes it; an older release does not know it."""
    assert file_of_text(text) is None
    assert files_before([Row(MessageState.IGNORED, IgnoreReason.ATTACHMENT, text)]) == ()


@pytest.mark.parametrize(
    ("rules", "own", "reason"),
    [
        (GroupRules(), False, IgnoreReason.ATTACHMENT),
        (GroupRules(is_enabled=False), False, IgnoreReason.GROUP_OFF),
        (GroupRules(max_message_age=60), False, IgnoreReason.TOO_OLD),
        (GroupRules(), True, IgnoreReason.OWN_MESSAGE),
    ],
)
def test_a_picture_waits_unless_its_sender_would_not_be_answered(
    rules: GroupRules, reason: IgnoreReason, *, own: bool
) -> None:
    """By the group's own rules but for the trigger: nobody can mention the bot in a picture."""
    origin = Origin(bot_wc_id=BOT, from_user=PERSON, timestamp=1000)
    ignored = Ignored(origin=origin, reason=IgnoreReason.UNSUPPORTED_TYPE, file=file(1))
    decided = decide_file(ignored, rules, own_accounts={BOT, PERSON} if own else {BOT}, now=2000.0)

    assert decided.reason is reason
