"""Files of answers, as Dify tells them."""

from typing import Any

import orjson
import pytest

from app.models.flow import AnswerFile
from app.services.dify.assembly import Assembly
from app.services.dify.files import MAX_URL, in_order, parse_file
from app.services.dify.outputs import parse_outputs
from app.services.dify.parsing import (
    parse_answer,
    parse_finished_run,
    parse_frame,
    parse_messages,
    parse_run,
)
from app.services.dify.sse import SseEvent

URL = "/files/tools/5f1c.png?timestamp=1&nonce=2&sign=abc"
RUN_FILE = {
    "dify_model_identity": "__dify__file__",
    "type": "image",
    "transfer_method": "tool_file",
    "remote_url": "http://127.0.0.1/old",
    "filename": "图.png",
    "url": URL,
}
FOUND = AnswerFile(url=URL, name="图.png", is_image=True)


def told(body: dict[str, Any], output_key: str | None = None) -> Assembly:
    """One frame, folded."""
    assembly = Assembly()
    frame = SseEvent(name="", data=orjson.dumps(body).decode())
    assembly.feed(parse_frame(frame, output_key=output_key))
    return assembly


def test_what_a_tool_made_is_part_of_the_answer() -> None:
    """What the person gave along is not."""
    event = {"event": "message_file", "id": "f", "type": "image", "url": URL}

    [file] = told({**event, "belongs_to": "assistant"}).answer().files
    assert file == AnswerFile(url=URL, name="5f1c.png", is_image=True)
    assert told({**event, "belongs_to": "user"}).answer().files == ()


@pytest.mark.parametrize(
    "body",
    [
        {"event": "message_end", "files": [RUN_FILE]},
        {"event": "workflow_finished", "data": {"status": "succeeded", "files": [RUN_FILE]}},
        {
            "event": "workflow_finished",
            "data": {"status": "succeeded", "outputs": {"answer": "好", "files": [RUN_FILE]}},
        },
    ],
)
def test_files_come_with_either_end_of_an_answer(body: dict[str, Any]) -> None:
    """By its own list, or among the outputs."""
    assert told(body).answer().files == (FOUND,)


def test_files_of_a_run_that_failed_are_none() -> None:
    """There is no answer to which they could belong."""
    data = {"status": "failed", "error": "x", "files": [RUN_FILE]}

    assert told({"event": "workflow_finished", "data": data}).answer().files == ()


@pytest.mark.parametrize("key", ["", "picture"])
def test_an_output_that_is_a_file_is_no_text(key: str) -> None:
    """Not even if it is the only one, or the one that is said to be the answer."""
    output = parse_outputs({"picture": RUN_FILE}, key)

    assert (output.text, output.unclear, output.files) == ("", (), (FOUND,))


def test_files_beside_a_text_leave_it_clear_which_is_the_answer() -> None:
    """The only text is it."""
    output = parse_outputs({"report": "好", "pictures": [RUN_FILE, RUN_FILE]}, "")

    assert (output.text, output.unclear) == ("好", ())
    assert in_order(output.files) == (FOUND,)


def test_a_list_that_is_not_of_files_alone_is_data() -> None:
    """As it was."""
    output = parse_outputs({"rows": [RUN_FILE, 1]}, "")

    assert output.files == ()
    assert output.text.startswith("[{")


def test_an_answer_that_is_fetched_has_its_files() -> None:
    """Of a message, of a run, and of a blocking call."""
    file = {"id": "f", "type": "image", "url": URL, "belongs_to": "assistant"}
    own = {**file, "belongs_to": "user"}
    [message] = parse_messages({"data": [{"id": "m", "message_files": [file, own]}]})
    run = parse_run(
        {"id": "r", "status": "succeeded", "outputs": {"answer": "好", "files": [RUN_FILE]}},
        goes_on_alone=False,
    )
    body = {"data": {"status": "succeeded", "outputs": {"text": "好", "files": [RUN_FILE]}}}
    assembly = Assembly()
    assembly.feed(parse_finished_run(body, output_key=""))

    assert [one.url for one in message.files] == [URL]
    assert run is not None
    assert run.files == (FOUND,)
    assert assembly.result().files == (FOUND,)
    assert parse_answer({"answer": "好", "files": [RUN_FILE]}).files == (FOUND,)


@pytest.mark.parametrize(
    "odd",
    [None, "x", {}, {"url": 1}, {"url": " "}, {"url": "/files/" + "a" * MAX_URL}, [RUN_FILE]],
)
def test_odd_files_are_none(odd: object) -> None:
    """Nothing is raised."""
    assert parse_file(odd) is None


@pytest.mark.parametrize(
    ("name", "kept", "is_image"),
    [
        ("../../etc/passwd.png", "passwd.png", True),
        ("a\nb\u202e.png", "ab.png", True),
        ("图.svg", "图.svg", False),
        (7, "5f1c.png", True),
    ],
)
def test_a_name_is_one_line_and_no_path(name: object, kept: str, *, is_image: bool) -> None:
    """What WeChat does not show as a picture is a file."""
    file = parse_file({**RUN_FILE, "filename": name})

    assert file is not None
    assert (file.name, file.is_image) == (kept, is_image)
