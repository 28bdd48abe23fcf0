"""One run of one scenario: from an empty folder to a report."""

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.chaos.checker import Findings, check
from bench.chaos.report import Bound, Report
from bench.chaos.scenario import EMBEDDED, Scenario
from bench.chaos.servers import MariadbSource
from bench.chaos.stage import Run, Stage
from bench.chaos.staging import open_stage

Say = Callable[[str], None]
#: Longest wait for an answer that a planted defect has lost.
PLANTED_PATIENCE = 10.0
PULSE_SECONDS = 0.05


def make_run(
    scenario: Scenario,
    size_name: str,
    *,
    seed: int = 1,
    engine: str = "",
    plant: str = "",
    messages: int | None = None,
    strikes: int | None = None,
) -> Run:
    """A run of a scenario, on its first engine unless told otherwise."""
    size = scenario.size(size_name).changed(
        messages=messages, strikes=strikes, patience=PLANTED_PATIENCE if plant else None
    )
    return Run(
        scenario=scenario,
        size=size,
        size_name=size_name,
        seed=seed,
        engine=engine or scenario.engines[0],
        plant=plant,
    )


async def run_scenario(run: Run, source: MariadbSource, say: Say) -> Report:
    """
    Play a scenario and check what was recorded.

    Args:
        say: is told settings and schedule before anything happens.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        async with open_stage(run, Path(name), source) as stage:
            stage.facts |= {"up s": round(time.monotonic() - started, 1), "stood still s": 0.0}
            settings = _settings(stage)
            schedule = run.scenario.schedule(stage)
            say(f"settings: {' '.join(f'{key}={value}' for key, value in settings.items())}")
            say(f"schedule: {schedule or 'nothing by chance'}")
            tasks = [
                asyncio.create_task(stage.fleet.supervise()),
                asyncio.create_task(_feel_pulse(stage)),
            ]
            trouble = await _play(stage)
            for task in tasks:
                task.cancel()
            findings = check(stage.tape.history())
            return Report(
                scenario=run.scenario.name,
                title=run.scenario.title,
                engine=run.engine,
                size=run.size_name,
                seed=run.seed,
                plant=run.plant,
                settings=settings,
                schedule=schedule,
                bounds=[*run.scenario.bounds(stage, findings), *_deaths(stage)],
                figures=_figures(stage, findings),
                seconds=time.monotonic() - started,
                trouble=trouble,
                logs="\n".join(f"== {one}\n{log}" for one, log in stage.fleet.logs()),
            )


async def _play(stage: Stage) -> str:
    """Play and wait for what is owed; returns what kept it from its end."""
    try:
        await stage.run.scenario.play(stage)
        if stage.run.scenario.settles:
            await stage.until_quiet()
    except (TimeoutError, AssertionError, OSError) as error:
        return _in_words(error)
    except ExceptionGroup as group:
        expected, others = group.split((TimeoutError, AssertionError, OSError))
        if others is not None or expected is None:
            raise
        return "; ".join(_in_words(one) for one in expected.exceptions)
    return ""


async def _feel_pulse(stage: Stage) -> None:
    """
    Read along, and note the longest time for which this process, and so both simulators, stood still.
    """
    while True:
        stage.tape.read()
        before = time.monotonic()
        await asyncio.sleep(PULSE_SECONDS)
        late = time.monotonic() - before - PULSE_SECONDS
        stage.facts["stood still s"] = round(max(late, float(stage.facts["stood still s"])), 2)


def _deaths(stage: Stage) -> list[Bound]:
    """Nobody ends by himself, unless that is what the scenario is about."""
    if stage.run.scenario.kills_by_itself:
        return []
    cases = tuple(f"{one.name}: exit code {one.code}" for one in stage.fleet.deaths)
    return [Bound(name="ended by itself", value=len(cases), most=0, detail=cases)]


def _in_words(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {str(error)[-300:]}"


def _settings(stage: Stage) -> dict[str, str]:
    """What the processes were given, without addresses and keys; and how many there are."""
    secret = ("_URL", "_KEY", "AUTHORIZATION", "PYTHONPATH")
    shown = {
        name.lower(): value
        for name, value in stage.fleet.variables.items()
        if not name.endswith(secret)
    }
    size = stage.size
    return {
        "processes": "all" if stage.run.engine == EMBEDDED else "+".join(stage.layout.roles),
        "messages": str(size.messages),
        "users": str(size.users),
        "rate": f"{size.rate:g}",
        "owing": str(size.owing or "-"),
        "hasten": ",".join(one.rsplit(":", 1)[1] for one in size.hasten) or "-",
        **shown,
    }


def _figures(stage: Stage, findings: Findings) -> dict[str, float | str]:
    return {
        "said": stage.talk.count,
        "accepted": findings.accepted,
        "refused": len(findings.refused),
        "answered": findings.answered,
        "segments": findings.segments,
        "undecided": stage.tape.undecided,
        "resent": len(findings.resent),
        "asked": len(stage.tape.calls),
        "drain s": round(findings.drain, 2),
        **stage.facts,
    }
