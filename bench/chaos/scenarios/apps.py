"""Two Dify apps, one of them in trouble: what does the other one notice?"""

import asyncio
import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

import sqlalchemy as sa
from typing_extensions import override

from app.utils.db import sync_url
from bench.chaos.checker import Findings
from bench.chaos.history import History, fates
from bench.chaos.report import Bound, none_of
from bench.chaos.scenario import Layout, Scenario, Size, ci_size
from bench.chaos.stage import Stage
from bench.chaos.words import question
from bench.figures import percentile

#: Name of the app in trouble, its key at the simulated Dify, and the link that leads to it.
SECOND, SECOND_KEY, LINK = "second", "app-second", "second"
#: Seconds that the good app takes, always.
WELL = 0.3
PHASES = ("warm", "well", "slow", "down")
KEPT = ("lost", "answered_twice", "segments_twice", "reordered", "overlapping", "asked_again")


class TwoApps(Scenario):
    """
    Half of the words while both apps are well, a quarter while one is slow at its limit, a quarter
    while nothing can be had of it. Every second group asks that one.
    """

    name = "two-apps"
    title = "两个应用,其中一个先慢到上限,再停掉"
    must_show = "另一个应用的 p95 不变(≤ 1.2 倍),全部答一次"
    ci = ci_size(messages=100, users=24, rate=15, seconds=2, depth=2, owing=0)
    full = Size(messages=2_000, users=100, rate=20, seconds=3, depth=4)
    plant = "one-desk"

    @override
    def layout(self, size: Size) -> Layout:
        # So many questions at once the app in trouble may be asked by each process.
        second = {"name": SECOND, "api_key": SECOND_KEY, "max_concurrency": size.depth}
        places = str(4 * size.depth)
        return Layout(
            roles=("all",) if size.hasten else ("all", "all"),
            links=frozenset({LINK}),
            # Fewer places than people of the app in trouble: it could fill them all.
            variables={
                "DIFY_APPS": json.dumps([{**second, "base_url": "{second}"}]),
                "WORKER_CONCURRENCY": places,
                "DIFY_MAX_CONCURRENCY": places,
                "DIFY_INITIAL_CONCURRENCY": places,
            },
        )

    @override
    async def prepare(self, stage: Stage) -> None:
        stage.dify.add_app(SECOND_KEY, "chat")
        await asyncio.to_thread(_choose_app, stage)

    @override
    async def play(self, stage: Stage) -> None:
        link = stage.links[LINK]
        for phase in PHASES:
            if phase == "down":
                await link.refuse()
                link.reset()
            await self._speak(stage, phase)
            # What is said now is not answered while the trouble of the next phase lasts.
            await stage.until(partial(_is_answered, stage, phase), stage.size.patience, phase)
        await link.accept()

    async def _speak(self, stage: Stage, phase: str) -> None:
        """Everybody in turn, so that nobody has two words waiting at the good app."""
        count, loop = stage.size.messages // len(PHASES), asyncio.get_running_loop()
        started = loop.time()
        for number in range(count):
            await asyncio.sleep(max(0.0, started + number / stage.size.rate - loop.time()))
            person = number % len(stage.talk.people)
            is_slow = phase == "slow" and _is_in_trouble(person)
            seconds = stage.size.seconds if is_slow else WELL
            word = stage.talk.say(person=person, compose=partial(_compose, wait=seconds))
            if not _is_in_trouble(person):
                stage.phases.setdefault(phase, set()).add(word)

    @override
    def compose(self, word: str, rng: random.Random, layout: Layout) -> str:
        return _compose(word, WELL)

    @override
    def bounds(self, stage: Stage, findings: Findings) -> Sequence[Bound]:
        history = stage.tape.history()
        late = {phase: percentile(_seconds(history, stage.phases[phase]), 0.95) for phase in PHASES}
        stage.facts |= {f"p95 {phase}": round(late[phase], 3) for phase in PHASES}
        # A small run is no measure of time: there the good app must not wait for the other's answers.
        most = stage.size.seconds / 2 / late["well"] if stage.size.hasten else 1.2
        return [
            *none_of(findings, *KEPT, "cut_short", "refused"),
            Bound(name="dead", value=stage.count("messages", "state = 'dead'"), most=0),
            *(
                Bound(name=f"p95 {phase} / well", value=late[phase] / late["well"], most=most)
                for phase in PHASES[2:]
            ),
        ]


def _compose(word: str, wait: float) -> str:
    return question(word, length=60, orders=f"[[wait={wait:.2f}]]")


def _is_in_trouble(person: int) -> bool:
    """Whether this person's group asks the app in trouble."""
    return person % 2 == 1


def _choose_app(stage: Stage) -> None:
    """As an operator does, in the table: every second group asks the app in trouble."""
    groups = [group for at, (group, _) in enumerate(stage.talk.people) if _is_in_trouble(at)]
    statement = sa.text(
        "INSERT INTO `groups` (bot_wc_id, group_id, dify_app, first_seen_at) "
        "VALUES (:bot, :group, :app, :now)"
    )
    now = datetime.now(UTC).replace(tzinfo=None)
    bot = stage.gateway.world.first_account().wc_id
    rows = [{"bot": bot, "group": group, "app": SECOND, "now": now} for group in groups]
    engine = sa.create_engine(sync_url(stage.stores.database_url))
    with engine.begin() as connection:
        connection.execute(statement, rows)
    engine.dispose()


def _is_answered(stage: Stage, phase: str) -> bool:
    """Whether the good app has answered all words of a phase."""
    return stage.phases.get(phase, set()) <= stage.tape.begun


def _seconds(history: History, words: set[str]) -> list[float]:
    """From the callback to the group, per word."""
    return [
        fate.first_arrivals[-1][0] - fate.spoken_at
        for word, fate in fates(history).items()
        if word in words and fate.first_arrivals
    ]
