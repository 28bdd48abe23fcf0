"""From a callback that is no text to what it carries. Pure."""

from app.models.content import Content
from app.services.ecloud import app_messages, media
from app.services.ecloud.fields import Fields
from app.services.ecloud.markup import NOTHING, Element, read_markup
from app.services.ecloud.system_messages import (
    ROOM_CHANGES,
    read_pat,
    read_recall,
    read_room_news,
)

#: The last two digits of a code.
IMAGE = "02"
VIDEO = "03"
VOICE = "04"
NAME_CARD = "05"
EMOJI = "06"
FILE = "08"
FILE_THERE = "09"
RECALL = "18"
PAT = "19"
LOCATION = "20"
_FILES = frozenset({FILE, FILE_THERE})
_COMPOUND = frozenset({*_FILES, "07", "10", "11", "21", "99"})
_MESSAGES = ("60", "80")


def read_content(code: str, fields: Fields, *, sender: str) -> Content | None:
    """
    What a callback of this type carries; None: nothing that can be read.

    Args:
        sender: as the callback says, whose id may stand in front of the XML.
    """
    if code in ROOM_CHANGES:
        return read_room_news(code, fields)
    kind = code[-2:] if code.startswith(_MESSAGES) else ""
    xml = fields.loose_text("content")
    root = read_markup(xml, sender=sender)
    if kind in (RECALL, PAT):
        return read_recall(root) if kind == RECALL else read_pat(root)
    if kind in _COMPOUND:
        return _read_compound(kind, root, xml, fields)
    return _read_media(kind, root, xml, fields)


def _read_media(kind: str, root: Element | None, xml: str, fields: Fields) -> Content | None:
    # These two may say everything beside the XML.
    if kind in (VOICE, EMOJI):
        read = media.read_voice if kind == VOICE else media.read_emoji
        return read(root or NOTHING, fields)
    if kind in (IMAGE, VIDEO) and root is not None:
        return (media.read_image if kind == IMAGE else media.read_video)(root, xml)
    if kind in (NAME_CARD, LOCATION) and root is not None:
        return (media.read_name_card if kind == NAME_CARD else media.read_location)(root)
    return None


def _read_compound(kind: str, root: Element | None, xml: str, fields: Fields) -> Content | None:
    app = app_messages.app_message_of(root)
    if app is None:
        return None
    if kind in _FILES or app.find("type").text in app_messages.FILE_TYPES:
        return app_messages.read_file(app, xml, is_there=kind == FILE_THERE)
    return app_messages.read_card(app, fields)
