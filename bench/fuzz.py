"""
Random input for everything that reads what others sent: streams, answers, texts, callbacks.

``python -m bench fuzz --seconds 3600 --seed 1`` goes on for an hour and prints how many cases of which
kind ended how, and the longest. ``--only "stream cut" --case 4711`` repeats one case.
"""

import argparse
import random
import time
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.fuzz_cases import Case, all_cases

#: A case that takes longer hangs: a stream of a few kB is read in milliseconds.
MOST_SECONDS = 5.0
#: So many failures are printed whole.
SHOWN = 20


@dataclass(eq=False, slots=True)
class Tally:
    """What came of the cases of one name."""

    outcomes: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0
    longest_case: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Cases so far."""
        return self.outcomes.total()

    def run(self, case: Case, name: str, number: int, seed: int) -> None:
        """One case."""
        started = time.process_time()
        try:
            outcome, wrong = case(random.Random(f"{seed} {name} {number}"))
        except Exception:  # noqa: BLE001 - that is what is looked for
            outcome, wrong = "untyped exception", traceback.format_exc()
        seconds = time.process_time() - started
        self.outcomes[outcome] += 1
        if seconds > self.longest:
            self.longest, self.longest_case = seconds, number
        if seconds > MOST_SECONDS:
            wrong = wrong or f"took {seconds:.1f} s"
        if wrong:
            self.failures.append(f"{name}, case {number}: {wrong}")


def main(arguments: Sequence[str]) -> int:
    """Run for a while, or one case; 1 if anything was wrong."""
    cases = all_cases()
    parser = argparse.ArgumentParser(prog="python -m bench fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=sorted(cases))
    parser.add_argument("--case", type=int)
    given = parser.parse_args(arguments)
    chosen = {given.only: cases[given.only]} if given.only else cases
    tallies = {name: Tally() for name in chosen}
    if given.case is not None:
        _round(chosen, tallies, given.case, given.seed)
    else:
        ends, number = time.monotonic() + given.seconds, 0
        while time.monotonic() < ends:
            _round(chosen, tallies, number, given.seed)
            number += 1
    return _report(tallies)


def _round(cases: Mapping[str, Case], tallies: Mapping[str, Tally], number: int, seed: int) -> None:
    for name, case in cases.items():
        tallies[name].run(case, name, number, seed)


def _report(tallies: Mapping[str, Tally]) -> int:
    print("| what | cases | outcomes | longest | wrong |\n|---|---|---|---|---|")
    for name, tally in tallies.items():
        outcomes = ", ".join(f"{one} {count:,}" for one, count in tally.outcomes.most_common())
        longest = f"{tally.longest * 1000:.0f} ms (case {tally.longest_case})"
        print(f"| {name} | {tally.count:,} | {outcomes} | {longest} | {len(tally.failures)} |")
    failures = [one for tally in tallies.values() for one in tally.failures]
    for one in failures[:SHOWN]:
        print(f"# {one}")
    return 1 if failures else 0
