"""What a chat shows in the place of Markdown."""

import re
import subprocess
import sys
import time
from html import unescape
from itertools import pairwise
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from app.services.plain_text import PlainText, plain_text

PLAIN = PlainText()

#: Reason, Markdown, what a person reads.
CASES = [
    # Headings.
    ("first_rank_in_brackets", "# 标题\n\n正文", "【标题】\n\n正文"),
    ("second_rank_in_brackets", "## 标题 ##\n正文", "【标题】\n正文"),
    ("deeper_rank_is_a_line", "### 小标题\n\n正文", "小标题\n\n正文"),
    ("marks_within_a_heading_go", "## **一、`总则`**", "【一、总则】"),
    ("brackets_are_not_doubled", "# 【公告】", "【公告】"),
    ("line_above_equals_signs", "标题\n===\n正文", "【标题】\n正文"),
    ("line_above_hyphens", "标题\n---\n\n正文", "【标题】\n\n正文"),
    ("rule_below_a_sentence", "先说结论。\n---\n再说理由。", "先说结论。\n————————\n再说理由。"),
    ("rule_below_a_paragraph", "一行\n又一行\n---\n后", "一行\n又一行\n————————\n后"),
    # Paragraphs and line breaks.
    ("one_empty_line_between_paragraphs", "**一**\n\n\n\n二", "一\n\n二"),
    ("soft_break_is_a_break", "**一**\n二", "一\n二"),
    ("hard_break_by_blanks", "**一**  \n二", "一\n二"),
    ("hard_break_by_backslash", "一\\\n二", "一\n二"),
    ("indent_of_a_paragraph_stays", "　　**首**段\n  第二行", "　　首段\n  第二行"),
    ("rule", "上\n\n***\n\n下", "上\n\n————————\n\n下"),
    # Emphasis.
    ("emphasis_strong_and_strike", "*斜* **粗** ***都*** ~~删~~", "斜 粗 都 删"),
    ("underscores_as_marks", "_slanted_ and __bold__", "slanted and bold"),
    ("ascii_colon_before_chinese", "**重点:**后面", "重点:后面"),
    ("full_width_colon_before_chinese", "**重点：**后面", "重点：后面"),
    ("colon_before_latin", "**注意:**API 变了", "注意:API 变了"),
    ("quotation_marks_in_strong", "他说**“不行”**就走了", "他说“不行”就走了"),
    ("brackets_in_strong", "这是**（必填）**字段", "这是（必填）字段"),
    ("percent_sign_in_strong", "涨了**46%**左右", "涨了46%左右"),
    ("code_in_strong", "用**`make`**编译", "用make编译"),
    ("chinese_strike", "~~原价：~~现价", "原价：现价"),
    ("strong_parts_side_by_side", "**甲**，**乙**；**丙。**丁", "甲，乙；丙。丁"),
    ("slanted_in_bold", "**粗*斜*粗**字", "粗斜粗字"),
    ("strong_over_two_lines", "**一\n二**三", "一\n二三"),
    # Code.
    ("inline_code", "运行 `pip install` 吧", "运行 pip install 吧"),
    ("inline_code_with_backticks", "`` a`b ``", "a`b"),
    ("code_block_keeps_indent", "看\n```py\nif a:\n    b()\n```\n完", "看\n\nif a:\n    b()\n\n完"),
    ("code_block_with_empty_lines", "```\na\n\n\nb\n```", "a\n\n\nb"),
    ("tilde_block", "~~~\na\n~~~", "a"),
    ("open_block_runs_to_the_end", "```\na\n b", "a\n b"),
    ("indented_code_stays_indented", "**看**\n\n    a\n      b", "看\n\n    a\n      b"),
    ("chinese_behind_the_fence_is_read", "``` 如下\na\n```", "如下\na"),
    ("empty_code_block_is_nothing", "a\n\n```\n```\n\n**b**", "a\n\nb"),
    # Lists.
    ("bullets", "- 一\n- 二", "• 一\n• 二"),
    ("all_kinds_of_bullets", "* 一\n\n+ 二", "• 一\n\n• 二"),
    ("loose_list_is_closed_up", "- 一\n\n- 二", "• 一\n• 二"),
    ("numbers_from_three", "**步骤**\n\n3. 三\n4. 四", "步骤\n\n3. 三\n4. 四"),
    ("numbers_that_do_not_count", "**a**\n1. 一\n1. 二\n1. 三", "a\n1. 一\n2. 二\n3. 三"),
    ("numbers_that_begin_again", "1. **一**\n2. 二\n\n1. 三", "1. 一\n2. 二\n1. 三"),
    ("numbers_with_a_gap", "1. **一**\n3. 三", "1. 一\n3. 三"),
    ("numbers_with_bracket", "1) **一**\n2) 二", "1) 一\n2) 二"),
    ("two_blanks_per_level", "- 一\n    - 二\n        - 三", "• 一\n  • 二\n    • 三"),
    ("two_blanks_below_numbers", "1. 一\n   - 二\n   - 三\n2. 四", "1. 一\n  • 二\n  • 三\n2. 四"),
    ("numbers_in_numbers", "1. 一\n   1. 二\n   2. 三\n2. 四", "1. 一\n  1. 二\n  2. 三\n2. 四"),
    ("too_little_indent_below_numbers", "1. 一\n  - 二\n2. 三", "1. 一\n  • 二\n2. 三"),
    ("tasks", "- [x] 做了\n- [ ] 没做\n- 其他", "☑ 做了\n☐ 没做\n• 其他"),
    ("numbered_tasks", "1. [X] 做了", "1. ☑ 做了"),
    ("list_close_to_its_introduction", "包括：\n- 一\n- 二", "包括：\n• 一\n• 二"),
    ("list_away_from_its_introduction", "包括：\n\n- 一", "包括：\n\n• 一"),
    ("second_line_of_an_item", "- 一\n  续\n- 二", "• 一\n  续\n• 二"),
    ("second_paragraph_of_an_item", "- 一\n\n  续\n- 二", "• 一\n  续\n• 二"),
    ("code_in_an_item", "1. 一\n   ```\n   a\n     b\n   ```\n2. 二", "1. 一\n\na\n  b\n\n2. 二"),
    ("item_that_begins_with_code", "- ```\n  a\n  ```\n- 二", "•\n\na\n\n• 二"),
    ("strong_begins_of_items", "- **甲：**一\n- **乙**：二", "• 甲：一\n• 乙：二"),
    # Tables.
    ("two_columns", "|项|值|\n|-|-|\n|**甲**|1|\n|乙||", "项:值\n甲:1\n乙"),
    (
        "three_columns",
        "看\n|名|年龄|城市|\n|:-|:-:|-:|\n|兰|18|北京|\n|明||上海|",
        "看\n\n兰\n年龄:18\n城市:北京\n\n明\n城市:上海",
    ),
    ("one_column", "|名|\n|-|\n|兰|\n|明|", "名\n兰\n明"),
    ("no_rows", "|a|b|c|\n|-|-|-|", "a、b、c"),
    ("first_cell_empty", "|a|b|c|\n|-|-|-|\n||2|3|", "b:2\nc:3"),
    ("column_without_a_name", "|a||c|\n|-|-|-|\n|1|2|3|", "1\n2\nc:3"),
    ("colon_in_the_header", "|a|价格：|c|\n|-|-|-|\n|1|2|3|", "1\n价格:2\nc:3"),
    ("break_and_pipe_in_a_cell", "|a|b|\n|-|-|\n|x<br>y|p\\|q|", "a:b\nx y:p|q"),
    # Links and images.
    ("link", "见[文档](https://a.example/b_c_d)。", "见文档(https://a.example/b_c_d)。"),
    ("link_with_a_title", '[文档](https://a.example "题")', "文档(https://a.example)"),
    ("text_is_the_address", "[https://a.example/](https://a.example)", "https://a.example"),
    ("text_is_the_host", "[a.example](https://a.example)", "https://a.example"),
    ("text_has_the_address", "[见 https://a.example](https://a.example)", "见 https://a.example"),
    ("autolink", "<https://a.example/x_y_z>", "https://a.example/x_y_z"),
    ("mail_autolink", "<a@b.example>", "a@b.example"),
    ("mailto", "[写信](mailto:a@b.example?subject=x)", "写信(a@b.example)"),
    ("relative_target", "[下载](/files/1) [锚](#a) [空]()", "下载 锚 空"),
    ("link_without_text", "[](https://a.example)", "https://a.example"),
    (
        "link_by_label",
        "[文档][1] [1]\n\n[1]: https://a.example",
        "文档(https://a.example) 1(https://a.example)",
    ),
    (
        "unused_definition_is_text",
        "**来源**\n\n[1]: https://a.example",
        "来源\n\n[1]: https://a.example",
    ),
    ("speech_is_no_definition", "**记录**\n\n[兰兰]: 明天见", "记录\n\n[兰兰]: 明天见"),
    (
        "chinese_address_can_be_opened",
        "[百科](https://a.example/微信)",
        "百科(https://a.example/%E5%BE%AE%E4%BF%A1)",
    ),
    ("strong_link", "**[文档](https://a.example)**：好", "文档(https://a.example)：好"),
    ("strong_address", "**https://a.example/b**", "https://a.example/b"),
    ("image", "![猫 图](https://a.example/1.png)", "[图片:猫 图] (https://a.example/1.png)"),
    ("image_without_caption", "![](https://a.example/1.png)", "[图片] (https://a.example/1.png)"),
    (
        "image_that_cannot_be_opened",
        "![图](/files/1.png)![](data:image/png;base64,AA)",
        "[图片:图][图片]",
    ),
    ("image_in_a_link", "[![徽章](b.png)](https://a.example)", "[图片:徽章] (https://a.example)"),
    # Quotations.
    ("quotation", "> 一\n> 二\n\n后", "「一\n二」\n\n后"),
    ("quotation_of_paragraphs", "> 一\n>\n> 二", "「一\n\n二」"),
    ("quotation_in_a_quotation", "> 一\n> > 二", "「一\n『二』」"),
    ("list_in_a_quotation", "> - 一\n> - 二", "「• 一\n• 二」"),
    ("code_in_a_quotation", "> ```\n> a\n> ```", "「\na\n」"),
    ("comparison_is_no_quotation", "**a**\n\n>=5 的算\n\n>5 人", "a\n\n>=5 的算\n\n>5 人"),
    # Footnotes.
    (
        "footnote",
        "水[^1]是湿的。\n\n[^1]: 见**书**。\n\n完。",
        "水[1]是湿的。\n\n完。\n\n[1] 见书。",
    ),
    (
        "footnotes_side_by_side",
        "a[^1]b[^x]\n\n[^1]: 一\n[^x]: 二\n续",
        "a[1]b[x]\n\n[1] 一\n[x] 二\n续",
    ),
    ("number_without_a_footnote", "**水**[^2]", "水[2]"),
    ("class_of_a_regex_is_no_footnote", "**用** [^abc]+", "用 [^abc]+"),
    # HTML.
    ("br", "一<br>二<br/>三", "一\n二\n三"),
    ("tags_go_and_their_text_stays", '<span style="a">红</span>的<u>线</u>', "红的线"),
    ("tags_alone_in_their_lines", "<div>\n**一**\n</div>\n\n二", "一\n\n二"),
    ("tags_without_text_are_nothing", "**一**\n\n  <b></b>\n\n二", "一\n\n二"),
    ("details", "<details><summary>详情</summary>\n\n内容\n</details>", "详情\n\n内容"),
    ("paragraphs_of_html", "<p>一</p><p>二</p>", "一\n二"),
    ("cells_of_html", "<table><tr><td>a</td><td>b</td></tr></table>", "a b"),
    ("comment_in_a_line", "一<!-- 注 -->二", "一二"),
    ("comment_of_lines", "一\n\n<!-- 注\n\n注 -->\n\n二", "一\n\n二"),
    ("comment_alone_is_nothing", "<!-- 注 -->", ""),
    ("comment_without_end_is_text", "**一** <!-- 二", "一 <!-- 二"),
    ("any_tag_with_an_end", "<answer>**好**</answer>", "好"),
    ("entities", "A&amp;B &copy; &#20320;", "A&B © 你"),
    ("less_than", "**a** < b 且 c > d", "a < b 且 c > d"),
    ("type_parameters_are_no_tags", "**用** List<String> 和 <token>", "用 List<String> 和 <token>"),
    ("name_in_angles_is_no_address", "**用** <std::vector>", "用 <std::vector>"),
    # Formulas.
    ("formula", "**设** $a_1 + b_1$ 与 $x*y*z$", "设 $a_1 + b_1$ 与 $x*y*z$"),
    ("escapes_in_a_formula", r"**设** $\{a\}$ 与 $$\{*b*\}$$", r"设 $\{a\}$ 与 $$\{*b*\}$$"),
    ("displayed_formula", "**有** $$a_1*b*c_1$$ 成立", "有 $$a_1*b*c_1$$ 成立"),
    (
        "formula_of_lines",
        "**有**\n$$\na\n= b_1\n+ c_1\n$$\n**完**",
        "有\n$$\na\n= b_1\n+ c_1\n$$\n完",
    ),
    ("formula_in_round_brackets", r"**设** \(a_1 * b_1 * c\)", r"设 \(a_1 * b_1 * c\)"),
    ("formula_in_square_brackets", "**有**\n\\[\nx_1 = y_1\n\\]", "有\n\\[\nx_1 = y_1\n\\]"),
    ("prices_are_no_formula", "花 $5 买**苹果**，花 $6 买**梨**", "花 $5 买苹果，花 $6 买梨"),
    ("marks_between_prices", "从 $5 到*大约*$6", "从 $5 到大约$6"),
    ("strong_between_dollars", "**5$** 和 **6$**", "5$ 和 6$"),
]

#: Without Markdown: comes out as it is.
UNMARKED = [
    ("multiplication_with_blanks", "2 * 3 * 4"),
    ("multiplication_without_blanks", "2*3*4=24，单价*3，a*b*c"),
    ("powers", "x**2 + y**2 = 10**2"),
    ("masked_number", "138****8000 和 139****9000"),
    ("masked_names", "张**、李**、王** 都来了"),
    ("wildcards", "删除 *.log，*.tmp"),
    ("stars_in_brackets", "COUNT(*) 和 SUM(*)"),
    ("snake_case", "snake_case_name 和 __init__file"),
    ("topic", "#话题 文字 #另一个#"),
    ("chinese_numbering", "1、第一\n2、第二\n（3）第三"),
    ("number_and_point_without_blank", "1.第一\n2.第二\n3.14"),
    ("numbered_list", "步骤：\n1. 第一\n2. 第二"),
    ("telephone", "+86 138-0013-8000 或 010-1234 5678"),
    ("address_with_underscores", "https://a.example/_x_/y_z?q=_1_&r=~~2~~ 见"),
    ("nicknames", "@昵称 @a_b_c 你好"),
    ("chinese_punctuation", "“好”，《书》……（是）——【对】；！"),
    ("tilde_range", "3~5 个，好的~~ 再见~~"),
    ("empty_lines", "一\n\n\n\n二\n"),
    ("indents", "　　一\n    二\n  三"),
    ("ascii_face", "(^_^) T_T >_< :-)"),
    ("single_marks", "# 不是标题".replace(" ", "")),
    ("brackets", "[重要] 通知[1]：见附件 (一)"),
    ("open_strong", "**没有写完"),
    ("single_hyphen", "-"),
    ("single_number_sign", "#"),
    ("single_angle", ">"),
    ("arrow_and_emoji", "a -> b => c 👍🏽 ❤️"),
    ("path", r"C:\Users\lan\a"),
    ("time_and_ratio", "12:30 比分 3:2 |"),
    ("dollar_words", "$PATH 和 $HOME"),
    ("double_at_line_end", "一\u3000二"),
]

#: The plain text of these is Markdown of something else; reading it once more would change it.
AMBIGUOUS = [
    ("footnote_in_code_is_code", "```\na[^1]\n[^1]: b\n```", "a[^1]\n[^1]: b"),
    ("escapes", r"\*不是斜体\* 1\. \# \[a\](b)", "*不是斜体* 1. # [a](b)"),
    ("marks_in_code", "`**a**` 和 `<b>`", "**a** 和 <b>"),
    ("heading_in_code", "```\n# a\n```", "# a"),
    ("tag_by_entities", "&lt;br&gt;", "<br>"),
]

READ = [pytest.param(text, seen, id=reason) for reason, text, seen in CASES + AMBIGUOUS]
SEEN = [pytest.param(seen, id=reason) for reason, _, seen in CASES]
PROSE = [pytest.param(text, id=reason) for reason, text in UNMARKED]

WORDS = st.text("abcxyz甲乙丙丁好的你我", min_size=1, max_size=5)
SENTENCES = st.lists(WORDS, min_size=1, max_size=6).map(" ".join)
#: Marks that neither hide letters nor name anything.
OPEN_MARKS = [
    "*",
    "**",
    "_",
    "__",
    "#",
    "# ",
    "> ",
    "- ",
    "1. ",
    "\n",
    "\n\n",
    " ",
    "    ",
    "\t",
    "\\",
]
OPEN_MARKS += [
    "`",
    "~~",
    "：",
    "。",
    "“",
    "）",
    ":",
    "$",
    "+ ",
    "---",
    "===",
    "(",
    "!",
    "a",
    "b",
    "字",
    "文",
]
ALL_MARKS = [
    *OPEN_MARKS,
    "[",
    "](",
    "]",
    "<",
    "</",
    ">",
    "|",
    "|-|-|\n",
    "```",
    "~~~",
    "[^1]",
    "[^1]: ",
]
ALL_MARKS += [
    "<br>",
    "<b>",
    "<!--",
    "-->",
    "&amp;",
    "&#0;",
    "![",
    "https://a.example/_",
    "<https://",
    "\\(",
]
ALL_MARKS += [
    "\\)",
    "$$",
    "\\[",
    "\\]",
    "- [x] ",
    "]: ",
    "\r",
    "\x00",
    "\u3000",
    "\ud800",
    "mailto:",
    "1)",
]
NOISE = ["[", "*", ">", "`", "~~", "_", "$", "$$", "<", "![", "\\(", "\\[ ", "<!--", "&", "|", "- "]
NOISE += ["*a ", "**a* ", "[a](", "[^1]", "[^1]: a\n", "[a]: /b\n", "a\n", "> a\n", "$$\n", "<a "]
NOISE += ["|a|\n", "1. a\n", "# a\n", "https://", "*a_ ", "a**b", "<b>", "\\[\n", "<!--\n", "> - "]
NOISE += [" ", "「", "\n", "\\", "](", "a\n- ", "字", "~a~ "]


def join_marks(marks: list[str]) -> st.SearchStrategy[str]:
    """Texts of these pieces."""
    return st.lists(st.sampled_from(marks), max_size=40).map("".join)


def letters(text: str, others: str = "") -> str:
    """The letters of a text, Chinese ones included, in order, and the *others*."""
    return "".join(char for char in text if char.isalpha() or char in others)


def is_within(part: str, whole: str) -> bool:
    """Whether all characters of *part* are in *whole*, in this order."""
    rest = iter(whole)
    return all(char in rest for char in part)


@pytest.mark.parametrize(("text", "seen"), READ)
def test_markdown_reads_as_a_person_would_write_it(text: str, seen: str) -> None:
    """Each case is named by its reason."""
    assert PLAIN.of(text) == seen


@pytest.mark.parametrize("seen", SEEN)
def test_plain_text_of_plain_text_is_the_same(seen: str) -> None:
    """A text may be read twice."""
    assert PLAIN.of(seen) == seen


@pytest.mark.parametrize("text", PROSE)
def test_a_text_without_markdown_comes_out_as_it_is(text: str) -> None:
    """Byte for byte."""
    assert PLAIN.of(text) == text.rstrip()


def test_line_ends_are_unified_and_trailing_blanks_go() -> None:
    """Nobody sees either."""
    assert PLAIN.of("一 \r\n二\t\r三\r\n\r\n") == "一\n二\n三"


def test_a_single_text_needs_no_parts() -> None:
    """The function is the class for one text."""
    assert plain_text("**一**\n\n- 二") == "一\n\n• 二"


def test_one_text_knows_nothing_of_the_one_before_it() -> None:
    """Footnotes, definitions and end tags count within their text."""
    PLAIN.of("[^a] [b] [b] <x>\n\n[^a]: 一\n[b]: https://a.example\n</x>")

    assert PLAIN.of("**c** [^a] [b] [b] <x>") == "c [^a] [b] [b] <x>"


def test_the_library_is_loaded_with_the_first_text() -> None:
    """A process in which no group wants plain text does not pay for it."""
    code = (
        "import sys; from app.services.plain_text import PlainText; plain = PlainText(); "
        "before = 'markdown_it' in sys.modules; plain.of('*a*'); "
        "print(before, 'markdown_it' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout.split() == ["False", "True"]


@pytest.mark.parametrize("depth", [5, 19, 20, 21, 200])
@pytest.mark.parametrize("mark", ["> ", "- ", "1. ", "> - ", "*", "**", "[", "![", "字~~", "<b>"])
def test_however_deep_a_word_is_it_is_read(mark: str, depth: int) -> None:
    """The library leaves out what is nested deeper than it likes."""
    text = PLAIN.of(mark * depth + "深处\n\n> 之后")

    assert "深处" in text
    assert text.endswith("「之后」")


@pytest.mark.parametrize("part", NOISE)
def test_noise_costs_no_more_than_it_is_long(part: str) -> None:
    """Ten thousand marks do not stop the process."""
    started = time.process_time()
    PLAIN.of(part * 10_000)

    assert time.process_time() - started < 5


@given(st.one_of(join_marks(ALL_MARKS), st.text(st.characters(exclude_categories=()))))
def test_no_text_is_too_odd(text: str) -> None:
    """Any characters, any marks: a text without trailing blanks comes out."""
    seen = PLAIN.of(text)

    assert all(line == line.rstrip() for line in seen.split("\n"))
    assert not seen.endswith("\n")


@given(join_marks(OPEN_MARKS).filter(lambda text: "```" not in text and "~~~" not in text))
def test_marks_that_hide_nothing_lose_no_letter(text: str) -> None:
    """Whatever they enclose or leave open: the same letters and Chinese marks in the same order."""
    assert letters(PLAIN.of(text), "：。“）") == letters(text, "：。“）")


@given(join_marks([mark for mark in ALL_MARKS if not re.search(r"\||\[\^|\[x", mark)]))
def test_what_the_library_would_show_is_there(text: str) -> None:
    """All letters of its HTML, in order, among others: addresses, and what its HTML hides."""
    html = MarkdownIt("commonmark").enable("strikethrough").render(text)
    shown = unescape(re.sub(r"<!--.*?-->|<[^<>]*>", "", html, flags=re.DOTALL))

    assert is_within(letters(shown), unquote(PLAIN.of(text)))


@given(st.lists(SENTENCES, max_size=6).map("\n".join))
def test_plain_words_come_out_as_they_are(text: str) -> None:
    """Lines of words have no marks."""
    assert PLAIN.of(text) == text


@given(st.lists(st.tuples(st.sampled_from(["# {}", "- {}", "7. {}", "> {}", "**{}**", "{}", "`{}`",
    "[{}](https://a.example)", "![{}](b.png)", "<u>{}</u>", "- [ ] {}", "    {}", "|{}|b|\n|-|-|\n|c|d|"]),
    SENTENCES), max_size=8))  # fmt: skip
def test_the_words_of_a_page_stay_in_order(blocks: list[tuple[str, str]]) -> None:
    """Whatever they stand in, and reading the result once more changes nothing."""
    text = PLAIN.of("\n\n".join(form.format(words) for form, words in blocks))
    places: list[int] = []
    for _, words in blocks:
        places.append(text.index(words, places[-1] + 1 if places else 0))

    assert all(first < second for first, second in pairwise(places))
    assert PLAIN.of(text) == text
