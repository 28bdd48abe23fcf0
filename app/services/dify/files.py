"""Files of answers in Dify's JSON. Only this file knows how Dify describes one."""

from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from app.models.flow import AnswerFile

#: By this a run's output is known to be a file.
_IDENTITY: Final = "__dify__file__"
#: Dify's own files lie below this path; what follows in the query is a signature, new each time.
OWN_PATH: Final = "/files/"
#: Longest address that is taken; WeChat's gateways and ours have to hand it on.
MAX_URL: Final = 2048
MAX_NAME: Final = 200
#: Pictures that are no photographs: WeChat shows them as files.
_NOT_SHOWN: Final = (".svg", ".tif", ".tiff", ".psd", ".ico", ".heic")


def parse_file(value: object) -> AnswerFile | None:
    """One file of an answer; None: it is the person's own, or nobody says where it lies."""
    if not isinstance(value, dict) or value.get("belongs_to") == "user":
        return None
    found = (value.get(key) for key in ("url", "remote_url"))
    url = next((one.strip() for one in found if isinstance(one, str) and one.strip()), "")
    if not url or len(url) > MAX_URL:
        return None
    name = value.get("filename")
    name = clean_name(name if isinstance(name, str) else "") or name_in(url)
    is_image = value.get("type") == "image" and is_shown(name)
    return AnswerFile(url=url, name=name, is_image=is_image)


def parse_files(value: object) -> tuple[AnswerFile, ...]:
    """Those of a list; anything else has none."""
    found = (parse_file(one) for one in (value if isinstance(value, list) else ()))
    return tuple(one for one in found if one is not None)


def is_file_output(value: object) -> bool:
    """Whether a run's output is a file, or a list of nothing but files."""
    items = value if isinstance(value, list) else [value]
    return bool(items) and all(
        isinstance(one, dict) and one.get("dify_model_identity") == _IDENTITY for one in items
    )


def files_of_outputs(outputs: Mapping[str, Any]) -> tuple[AnswerFile, ...]:
    """All files among a run's outputs."""
    lists = (value if isinstance(value, list) else [value] for value in outputs.values())
    return tuple(file for one in lists if is_file_output(one) for file in parse_files(one))


def in_order(files: Iterable[AnswerFile]) -> tuple[AnswerFile, ...]:
    """Each file once, those of the text first; Dify tells some by two events, signed twice."""
    known: dict[str, AnswerFile] = {}
    for file in sorted(files, key=lambda one: not one.is_from_text):
        known.setdefault(_key(file.url), file)
    return tuple(known.values())


def _key(url: str) -> str:
    _, found, rest = url.partition(OWN_PATH)
    return found + rest.partition("?")[0] if found else url


def name_in(url: str) -> str:
    """The last part of the address's path, if it looks like the name of a file."""
    try:
        last = unquote(urlsplit(url).path.rpartition("/")[2])
    except ValueError:
        return ""
    return clean_name(last) if "." in last.strip(".") else ""


def clean_name(name: str) -> str:
    """A name of one line, without a path."""
    last = name.replace("\\", "/").rpartition("/")[2]
    printable = "".join(char for char in last if char.isprintable())
    return printable.strip(" .")[-MAX_NAME:]


def is_shown(name: str) -> bool:
    """Whether WeChat shows a picture of this name as one."""
    return not name.lower().endswith(_NOT_SHOWN)
