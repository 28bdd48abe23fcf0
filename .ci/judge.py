"""
Judge a test run by its JUnit reports: ``judge.py [--again alone.xml] report.xml [another.xml ...]``.

Exit code 1 when no test ran, when one failed, or when one was skipped in every report: CI's machine
has all that the tests need, so there a skip means that something was not tested. Further reports
are of tests that the first run could not do, such as those that need root. Standard library only.

``--again`` is the report of a second run of the few that failed, one after the other. What passes
there is unsteady: named in the verdict, a defect of the test or of the product to be looked into,
but no reason to hold back a change that did not make it. More than ``MOST_UNSTEADY`` are one.
"""

import argparse
import re
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree as ET

#: So many may fail beside others and pass alone.
MOST_UNSTEADY = 3

#: Patterns of reasons that are accepted on CI's own machine too. Each needs a sentence why.
ALLOWED_SKIPS: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Report:
    """What ran and what did not."""

    ran: int
    passed: tuple[str, ...]
    failed: tuple[str, ...]
    #: Reason of a skip → how often.
    skipped: Counter[str]
    #: Failed first and passed when run again alone.
    unsteady: tuple[str, ...] = ()

    def look_again(self, again: "Report") -> "Report":
        """Give the report in which what passed in *again* is unsteady, if it is little enough."""
        steady = set(again.passed)
        unsteady = tuple(name for name in self.failed if name in steady)
        if len(unsteady) > MOST_UNSTEADY:
            return self
        failed = tuple(name for name in self.failed if name not in steady)
        return replace(self, failed=failed, unsteady=unsteady)


def read_reports(*texts: str) -> Report:
    """
    Read JUnit reports as pytest writes them. An xfail is written as a skip of its own type and ran.

    A test that was skipped in one report and ran in another ran.

    Raises:
        xml.etree.ElementTree.ParseError: A report is cut short.
    """
    ran: set[str] = set()
    failed: list[str] = []
    skipped: dict[str, str] = {}
    for text in texts:
        for case in ET.fromstring(text).iter("testcase"):  # noqa: S314 - written by our own test run
            name = f"{case.get('classname')}::{case.get('name')}"
            skip = case.find("skipped")
            if case.find("failure") is not None or case.find("error") is not None:
                failed.append(name)
            if skip is not None and skip.get("type") != "pytest.xfail":
                skipped[name] = _reason(skip)
            else:
                ran.add(name)
    reasons = Counter(reason for name, reason in skipped.items() if name not in ran)
    return Report(
        ran=len(ran),
        passed=tuple(sorted(ran - set(failed))),
        failed=tuple(failed),
        skipped=reasons,
    )


def _reason(skip: ET.Element) -> str:
    """Give why; of a module that skipped itself pytest puts that into the text alone."""
    reason = skip.get("message") or "without a reason"
    return f"{reason}: {skip.text}" if reason == "collection skipped" else reason


def complaints(report: Report, allowed: tuple[str, ...] = ALLOWED_SKIPS) -> list[str]:
    """Give one sentence for each thing that makes the run worthless; none when it counts."""
    found = [] if report.ran else ["no test ran"]
    found += [f"failed: {name}" for name in report.failed]
    for reason, count in sorted(report.skipped.items()):
        if not any(re.search(pattern, reason) for pattern in allowed):
            found.append(f"{count} skipped that this machine should be able to run: {reason}")
    return found


def main(arguments: list[str]) -> int:
    """Print the verdict; gives the exit code."""
    parser = argparse.ArgumentParser(description="Judge a test run by its JUnit reports.")
    parser.add_argument("reports", nargs="+", type=Path)
    parser.add_argument("--again", type=Path, help="report of the failed ones, run again alone")
    given = parser.parse_args(arguments)
    try:
        report = _read_files(*given.reports)
        if given.again:
            report = report.look_again(_read_files(given.again))
    except OSError as error:
        print(f"judge: {error.filename} was not written, so no test ran")
        return 1
    except ET.ParseError as error:
        print(f"judge: {' or '.join(map(str, given.reports))} cannot be read: {error}")
        return 1
    found = complaints(report)
    for name in report.unsteady:
        print(f"judge: UNSTEADY, failed beside others and passed alone: {name}")
    for sentence in found:
        print(f"judge: {sentence}")
    print(
        f"judge: {report.ran} ran, {report.skipped.total()} skipped, {len(report.failed)} failed, "
        f"{len(report.unsteady)} unsteady"
    )
    return 1 if found else 0


def _read_files(*paths: Path) -> Report:
    return read_reports(*(path.read_text(encoding="utf-8") for path in paths))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
