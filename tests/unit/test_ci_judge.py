"""CI's judge refuses a run that tested nothing, or less than its machine could."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.launcher import ROOT

JUDGE = ROOT / ".ci" / "judge.py"
PASS = "def test_pass():\n    pass\n"
SKIP = (
    "import pytest\n@pytest.mark.skip(reason='no redis-server here')\ndef test_skip():\n    pass\n"
)
FAIL = "def test_fail():\n    assert False\n"
XFAIL = "import pytest\n@pytest.mark.xfail(reason='known')\ndef test_x():\n    assert False\n"
ERROR = "import pytest\n@pytest.fixture\ndef f():\n    raise OSError\ndef test_e(f):\n    pass\n"
ROOT_ONLY = (
    "import os, pytest\n"
    "@pytest.mark.skipif('ROOT' not in os.environ, reason='needs root')\n"
    "def test_root():\n    pass\n"
)
MODULE_SKIP = "import pytest\npytest.skip('no browser here', allow_module_level=True)\n"


def judge(folder: Path, *sources: str) -> tuple[int, str]:
    """Run pytest over *sources* as CI does, and the judge over its report."""
    for number, source in enumerate(sources):
        (folder / f"test_{number}.py").write_text(source, encoding="utf-8")
    return verdict(run(folder, "report.xml"))


def run(folder: Path, report: str, *arguments: str, **variables: str) -> Path:
    """Run pytest over a folder; gives its report."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    subprocess.run(
        [*command, "--rootdir", folder, f"--junitxml={folder / report}", *arguments, folder],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        check=False,
    )
    return folder / report


def verdict(*reports: Path | str) -> tuple[int, str]:
    """The judge's exit code and words."""
    done = subprocess.run(
        [sys.executable, JUDGE, *reports], capture_output=True, encoding="utf-8", check=False
    )
    return done.returncode, done.stdout


def test_run_in_which_everything_passed_counts(tmp_path: Path) -> None:
    """The only verdict that lets a change in; an expected failure ran too."""
    code, said = judge(tmp_path, PASS, XFAIL)

    assert code == 0
    assert "2 ran, 0 skipped, 0 failed" in said


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ((), "no test ran"),
        ((SKIP,), "no test ran"),
        ((PASS, SKIP), "1 skipped that this machine should be able to run: no redis-server here"),
        ((PASS, MODULE_SKIP), "no browser here"),
        ((PASS, FAIL), "failed: test_1::test_fail"),
        ((PASS, ERROR), "failed: test_1::test_e"),
        ((PASS, "syntax error here"), "failed:"),
    ],
    ids=["nothing", "all skipped", "one skipped", "module skipped", "failed", "error", "syntax"],
)
def test_run_that_tested_less_than_it_should_is_refused(
    tmp_path: Path, sources: tuple[str, ...], words: str
) -> None:
    """Exit code 1 and the reason."""
    code, said = judge(tmp_path, *sources)

    assert code == 1
    assert words in said


def test_what_one_run_skipped_counts_when_another_ran_it(tmp_path: Path) -> None:
    """A plain user's run and root's run of the rest are judged together."""
    (tmp_path / "test_both.py").write_text(PASS + ROOT_ONLY, encoding="utf-8")
    plain = run(tmp_path, "plain.xml")
    root = run(tmp_path, "root.xml", "-k", "root", ROOT="1")
    nothing = run(tmp_path, "nothing.xml", "-k", "root")

    together, alone, in_vain = verdict(plain, root), verdict(plain), verdict(plain, nothing)

    assert together[0] == 0
    assert "2 ran, 0 skipped, 0 failed" in together[1]
    assert (alone[0], in_vain[0]) == (1, 1)
    assert "1 skipped that this machine should be able to run: needs root" in in_vain[1]


def test_report_that_is_missing_or_cut_short_is_refused(tmp_path: Path) -> None:
    """pytest died before or while it wrote; a good report beside it does not help."""
    (tmp_path / "test_good.py").write_text(PASS, encoding="utf-8")
    good = run(tmp_path, "good.xml")
    report = tmp_path / "report.xml"
    for content in (None, "<testsuites><testsuite>"):
        if content:
            report.write_text(content, encoding="utf-8")
        for reports in ([report], [good, report]):
            code, said = verdict(*reports)
            assert code == 1
            assert "judge:" in said


def test_judge_without_a_report_refuses() -> None:
    """Whoever forgets the argument gets no verdict for free."""
    assert verdict()[0] != 0


#: Fails where others run beside it, as the variable says here.
UNSTEADY = "import os\ndef test_{}():\n    assert 'ALONE' in os.environ\n"


@pytest.mark.parametrize(
    ("unsteady", "sources", "code"),
    [
        pytest.param(1, [PASS], 0, id="one-that-passes-alone"),
        pytest.param(1, [PASS, FAIL], 1, id="beside-one-that-fails-alone-too"),
        pytest.param(4, [PASS], 1, id="too-many"),
    ],
)
def test_what_fails_only_beside_others_is_named_and_counts_when_it_is_much(
    tmp_path: Path, unsteady: int, sources: list[str], code: int
) -> None:
    """A second look never hides what fails again, and never forgives many."""
    unsteady_sources = [UNSTEADY.format(number) for number in range(unsteady)]
    first = judge(tmp_path, *sources, *unsteady_sources)
    assert first[0] == 1
    again = run(tmp_path, "alone.xml", ALONE="yes")

    got, said = verdict(tmp_path / "report.xml", "--again", again)

    assert got == code
    assert said.count("UNSTEADY") == (1 if unsteady == 1 else 0)
    assert said.count("judge: failed: ") == {0: 0, 1: max(1, unsteady)}[code]


def test_a_second_run_that_was_not_written_forgives_nothing(tmp_path: Path) -> None:
    """It ended before it began, or took too long."""
    judge(tmp_path, PASS, UNSTEADY.format(1))

    code, said = verdict(tmp_path / "report.xml", "--again", tmp_path / "none.xml")

    assert code == 1
    assert "was not written" in said
