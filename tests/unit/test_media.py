"""Which files of an answer are sent, and which are told as links."""

from dataclasses import replace

import pytest

from app.models.flow import Answer, AnswerFile, LinkReason, SegmentKind
from app.services.addresses import read_address
from app.services.media import MAX_FILES, MediaRules, file_segments, read_file_content

SIGNED = "/files/tools/5f1c.png?timestamp=1&nonce=2&sign=abc%3D"
RULES = MediaRules(
    base=read_address("https://dify.example.com/v1"), hosts=("img.example.com", "*.example.org")
)
INNER = replace(RULES, base=read_address("http://api:5001/v1"))
OUTER = replace(INNER, files_base=read_address("https://files.example.com/dify"))


def settled(rules: MediaRules, url: str) -> tuple[str, LinkReason | None] | None:
    """Where it is fetched, and why it is not sent."""
    file = rules.settle(AnswerFile(url=url, is_image=True))
    return None if file is None else (file.url, file.link_reason)


def test_a_path_belongs_to_the_host_of_the_app() -> None:
    """Not below the path of its API."""
    assert settled(RULES, SIGNED) == (f"https://dify.example.com{SIGNED}", None)
    assert settled(RULES, f"https://dify.example.com{SIGNED}") == (
        f"https://dify.example.com{SIGNED}",
        None,
    )


def test_a_dify_of_an_inner_network_has_its_files_sent_by_the_address_from_outside() -> None:
    """Whatever it calls itself; an address from outside stays."""
    outside = f"https://files.example.com/dify{SIGNED}"
    for url in (SIGNED, f"http://api:5001{SIGNED}", f"http://127.0.0.1:5001{SIGNED}", outside):
        assert settled(OUTER, url) == (outside, None)


def test_without_one_its_files_are_told_as_links() -> None:
    """The gateway could not fetch them."""
    assert settled(INNER, SIGNED) == (f"http://api:5001{SIGNED}", LinkReason.PRIVATE_HOST)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://img.example.com/a.png", None),
        ("https://a.example.org/a.png", None),
        ("https://elsewhere.net/a.png", LinkReason.FOREIGN_HOST),
        ("http://10.0.0.1/a.png", LinkReason.FOREIGN_HOST),
        ("http://169.254.169.254/latest", LinkReason.FOREIGN_HOST),
    ],
)
def test_of_other_hosts_only_those_that_are_allowed_are_sent(
    url: str, reason: LinkReason | None
) -> None:
    """An inner address never is, unless it is that of a signed file of the app."""
    for rules in (RULES, OUTER):
        assert settled(rules, url) == (url, reason)


def test_an_inner_host_is_not_sent_even_if_it_is_allowed() -> None:
    """Nobody outside could fetch it."""
    rules = replace(RULES, hosts=("10.0.0.1",))

    assert settled(rules, "http://10.0.0.1/a.png") == (
        "http://10.0.0.1/a.png",
        LinkReason.PRIVATE_HOST,
    )


@pytest.mark.parametrize("url", ["", "//evil.net/a", "data:image/png;base64,AA", "a.png", "x:y"])
def test_what_is_no_address_is_nothing(url: str) -> None:
    """Nor is an address too long to be handed on."""
    assert settled(RULES, url) is None
    assert settled(RULES, "/files/" + "a" * 3000) is None


def test_switched_off_everything_is_a_link() -> None:
    """With a whole address, so that it can be opened."""
    rules = replace(RULES, is_on=False)

    assert settled(rules, SIGNED) == (f"https://dify.example.com{SIGNED}", LinkReason.OFF)


def test_files_follow_the_text_in_order_and_links_come_together_behind_them() -> None:
    """A file has its name with it."""
    files = (
        AnswerFile(url="https://a.example.org/1.png", name="一", is_image=True),
        AnswerFile(url="https://x.net/2.png", is_image=True, link_reason=LinkReason.FOREIGN_HOST),
        AnswerFile(url="https://a.example.org/3.pdf", name="三.pdf"),
        AnswerFile(url="https://x.net/4.pdf", name="四.pdf", link_reason=LinkReason.FOREIGN_HOST),
    )
    segments = file_segments(Answer(text="好", files=files), start=2)

    assert [(one.seq, one.kind, one.content) for one in segments] == [
        (2, SegmentKind.IMAGE, "https://a.example.org/1.png"),
        (3, SegmentKind.FILE, "三.pdf\nhttps://a.example.org/3.pdf"),
        (4, SegmentKind.TEXT, "[图片] (https://x.net/2.png)\n[文件:四.pdf] (https://x.net/4.pdf)"),
    ]
    assert read_file_content(segments[1].content) == ("三.pdf", "https://a.example.org/3.pdf")


def test_more_files_than_an_account_should_send_at_once_become_links() -> None:
    """The first ones are sent."""
    files = tuple(
        AnswerFile(url=f"https://a.example.org/{i}.png", is_image=True)
        for i in range(MAX_FILES + 2)
    )
    segments = file_segments(Answer(text="", files=files), start=0)

    assert [one.kind for one in segments] == [SegmentKind.IMAGE] * MAX_FILES + [SegmentKind.TEXT]
    assert len(segments[-1].content.splitlines()) == 2
