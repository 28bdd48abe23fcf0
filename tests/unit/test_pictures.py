"""Pictures and files taken out of a text, whole and while it is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.flow import AnswerFile
from app.services.addresses import read_address
from app.services.dify.assembly import Assembly
from app.services.dify.wire import (
    ChatEvent,
    Ended,
    FileSaid,
    Frame,
    TextDelta,
    TextReplaced,
    WorkflowFinished,
)
from app.services.media import MediaRules
from app.services.pictures import MAX_HELD, MediaFilter, PictureScanner, without_media

RULES = MediaRules(base=read_address("https://dify.example.com/v1"), hosts=("img.example.com",))
HOST = "https://dify.example.com"
PNG = "/files/tools/a.png?timestamp=1&sign=x"
PDF = "/files/tools/b.pdf?timestamp=1&sign=y"


@pytest.mark.parametrize(
    ("text", "read", "urls"),
    [
        (f"前![图]({PNG})后", "前后", [HOST + PNG]),
        (f"一\n\n![图]({PNG})\n\n二", "一\n\n二", [HOST + PNG]),
        (f"一\n![图]({PNG})\n二", "一\n二", [HOST + PNG]),
        (f"- ![图]({PNG})\n- 二", "- 二", [HOST + PNG]),
        (f"![]({PNG})", "", [HOST + PNG]),
        (f'![图](<{PNG}> "题")好', "好", [HOST + PNG]),
        (f"[![图]({PNG})](https://x.net/page)好", "好", [HOST + PNG]),
        (f"见[报告]({PDF})。", "见报告。", [HOST + PDF]),
        (f"![一]({PNG})![二]({HOST}/b.png)", "", [HOST + PNG, HOST + "/b.png"]),
        ("![a](https://img.example.com/a(1).png)好", "好", ["https://img.example.com/a(1).png"]),
        # Left: another host, a page, code, what is no picture at all.
        ("![图](https://x.net/a.png)", "![图](https://x.net/a.png)", []),
        (f"[页]({HOST}/page)", f"[页]({HOST}/page)", []),
        ("[页](https://x.net/files/a.pdf?sign=1)", "[页](https://x.net/files/a.pdf?sign=1)", []),
        (f"`![图]({PNG})`", f"`![图]({PNG})`", []),
        (f"```md\n![图]({PNG})\n```\n好", f"```md\n![图]({PNG})\n```\n好", []),
        (f"~~~\n```\n![图]({PNG})\n~~~\n好", f"~~~\n```\n![图]({PNG})\n~~~\n好", []),
        ("![图](data:image/png;base64,AAAA)", "![图](data:image/png;base64,AAAA)", []),
        ("数组 a[0](x) 和 ![", "数组 a[0](x) 和 ![", []),
    ],
)
def test_a_text_without_its_pictures(text: str, read: str, urls: list[str]) -> None:
    """The words of a link stay; a line with nothing else in it goes."""
    found, files = without_media(text, RULES)

    assert found == read
    assert [file.url for file in files] == urls
    assert all(file.is_from_text for file in files)


TEXTS = st.lists(
    st.sampled_from(
        [
            "字",
            " ",
            "\n",
            "\n\n",
            "`",
            "```\n",
            "- ",
            "1. ",
            "!",
            "[",
            "](",
            ")",
            f"![图]({PNG})",
            f"[报告]({PDF})",
            "![别处](https://x.net/a.png)",
            "\r\n",
        ]
    ),
    max_size=25,
).map("".join)


@given(TEXTS, st.data())
def test_however_a_text_comes_it_is_read_alike(text: str, data: st.DataObject) -> None:
    """Cut anywhere; and nothing but pictures, links and empty lines is lost."""
    whole, files = without_media(text, RULES)
    scanner = PictureScanner(RULES)
    read, rest = "", text
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        read += scanner.feed(rest[:size])
        rest = rest[size:]
    read += scanner.finish()

    assert read == whole
    assert scanner.take_files() == files
    if not files:
        assert whole == text
    assert whole.count("字") == text.count("字")


def test_a_line_without_brackets_is_read_as_it_comes() -> None:
    """Nobody waits for its end; behind a bracket the line is waited for."""
    scanner = PictureScanner(RULES)

    assert scanner.feed("一段没有") == "一段没有"
    assert scanner.feed("图的话,见[1]") == "图的话,见"
    assert scanner.feed("和后面。\n") == "[1]和后面。\n"


def test_a_line_without_end_is_not_held_back_for_ever() -> None:
    """What is held is bounded."""
    scanner = PictureScanner(RULES)
    read = "".join(scanner.feed("[字字字") for _ in range(MAX_HELD))

    assert len(read) >= 4 * MAX_HELD - MAX_HELD - 4


def heard(*events: ChatEvent) -> Assembly:
    """What a reader has of them."""
    media, assembly = MediaFilter(RULES), Assembly()
    for event in events:
        for told in media.feed(event):
            assembly.feed(Frame(event=told))
    for told in media.finish():
        assembly.feed(Frame(event=told))
    return assembly


def test_a_file_that_is_told_and_shown_in_the_text_is_one() -> None:
    """Signed twice; those of the text come first."""
    tool = AnswerFile(url="/files/tools/a.png?sign=other", is_image=True)
    other = AnswerFile(url=PDF, name="b.pdf")
    answer = heard(
        FileSaid(file=other),
        FileSaid(file=tool),
        TextDelta(text=f"好![图]({PNG})"),
        Ended(files=(other,)),
    ).answer()

    assert answer.text == "好"
    assert [file.url for file in answer.files] == [HOST + PNG, HOST + PDF]
    assert answer.said == "好\n[图片:图]\n[文件:b.pdf]"


def test_a_replacement_takes_the_pictures_of_the_text_back() -> None:
    """And brings its own."""
    answer = heard(
        TextDelta(text=f"坏![图]({PNG})\n"),
        TextReplaced(text=f"好![图]({HOST}/c.png)"),
        Ended(),
    ).answer()

    assert answer.text == "好"
    assert [file.url for file in answer.files] == [HOST + "/c.png"]


def test_an_answer_that_is_nothing_but_a_picture_is_not_told_twice() -> None:
    """The run's output is the same text once more."""
    answer = heard(
        TextDelta(text=f"![图]({PNG})"),
        WorkflowFinished(status="succeeded", answer=f"![图]({PNG})"),
    ).answer()

    assert answer.text == ""
    assert [file.url for file in answer.files] == [HOST + PNG]
