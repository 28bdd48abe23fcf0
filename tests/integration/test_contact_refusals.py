"""Cards that a database does not take as they are: what can be kept of them is, and others are not touched."""

from datetime import timedelta

import pytest

from app.models.contact import Contact
from app.models.flow import WcId
from app.services.contacts import Contacts
from app.services.ecloud.cards import CardKind, ContactCard
from app.services.store import Store
from tests.fixtures.stores import rows_of


@pytest.fixture
def contacts(store: Store) -> Contacts:
    """Refreshed after a day."""
    return Contacts(store, max_age=timedelta(days=1))


async def test_a_card_whose_raw_answer_is_refused_is_kept_without_it(
    store: Store, contacts: Contacts
) -> None:
    """Half a character cannot be written anywhere; the cards beside it stay whole."""
    raw = {"odd": "\ud800"}
    odd = ContactCard(wc_id=WcId("wxid_a"), kind=CardKind.PERSON, nick_name="阿蓝", raw=raw)
    whole = ContactCard(wc_id=WcId("wxid_b"), kind=CardKind.PERSON, raw={"nickName": "文"})

    refused = await contacts.save([odd, whole])

    first, second = await rows_of(store, Contact)
    assert refused == frozenset()
    assert (first.nick_name, first.raw) == ("阿蓝", {})
    assert second.raw == {"nickName": "文"}


async def test_a_card_that_is_refused_in_any_shape_takes_no_other_with_it(
    store: Store, contacts: Contacts
) -> None:
    """The caller is told whose it was."""
    odd = ContactCard(wc_id=WcId("wxid_a"), kind=CardKind.PERSON, sex=2**70, raw={"a": 1})
    whole = ContactCard(wc_id=WcId("wxid_b"), kind=CardKind.PERSON)

    refused = await contacts.save([odd, whole])

    assert refused == {"wxid_a"}
    assert [row.wc_id for row in await rows_of(store, Contact)] == ["wxid_b"]


@pytest.mark.parametrize("levels", [20, 99, 190])
async def test_a_card_of_any_depth_is_kept_with_its_raw_answer(
    store: Store, contacts: Contacts, levels: int
) -> None:
    """As the gateway's answer is read, it fits every database."""
    deep: object = 1
    for _ in range(levels):
        deep = [deep]
    card = ContactCard.from_wire({"userName": "wxid_a", "nickName": "阿蓝", "deep": deep})
    assert card is not None

    await contacts.save([card])

    [row] = await rows_of(store, Contact)
    assert row.raw["nickName"] == "阿蓝"
