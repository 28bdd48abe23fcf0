"""
Many small runs beside each other, in a process for each lane, on one MariaDB.

In one process all would stand in each other's way: while one of them waits for a server to start, the
simulators of all others would stand still.
"""

import asyncio
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import queue
import threading
import traceback
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

from bench.chaos.nursery import FORKS, LIBRARIES
from bench.chaos.report import Report
from bench.chaos.run import run_scenario
from bench.chaos.servers import LentMariadb, MariadbSource, SharedMariadb
from bench.chaos.stage import Run

#: Nothing of a suite takes longer.
SECONDS = 600.0
END_SECONDS = 30.0


class Lane:
    """A process that plays one run after the other; ends with the one that started it."""

    def __init__(self, lent: LentMariadb | None) -> None:
        self._near, far = FORKS.Pipe()
        self._process = FORKS.Process(target=_serve, args=(far, lent))
        self._process.start()
        far.close()

    def play(self, run: Run) -> Report:
        """
        Play one.

        Raises:
            RuntimeError: it ended without a report.
        """
        self._near.send(run)
        try:
            if not self._near.poll(SECONDS):
                raise RuntimeError(f"no report of {run} within {SECONDS:g} s")
            report: Report = self._near.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(f"no report of {run}: {self._process.exitcode}") from None
        return report

    def close(self) -> None:
        """End it."""
        self._near.close()
        self._process.join(END_SECONDS)
        self._process.kill()


def open_lane() -> Lane:
    """A lane by itself, with a MariaDB of its own for all that it plays."""
    FORKS.set_forkserver_preload([__name__])
    return Lane(None)


def play(runs: Sequence[Run], *, at_once: int) -> list[Report]:
    """
    Play all, so many at once; reports in the order of the runs.

    Those that break MariaDB are played one after the other, on another one.
    """
    FORKS.set_forkserver_preload([__name__])
    shared = SharedMariadb()
    lent = shared.lend() if any(not one.is_embedded for one in runs) else None
    breaking = [one for one in runs if one.scenario.breaks_mariadb]
    others: queue.SimpleQueue[Run] = queue.SimpleQueue()
    for run in runs:
        if run not in breaking:
            others.put(run)
    reports: dict[int, Report] = {}

    def play_lane(some: Iterable[Run], server: LentMariadb | None) -> None:
        lane = Lane(server)
        try:
            for run in some:
                try:
                    reports[id(run)] = lane.play(run)
                except RuntimeError as error:
                    # Whatever hangs or died there: the others are played in a new one.
                    reports[id(run)] = _trouble(run, repr(error))
                    lane.close()
                    lane = Lane(server)
        finally:
            lane.close()

    try:
        with ThreadPoolExecutor(at_once) as threads:
            first = [threads.submit(play_lane, breaking, None)] if breaking else []
            more = min(at_once - len(first), others.qsize())
            lanes = first + [
                threads.submit(play_lane, _until_empty(others), lent) for _ in range(more)
            ]
            for lane in lanes:
                lane.result()
    finally:
        shared.close()
    return [reports[id(one)] for one in runs]


def _until_empty(runs: "queue.SimpleQueue[Run]") -> Iterator[Run]:
    with contextlib.suppress(queue.Empty):
        while True:
            yield runs.get_nowait()


def _serve(pipe: "Connection[Report, Run]", lent: LentMariadb | None) -> None:
    """In the other process."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # A bridge that is forked from here has imported nothing of itself yet.
    FORKS.set_forkserver_preload([LIBRARIES])
    own = SharedMariadb()
    source: MariadbSource = own if lent is None else lent
    try:
        with contextlib.suppress(EOFError):
            while True:
                pipe.send(_play_here(pipe.recv(), source))
    finally:
        own.close()


def _play_here(run: Run, source: MariadbSource) -> Report:
    """One that could not even begin is red; the others go on."""
    try:
        return asyncio.run(run_scenario(run, source, lambda _: None))
    except Exception:  # noqa: BLE001 - whatever it is, the one who asked reads it in the report
        return _trouble(run, traceback.format_exc())


def _trouble(run: Run, trouble: str) -> Report:
    return Report(
        scenario=run.scenario.name,
        title=run.scenario.title,
        engine=run.engine,
        size=run.size_name,
        seed=run.seed,
        plant=run.plant,
        settings={},
        schedule="",
        bounds=[],
        figures={},
        seconds=0.0,
        trouble=trouble,
    )


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
