"""One Dify app of this installation, with everything that is its own."""

from dataclasses import dataclass

from app.services.dify.client import DifyClient
from app.services.dify.gate import Gate
from app.services.dify.inputs import InputTemplates


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedApp:
    """How one app is asked."""

    client: DifyClient
    gate: Gate
    inputs: InputTemplates
    #: The app that answers while this one's breaker is open; empty: none.
    fallback: str
    #: Tells the conversations of one key from those of another.
    key_digest: str
    is_streamed: bool
    #: Pieces go out at once, whatever the app may take back.
    ignores_moderation: bool
    #: What people speak is a question to it, if it has a model that hears.
    hears_voices: bool
