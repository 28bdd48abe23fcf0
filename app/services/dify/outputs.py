"""Which output of a workflow is its answer. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from app.models.flow import AnswerFile
from app.services.dify.files import files_of_outputs, is_file_output

#: The words by which an end node's output is usually called, the surest one first.
USUAL: Final = ("answer", "text", "output", "result")
CHATFLOW_OUTPUT: Final = "answer"


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """The answer among a run's outputs."""

    text: str = ""
    #: Names of the outputs of which none is known to be it; empty: the text is the answer.
    unclear: tuple[str, ...] = ()
    #: Those among the outputs; they are never its text.
    files: tuple[AnswerFile, ...] = ()


def parse_outputs(outputs: Mapping[str, Any], key: str | None) -> Output:
    """
    The answer.

    Args:
        key: name of the output that is the answer; empty: one of the usual names, or else the only
            output that is a text; None: of a chatflow, which calls it ``answer`` or has none.
    """
    files = files_of_outputs(outputs)
    words = {name: value for name, value in outputs.items() if not is_file_output(value)}
    if files and (not words or (key and key not in words and key in outputs)):
        return Output(files=files)
    return replace(_of_words(words, key), files=files)


def _of_words(outputs: Mapping[str, Any], key: str | None) -> Output:
    if key is None:
        return Output(text=_readable(outputs.get(CHATFLOW_OUTPUT)))
    if not outputs:
        return Output()
    if key:
        return Output(text=_readable(outputs[key])) if key in outputs else _unclear(outputs)
    usual = next((name for name in USUAL if isinstance(outputs.get(name), str)), None)
    texts = [name for name, value in outputs.items() if isinstance(value, str)]
    chosen = usual or (texts[0] if len(texts) == 1 else None)
    if chosen is None and len(outputs) == 1:
        chosen = next(iter(outputs))
    return _unclear(outputs) if chosen is None else Output(text=_readable(outputs[chosen]))


def _unclear(outputs: Mapping[str, Any]) -> Output:
    return Output(unclear=tuple(sorted(str(name) for name in outputs)))


def _readable(value: Any) -> str:
    """A text as it is, nothing as nothing, anything else as JSON; no lone surrogates."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
