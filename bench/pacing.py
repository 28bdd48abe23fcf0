"""
The pace of two accounts over real minutes, as the gateway's log has it.

``python -m bench pacing`` has 2,000 answers over 40 groups and 2 WeChat accounts sent over HTTP for ten
minutes, with a new login and a time offline in between, and prints what the simulator saw: the most
messages and calls in any rolling minute, the shortest gaps, what was lost and whether each group kept
its order. ``--throttle 25`` has the gateway refuse what is above 25 a minute for a while,
``--offline-minutes 10`` sets how long one account is offline. ``--minutes 1 --answers 40`` is a short
one. At 40 a minute ten minutes are enough for 800 answers: the others must still be owed. The figures
come from the simulator's log and from the tables.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from bench.burst import opened_stores, post_all
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from simulators.ecloud_callbacks import group_callback
from simulators.ecloud_gaps import measure
from simulators.ecloud_sends import SentMessage
from simulators.ecloud_world import World
from tests.fixtures.bridge import Bridge, peer_variables

MINUTE = 60.0


def callbacks(world: World, answers: int) -> list[bytes]:
    """Questions over all groups, each group through one of the accounts."""
    accounts = list(world.accounts.values())
    groups = list(world.groups.values())
    bodies = []
    for number in range(answers):
        place = number % len(groups)
        group = groups[place]
        body = group_callback(
            world,
            accounts[place % len(accounts)],
            group,
            from_user=next(iter(group.members.keys() - world.accounts.keys())),
            content=f"{number} [[text={number}]]",
            ids=world.new_ids(),
            timestamp=int(time.time()),
        )
        bodies.append(json.dumps(body).encode())
    return bodies


def figures(gateway: EcloudSimulator, answers: int, open_segments: int) -> dict[str, object]:
    """What the gateway saw of each account, the worst of all."""
    sent = gateway.sent
    calls = gateway.recorder.of("request", "/sendText")
    bot_of = {one.w_id: one.bot for one in sent}
    called: dict[str, list[float]] = defaultdict(list)
    for call in calls:
        called[bot_of.get(call.facts["body"]["wId"], "")].append(call.started)
    by_bot: dict[str, list[SentMessage]] = defaultdict(list)
    for one in sent:
        by_bot[one.bot].append(one)
    paces = [measure(own) for own in called.values()]
    numbers = [int(one.content.split("\u2005")[-1]) for one in sent]
    return {
        "sent": len(sent),
        "still_owed": open_segments,
        "lost": answers - len(set(numbers)) - open_segments,
        "twice": len(numbers) - len(set(numbers)),
        "refused": len(calls) - len(sent),
        "most_per_rolling_minute": max(
            measure([one.sent_at for one in own]).in_a_minute for own in by_bot.values()
        ),
        "most_calls_per_rolling_minute": max(pace.in_a_minute for pace in paces),
        "shortest_gap_of_calls": round(
            min(pace.least for pace in paces if pace.least is not None), 3
        ),
        "shortest_gap": shortest(by_bot.values(), is_same=True),
        "shortest_gap_into_another_group": shortest(by_bot.values(), is_same=False),
        "out_of_order": out_of_order(sent),
    }


def shortest(accounts: Iterable[Sequence[SentMessage]], *, is_same: bool) -> float | None:
    """The shortest gap between neighbours, into the same group or another; None: there was none."""
    gaps = [
        later.sent_at - earlier.sent_at
        for own in accounts
        for earlier, later in pairwise(own)
        if (later.to == earlier.to) is is_same
    ]
    return round(min(gaps), 3) if gaps else None


def out_of_order(sent: Sequence[SentMessage]) -> int:
    """Messages of a group that came before an earlier one."""
    last: dict[str, int] = defaultdict(lambda: -1)
    wrong = 0
    for one in sent:
        number = int(one.content.split("\u2005")[-1])
        wrong += number < last[one.to]
        last[one.to] = max(last[one.to], number)
    return wrong


async def run(arguments: argparse.Namespace) -> dict[str, object]:
    """One run; its figures."""
    world = World.crowd(groups=arguments.groups, people=1, accounts=2)
    limits = {"ECLOUD_SENDS_PER_MINUTE": "40", "ECLOUD_SEND_GAP": "0.6", "ECLOUD_TARGET_GAP": "2"}
    with tempfile.TemporaryDirectory() as name:
        async with (
            EcloudSimulator.start(world=world) as gateway,
            DifySimulator.start() as dify,
            opened_stores(arguments.engine, Path(name)) as stores,
        ):
            bridge = Bridge(stores, peer_variables(gateway, dify))
            gateway.callback_url = bridge.callback_url
            try:
                await bridge.start(
                    **limits,
                    ECLOUD_POLL_INTERVAL="5",
                    MESSAGE_PROCESSING_MAX_QUEUE_LENGTH="1000",
                    LOG_LEVEL="WARNING",
                )
                await post_all(bridge, callbacks(world, arguments.answers), 20)
                await disturb(gateway, arguments)
                await bridge.stop()
                waiting = await bridge.rows(
                    "SELECT (SELECT count(*) FROM segments WHERE state IN ('planned', 'sending')) + "
                    "(SELECT count(*) FROM messages WHERE state IN ('received', 'processing')) AS n"
                )
            finally:
                bridge.kill()
            return figures(gateway, arguments.answers, int(waiting[0]["n"]))


async def disturb(gateway: EcloudSimulator, arguments: argparse.Namespace) -> None:
    """Let time pass; one account logs in anew, the other is offline for a while."""
    first, second = list(gateway.world.accounts)[:2]
    offline = arguments.minutes / 5
    if arguments.offline_minutes is not None:
        offline = arguments.offline_minutes
    part = (arguments.minutes - offline) * MINUTE / 8
    await asyncio.sleep(part)
    if arguments.throttle:
        gateway.faults.set("throttle", arguments.throttle)
    await asyncio.sleep(part)
    gateway.faults.clear()
    await asyncio.sleep(part)
    gateway.rotate(first)
    await asyncio.sleep(part)
    gateway.set_online(second, online=False)
    await asyncio.sleep(offline * MINUTE)
    gateway.set_online(second, online=True)
    await asyncio.sleep(4 * part)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench pacing", description=__doc__)
    parser.add_argument("--engine", choices=["embedded", "servers"], default="servers")
    parser.add_argument("--answers", type=int, default=2000)
    parser.add_argument("--groups", type=int, default=40)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--throttle", type=int, default=0)
    parser.add_argument("--offline-minutes", type=float)
    print(json.dumps(asyncio.run(run(parser.parse_args(arguments))), ensure_ascii=False))


if __name__ == "__main__":
    main()
