"""
How a recording waits in the row of its message, in the place of the text that is not known yet. Pure.

For whoever looks at the row it begins with a word that says what it is.
"""

import json
from dataclasses import asdict
from typing import Final

from app.models.flow import MemberVoice

#: What stands for the words as long as nobody knows them.
SPOKEN: Final = "[语音]"


def voice_text(voice: MemberVoice) -> str:
    """What stands in the row."""
    return f"{SPOKEN} {json.dumps(asdict(voice), ensure_ascii=False)}"


def voice_of(text: str | None, question: str | None) -> MemberVoice | None:
    """
    The recording of a row that waits for it to be heard; None: there is none.

    Whoever types such a text asks it as a question: then there is one.
    """
    label, _, told = (text or "").partition(" ")
    if question or label != SPOKEN:
        return None
    try:
        return MemberVoice(**json.loads(told))
    except (ValueError, TypeError):
        return None


def spoken(text: str | None, question: str | None) -> str | None:
    """What is the same in every copy of a message: its text, or of a recording its size and length."""
    voice = voice_of(text, question)
    return text if voice is None else f"{SPOKEN} {voice.size} {voice.milliseconds}"
