"""
The outputs of a workflow: made of the model's answer, and streamed as the end node streams them; all pure.

A template is an object of any values in which the text `{answer}` stands for the answer. An output
that is exactly `{answer}` is the model's own text; all others come from a code node behind it.
Only the stream of a single such output is known from a recording; what several look like is from
the code of the releases: every output is streamed, as text, so the chunks are not the answer alone.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from simulators.dify_release import Release

ANSWER = "{answer}"
MODEL_SELECTOR = ["llm", "text"]


def filled(template: Any, answer: str) -> Any:
    """The template with the answer in its places."""
    if isinstance(template, str):
        return template.replace(ANSWER, answer)
    if isinstance(template, Mapping):
        return {name: filled(value, answer) for name, value in template.items()}
    if isinstance(template, list | tuple):
        return [filled(value, answer) for value in template]
    return template


def streams_at_once(outputs: Mapping[str, Any]) -> bool:
    """Whether the model's text is streamed while it is written: only as the first output."""
    return next(iter(outputs.values()), None) == ANSWER


def of_code(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """The templates of the outputs that the code node gives."""
    answered = next((name for name, value in outputs.items() if value == ANSWER), None)
    return {name: value for name, value in outputs.items() if name != answered}


def later_chunks(
    release: Release, outputs: Mapping[str, Any], answer: str, deltas: Sequence[str]
) -> Iterator[tuple[str, list[str]]]:
    """
    What is streamed when all values are there: texts and the selectors they are from.

    The newer release puts a new line between outputs, the older one between those of two nodes.
    """
    code = of_code(outputs)
    seen: set[str] = {"llm"} if streams_at_once(outputs) else set()
    for place, (name, template) in enumerate(outputs.items()):
        node, selector = ("code", ["code", name]) if name in code else ("llm", MODEL_SELECTOR)
        if place == 0 and seen:
            continue
        text = as_text(filled(template, answer))
        if release is Release.OLD:
            if text:
                yield text if not seen or node in seen else f"\n{text}", selector
                seen.add(node)
            continue
        if place > 0:
            yield "\n", ["end", "answer"]
        for part in deltas if node == "llm" else (text,):
            yield part, selector


def as_text(value: Any) -> str:
    """A value as a stream shows it."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, indent=2)
    if isinstance(value, list):
        return "\n".join(map(str, value))
    return str(value)
