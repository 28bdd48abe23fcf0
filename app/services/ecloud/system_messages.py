"""What WeChat itself says in a group: recalls, pats, people who join. Pure."""

from app.models.content import Newcomer, Pat, Recall, RoomChange, RoomNews
from app.models.flow import WcId
from app.services.ecloud.fields import Fields
from app.services.ecloud.markup import NOTHING, Element, read_markup

#: Code → what it means for who and what we know of the group.
ROOM_CHANGES = {
    "85001": RoomChange.INFORMATION,
    "85002": RoomChange.LEFT,
    "85003": RoomChange.MEMBERS,
    "85004": RoomChange.DISSOLVED,
    "85005": RoomChange.INFORMATION,
    "85008": RoomChange.MEMBERS,
    "85009": RoomChange.MEMBERS,
    "85010": RoomChange.INFORMATION,
    "85015": RoomChange.LEFT,
}
#: Names of the lists in WeChat's sentence that hold who joined; the others hold who invited.
_NEWCOMER_LISTS = frozenset({"names", "adder"})
_MOST_NEWCOMERS = 100


def read_recall(root: Element | None) -> Recall | None:
    """Which message was taken back; None: it does not say."""
    recall = _part(root, "revokemsg")
    recalled = Recall(
        msg_id=_digits(recall.find("msgid").text), new_msg_id=_digits(recall.find("newmsgid").text)
    )
    return recalled if recalled.msg_id or recalled.new_msg_id else None


def read_pat(root: Element | None) -> Pat:
    """Who patted whom."""
    pat = _part(root, "pat")
    return Pat(
        sender=_wc_id(pat.find("fromusername").text), patted=_wc_id(pat.find("pattedusername").text)
    )


def read_room_news(code: str, fields: Fields) -> RoomNews:
    """
    News of a group; *code* is one of ``ROOM_CHANGES``.

    A sentence for people names who joined by nickname alone; ids stand in WeChat's own XML.
    """
    root = read_markup(fields.loose_text("content"), sender=fields.hint("fromUser"))
    change = ROOM_CHANGES[code]
    return RoomNews(
        change=change,
        name=fields.loose_text("nickName") if code == "85001" else "",
        newcomers=_newcomers(root) if change is RoomChange.MEMBERS and root is not None else (),
    )


def _newcomers(root: Element) -> tuple[Newcomer, ...]:
    found = [
        Newcomer(wc_id=_wc_id(member.find("username").text), nick_name=member.find("nickname").text)
        for link in root.descendants("link")
        if link.attribute("name") in _NEWCOMER_LISTS
        for member in link.descendants("member")
    ]
    return tuple(one for one in found if one.wc_id)[:_MOST_NEWCOMERS]


def _part(root: Element | None, tag: str) -> Element:
    """A part of a system message; one without anything if it is not there."""
    if root is None:
        return NOTHING
    return root if root.tag == tag else root.find(tag)


def _digits(text: str) -> str:
    return Fields({"id": text}).digits("id")


def _wc_id(text: str) -> WcId:
    return WcId(Fields({"id": text}).identifier("id"))
