"""One Dify app of this installation, with everything that is its own."""

from dataclasses import dataclass

from app.services.dify.client import DifyClient
from app.services.dify.limit import Gate


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedApp:
    """How one app is asked."""

    client: DifyClient
    gate: Gate
    is_streamed: bool
    #: Pieces go out at once, whatever the app may take back.
    ignores_moderation: bool
