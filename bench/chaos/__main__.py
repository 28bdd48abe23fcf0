"""
The harness: ``python -m bench.chaos --scenario kill --seeds 1,2 --size full``.

Exit code 0: every bound was kept; 1: one was broken; 2: a wrong argument; 3: not on this
machine or engine.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.chaos.plants import NONE, PLANTS
from bench.chaos.report import HEADER, Report
from bench.chaos.run import make_run, run_scenario
from bench.chaos.scenario import CI, EMBEDDED, FULL, SERVERS, Scenario
from bench.chaos.scenarios import SCENARIOS
from bench.chaos.servers import SharedMariadb, missing_servers

GREEN, RED, WRONG, NOT_HERE = 0, 1, 2, 3
#: The defect that a scenario names itself.
OWN = "own"


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run; returns the exit code."""
    arguments = _parse(argv)
    if arguments.list:
        _list()
        return GREEN
    names = list(SCENARIOS) if arguments.scenario == "all" else arguments.scenario.split(",")
    if unknown := [name for name in names if name not in SCENARIOS]:
        print(f"no scenario {', '.join(unknown)}; there are: {', '.join(SCENARIOS)}")
        return WRONG
    shared = SharedMariadb()
    try:
        codes = [_run_all(SCENARIOS[name], arguments, shared) for name in names]
    finally:
        shared.close()
    return RED if RED in codes else max(codes)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.chaos", description=__doc__)
    parser.add_argument("--scenario", default="all", help="one, several (a,b) or all")
    parser.add_argument("--seeds", default="1", help="e.g. 1,2,3")
    parser.add_argument("--size", choices=[CI, FULL], default=CI)
    parser.add_argument("--engine", choices=[SERVERS, EMBEDDED], default=None)
    parser.add_argument(
        "--plant", choices=[NONE, *PLANTS, OWN], default=NONE, help="a planted defect"
    )
    parser.add_argument("--messages", type=int, default=None, help="instead of the size's own")
    parser.add_argument("--strikes", type=int, default=None, help="instead of the size's own")
    parser.add_argument("--json", action="store_true", help="one line of JSON per run")
    parser.add_argument("--logs", type=Path, default=None, help="folder for logs of red runs")
    parser.add_argument("--list", action="store_true", help="what there is")
    return parser.parse_args(argv)


def _list() -> None:
    for one in SCENARIOS.values():
        print(f"{one.name:18} [{'/'.join(one.engines)}] plant={one.plant}\n    {one.title}")
        print(f"    {one.must_show}")
    print("\nplants:")
    for plant in PLANTS.values():
        print(f"{plant.name:22} {plant.what}")


def _run_all(scenario: Scenario, arguments: argparse.Namespace, shared: SharedMariadb) -> int:
    engine = arguments.engine or scenario.engines[0]
    reason = ""
    if engine not in scenario.engines:
        reason = f"only for {', '.join(scenario.engines)}"
    elif engine == SERVERS:
        reason = missing_servers()
    if reason:
        print(f"# {scenario.name}: not runnable: {reason}", flush=True)
        return NOT_HERE
    reports = []
    for seed in arguments.seeds.split(","):
        report = _run_one(scenario, arguments, engine, int(seed), shared)
        reports.append(report)
    return GREEN if all(report.is_green for report in reports) else RED


def _run_one(
    scenario: Scenario,
    arguments: argparse.Namespace,
    engine: str,
    seed: int,
    shared: SharedMariadb,
) -> Report:
    named = {OWN: scenario.plant, NONE: ""}
    plant = named.get(arguments.plant, arguments.plant)
    run = make_run(
        scenario,
        arguments.size,
        seed=seed,
        engine=engine,
        plant=plant,
        messages=arguments.messages,
        strikes=arguments.strikes,
    )
    print(f"# {scenario.name} seed={seed} {engine} {arguments.size} {plant} {_now()}", flush=True)
    report = asyncio.run(run_scenario(run, shared, lambda line: print(f"# {line}", flush=True)))
    print(report.as_json() if arguments.json else f"{HEADER}\n{report.row()}", flush=True)
    if not report.is_green:
        print("\n".join(f"# {line}" for line in report.broken()), flush=True)
        _keep_logs(report, arguments.logs)
    return report


def _keep_logs(report: Report, folder: Path | None) -> None:
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report.scenario}-{report.plant or 'plain'}-{report.seed}.log"
    path.write_text(report.logs, encoding="utf-8")
    print(f"# logs: {path}", flush=True)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


if __name__ == "__main__":
    sys.exit(main())
