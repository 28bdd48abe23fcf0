"""
Speed as ratios: the bridge and the yardstick in one run, on the same servers and simulators.

``python -m bench.speed --size full`` measures all components; ``--only throughput,burst`` some. Full
durability: MariaDB commits to disk, Redis keeps an AOF. A figure is marked where the load generator
and the simulators themselves were the bottleneck.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import uvloop

from bench.chaos.servers import SharedMariadb, missing_servers
from bench.components import MEASURES, SIZES, Bench, Size
from bench.figures import HEADER, Figure
from bench.measuring import machine


async def run(names: Sequence[str], size: Size) -> list[Figure]:
    """Measure; prints each row as soon as it is known."""
    shared = SharedMariadb()
    figures = []
    try:
        with tempfile.TemporaryDirectory(prefix="speed-") as folder:
            bench = Bench(size, shared, Path(folder))
            print(f"# {machine()}\n{HEADER}", flush=True)
            for name in names:
                figure = await MEASURES[name](bench)
                figures.append(figure)
                print(figure.row(), flush=True)
    finally:
        shared.close()
    return figures


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns 0 when every goal is reached, 1 when one is missed."""
    parser = argparse.ArgumentParser(prog="bench.speed", description=__doc__)
    parser.add_argument("--size", choices=list(SIZES), default="ci")
    parser.add_argument("--only", default=",".join(MEASURES), help=", ".join(MEASURES))
    parser.add_argument("--json", action="store_true", help="all figures in one line at the end")
    arguments = parser.parse_args(argv)
    names = arguments.only.split(",")
    if unknown := [name for name in names if name not in MEASURES]:
        parser.error(f"no component {', '.join(unknown)}")
    if reason := missing_servers():
        parser.error(reason)
    figures = uvloop.run(run(names, SIZES[arguments.size]))
    if arguments.json:
        print(json.dumps([asdict(figure) for figure in figures], ensure_ascii=False))
    return 0 if all(figure.is_kept for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
