"""Pictures, recordings, films, stickers, name cards and places, by their XML. Pure."""

from app.models.content import Emoji, Image, Location, NameCard, Video, Voice
from app.models.flow import WcId
from app.services.ecloud.fields import Fields
from app.services.ecloud.markup import Element, whole_number


def read_image(root: Element, xml: str) -> Image:
    """A picture; the middle size is the one that people look at."""
    image = root.find("img")
    return Image(
        xml=xml,
        size=whole_number(image.attribute("length")),
        md5=image.attribute("md5"),
        aes_key=image.attribute("aeskey"),
        cdn_url=image.attribute("cdnmidimgurl") or image.attribute("cdnbigimgurl"),
    )


def read_voice(root: Element, fields: Fields) -> Voice:
    """A recording: each figure stands beside the XML or only inside it."""
    voice = root.find("voicemsg")
    return Voice(
        size=fields.count("length") or whole_number(voice.attribute("length")),
        milliseconds=fields.count("voiceLength") or whole_number(voice.attribute("voicelength")),
        buffer_id=fields.loose_digits("bufId")
        or Fields({"bufid": voice.attribute("bufid")}).digits("bufid"),
    )


def read_video(root: Element, xml: str) -> Video:
    """A film."""
    video = root.find("videomsg")
    return Video(
        xml=xml,
        size=whole_number(video.attribute("length")),
        seconds=whole_number(video.attribute("playlength")),
    )


def read_emoji(root: Element, fields: Fields) -> Emoji:
    """A sticker."""
    emoji = root.find("emoji")
    return Emoji(
        md5=fields.loose_text("md5") or emoji.attribute("md5"),
        size=fields.count("length") or whole_number(emoji.attribute("len")),
        url=fields.loose_text("url") or emoji.attribute("cdnurl"),
    )


def read_name_card(root: Element) -> NameCard:
    """Somebody's card; the message itself is the element."""
    user_name = Fields({"username": root.attribute("username")}).identifier("username")
    return NameCard(wc_id=WcId(user_name), nick_name=root.attribute("nickname"))


def read_location(root: Element) -> Location:
    """A place."""
    place = root.find("location")
    return Location(
        name=place.attribute("poiname"),
        address=place.attribute("label"),
        latitude=place.attribute("x"),
        longitude=place.attribute("y"),
    )
