"""The documents of an answer in the group, whichever way the answer comes."""

import json

import pytest

from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.inside import INSIDE_EMBEDDED, StartInside

CITATIONS = [{"document_name": "手册.pdf"}, {}, {"document_name": "价目"}]
FOOTER = "参考:《手册.pdf》《价目》"
STREAMING = pytest.mark.parametrize("streaming", ["true", "false"])


def said(gateway: EcloudSimulator) -> list[str]:
    """What the group saw, without the mentions."""
    return [one.content.split("\u2005")[-1] for one in gateway.sent]


@STREAMING
async def test_a_group_reads_the_documents_if_it_is_chosen_for_it(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator, streaming: str
) -> None:
    """By its row; the journal has what the group read."""
    dify.set_app(dify.default_app.key, {"citations": CITATIONS})
    async with inside(DIFY_STREAMING_ENABLED=streaming) as bridge:
        await bridge.hear("一 [[text=甲。]]")
        await bridge.until_settled(1)
        await bridge.until_rows("SELECT 1 FROM `groups`")
        await bridge.execute("UPDATE `groups` SET citations = 1")
        await bridge.runtime.groups.load()
        await bridge.hear("二 [[text=乙。]]")
        await bridge.until_settled(2)
        journal = await bridge.rows("SELECT content FROM conversations")

    assert said(gateway) == ["甲。", f"乙。\n\n{FOOTER}"]
    turns = [turn for row in journal for turn in json.loads(row["content"])]
    assert [turn["answer"] for turn in turns] == ["甲。", f"乙。\n\n{FOOTER}"]


@INSIDE_EMBEDDED
@STREAMING
async def test_documents_that_do_not_fit_behind_the_last_part_are_a_part_of_their_own(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator, streaming: str
) -> None:
    """Parts that are out stay as they are, and the names stand once, at the end."""
    dify.set_app(dify.default_app.key, {"citations": CITATIONS})
    settings = {"REPLY_CITATIONS": "true", "REPLY_MAX_LENGTH": "60"}
    async with inside(DIFY_STREAMING_ENABLED=streaming, **settings) as bridge:
        await bridge.hear(f"一 [[text={'长' * 55}。]]")
        await bridge.until_settled(1)

    *before, last = said(gateway)
    assert "".join(before) == "长" * 55 + "。"
    assert last == FOOTER


@INSIDE_EMBEDDED
async def test_an_answer_that_is_fetched_names_its_documents_too(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Dify keeps them with the message."""
    dify.set_app(dify.default_app.key, {"citations": CITATIONS})
    async with inside(DIFY_STREAMING_ENABLED="true", REPLY_CITATIONS="true") as bridge:
        await bridge.hear("一 [[text=甲乙丙。]] [[size=2]] [[cut=1]] [[saved]]")
        await bridge.until_settled(1)

    assert said(gateway) == [f"甲乙丙。\n\n{FOOTER}"]
