"""What the console says, in two languages: Chinese stands in the pages, English in ``words.json``."""

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

FILE = Path(__file__).parent / "words.json"


class Language(StrEnum):
    """A language of the console."""

    CHINESE = "zh"
    ENGLISH = "en"


def read_words(path: Path = FILE) -> dict[str, str]:
    """English by Chinese."""
    words: dict[str, str] = json.loads(path.read_text("utf-8"))
    return words


class Translator:
    """Says things in one language; what has no English yet is said in Chinese."""

    def __init__(self, language: Language, words: Mapping[str, str]) -> None:
        self.language = language
        self._words = words

    def __call__(self, text: str, **values: object) -> str:
        """
        The text in this language.

        Args:
            values: what stands in braces in it.
        """
        said = self._words.get(text, text) if self.language is Language.ENGLISH else text
        return said.format(**values) if values else said
