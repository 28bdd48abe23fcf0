"""The spill file: what was fsynced is there after any crash, and nobody takes a living process's."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.services import spill as spill_module
from app.services.errors import StoreUnavailable
from app.services.spill import Spill, SpillFile
from app.utils.lock import try_lock

MEBIBYTE = 1 << 20
ROOT = Path(__file__).resolve().parents[2]

#: Spills each line of its input and says so; ends when it is killed.
CHILD = """
import asyncio, sys
from pathlib import Path
from app.services.spill import Spill

async def main():
    spill = Spill(Path(sys.argv[1]), max_bytes=1 << 20)
    for line in sys.stdin:
        await spill.append([{"text": line.strip()}])
        print("durable", flush=True)

asyncio.run(main())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Made by the spill itself."""
    return tmp_path / "data" / "spill"


@pytest.fixture
def spill(folder: Path) -> Iterator[Spill]:
    """One process's spill."""
    spill = Spill(folder, max_bytes=MEBIBYTE)
    yield spill
    spill.close()


def files_in(folder: Path) -> list[Path]:
    """What lies there."""
    return sorted(folder.iterdir())


def leave_file(folder: Path, content: bytes) -> None:
    """A dead process was here."""
    folder.mkdir(parents=True)
    (folder / "1-dead.spill").write_bytes(content)


async def replayed(spill: Spill) -> list[Any]:
    """What a replay of everything sees, in its order."""
    found: list[Any] = []
    while (file := await spill.take()) is not None:
        found += file.records()
        spill.finish(file, odd=False)
    return found


@pytest.mark.skipif(os.name != "posix", reason="folders cannot be synced")
async def test_the_names_of_new_folders_are_durable_like_that_of_the_file(
    spill: Spill, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut right after the first line must not take ``data/spill`` away with it."""
    synced: list[Path] = []
    original = spill_module._sync_folder

    def sync(one: Path) -> None:
        assert any(one.iterdir())
        synced.append(one)
        original(one)

    monkeypatch.setattr(spill_module, "_sync_folder", sync)
    await spill.append([{"n": 1}])
    assert sorted(synced) == [tmp_path, folder.parent, folder]
    synced.clear()
    file = await spill.take()
    assert file is not None
    spill.finish(file, odd=False)

    await spill.append([{"n": 2}])
    assert synced == [folder]


async def test_lines_come_back_in_order_and_exactly(spill: Spill, folder: Path) -> None:
    """Texts with line ends of all kinds, emoji and NUL are one line each."""
    records = [{"n": n, "text": "一\n二\u2028三\x00🐼\r"} for n in range(3)]

    await spill.append(records[:2])
    await spill.append(records[2:])

    assert spill.pending == 3
    assert len(files_in(folder)) == 1
    assert await replayed(spill) == records
    assert spill.pending == 0
    assert files_in(folder) == []


async def test_a_torn_last_line_is_skipped(spill: Spill) -> None:
    """A crash in the middle of a write: nobody was told that this line is durable."""
    await spill.append([{"n": 1}])
    assert spill._current is not None
    spill._current.handle.write(b'{"n": 2, "te')

    assert await replayed(spill) == [{"n": 1}]


async def test_a_broken_line_in_the_middle_is_shown_and_the_others_are_read(spill: Spill) -> None:
    """Whoever replays must know that something was there."""
    await spill.append([{"n": 1}])
    assert spill._current is not None
    spill._current.handle.write(b"\x00\x00\x00\n[1]\n")
    await spill.append([{"n": 2}])

    assert await replayed(spill) == [{"n": 1}, None, None, {"n": 2}]


async def test_a_file_given_back_stays_the_oldest(spill: Spill) -> None:
    """A replay that failed changes nothing, and what came meanwhile stays behind."""
    await spill.append([{"n": 1}, {"n": 2}])
    file = await spill.take()
    assert file is not None
    await spill.append([{"n": 3}])
    spill.give_back(file)

    assert spill.pending == 3
    assert await replayed(spill) == [{"n": 1}, {"n": 2}, {"n": 3}]


async def test_lines_on_their_way_to_sql_still_count_as_only_here(folder: Path) -> None:
    """While the replay tries, health must not say that SQL has everything, nor the bound grow."""
    spill = Spill(folder, max_bytes=100)
    await spill.append([{"text": "x" * 40}])
    file = await spill.take()
    assert file is not None

    assert spill.pending == 1
    with pytest.raises(StoreUnavailable, match="100 bytes"):
        await spill.append([{"text": "y" * 60}])
    spill.finish(file, odd=False)
    assert spill.pending == 0


async def test_the_bound_holds_over_all_files(folder: Path) -> None:
    """A long outage must not fill the disk: beyond the bound is a refusal, and nothing is torn."""
    spill = Spill(folder, max_bytes=100)
    await spill.append([{"text": "x" * 40}])
    file = await spill.take()
    assert file is not None
    spill.give_back(file)
    await spill.append([{"n": 1}])

    with pytest.raises(StoreUnavailable, match="100 bytes"):
        await spill.append([{"text": "y" * 40}])

    await spill.append([{"n": 2}])
    assert [list(record) for record in await replayed(spill)] == [["text"], ["n"], ["n"]]


async def test_a_disk_that_refuses_is_no_acceptance(
    spill: Spill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fsync fails once: the line is void, and the next one is whole."""
    await spill.append([{"n": 1}])

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreUnavailable, match="No space left"):
            await spill.append([{"n": 2}])
    await spill.append([{"n": 3}])

    assert spill.pending == 2
    assert await replayed(spill) == [{"n": 1}, {"n": 3}]


async def test_a_folder_that_cannot_be_made_is_no_acceptance(tmp_path: Path) -> None:
    """There is a file where the folder should be."""
    (tmp_path / "data").write_text("in the way")
    spill = Spill(tmp_path / "data" / "spill", max_bytes=MEBIBYTE)

    with pytest.raises(StoreUnavailable):
        await spill.append([{"n": 1}])

    assert spill.pending == 0


async def test_a_spill_says_whether_it_could_be_used(folder: Path) -> None:
    """The nearest folder that exists decides."""
    assert Spill(folder, max_bytes=1).is_usable()
    assert not Spill(Path("/proc/1/spill"), max_bytes=1).is_usable() or os.geteuid() == 0


async def test_a_killed_process_leaves_what_it_called_durable(folder: Path) -> None:
    """kill -9 right after the answer: the next start adopts the file and has every line."""
    with child(folder) as process:
        for number in range(3):
            say(process, f"line {number}")
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    heir = Spill(folder, max_bytes=MEBIBYTE)

    assert heir.adopt() == 1

    assert heir.pending == 3
    assert await replayed(heir) == [{"text": f"line {number}"} for number in range(3)]
    assert files_in(folder) == []


async def test_the_file_of_a_living_process_is_left_alone(folder: Path) -> None:
    """Two replicas share a folder: only when one is dead the other takes its lines."""
    here = Spill(folder, max_bytes=MEBIBYTE)
    await here.append([{"text": "mine"}])
    with child(folder) as process:
        say(process, "theirs")

        assert here.adopt() == 0
        assert here.pending == 1

        process.kill()
        process.wait(10)
    assert here.adopt() == 1
    assert await replayed(here) == [{"text": "theirs"}, {"text": "mine"}]


async def test_orphans_are_adopted_oldest_first_and_only_once(folder: Path) -> None:
    """Several dead processes: their lines come in the order in which they were written."""
    for number, age in ((1, 50), (2, 90), (3, 10)):
        spill = Spill(folder, max_bytes=MEBIBYTE)
        await spill.append([{"n": number}])
        assert spill._current is not None
        path = spill._current.path
        spill.close()
        os.utime(path, (1_767_000_000 - age,) * 2)
    heir, late = Spill(folder, max_bytes=MEBIBYTE), Spill(folder, max_bytes=MEBIBYTE)

    assert (heir.adopt(), late.adopt(), heir.adopt()) == (3, 0, 0)

    assert await replayed(heir) == [{"n": 2}, {"n": 1}, {"n": 3}]


async def test_an_adopted_file_is_read_also_if_its_last_line_is_torn(folder: Path) -> None:
    """Only a torn line: nothing to replay, and the file goes."""
    leave_file(folder, b'{"n": 1')
    heir = Spill(folder, max_bytes=MEBIBYTE)

    assert heir.adopt() == 1
    assert heir.pending == 1
    assert await replayed(heir) == []
    assert files_in(folder) == []


async def test_a_new_file_that_somebody_adopted_at_once_is_not_written_to(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between making and locking a file another process may take it and remove it."""
    thief = Spill(folder, max_bytes=MEBIBYTE)
    really_lock = try_lock
    stolen: list[int] = []

    def slow_lock(descriptor: int) -> bool:
        if not stolen:
            stolen.append(descriptor)
            assert thief.adopt() == 1
        return really_lock(descriptor)

    monkeypatch.setattr(spill_module, "try_lock", slow_lock)
    spill = Spill(folder, max_bytes=MEBIBYTE)
    await spill.append([{"n": 1}])
    assert await replayed(thief) == []

    assert await replayed(spill) == [{"n": 1}]


async def test_a_file_that_vanishes_while_it_is_adopted_is_nobodys(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner finished the replay and removed it between our look and our lock."""
    owner = Spill(folder, max_bytes=MEBIBYTE)
    await owner.append([{"n": 1}])
    really_lock = try_lock

    def late_lock(descriptor: int) -> bool:
        file = owner._files.popleft()
        owner.finish(file, odd=False)
        return really_lock(descriptor)

    monkeypatch.setattr(spill_module, "try_lock", late_lock)

    assert Spill(folder, max_bytes=MEBIBYTE).adopt() == 0
    assert files_in(folder) == []


async def test_concurrent_appends_and_looks_do_not_disturb_each_other(spill: Spill) -> None:
    """Threads write, the event loop counts; no line is lost or mixed."""

    async def watch() -> None:
        while spill.pending < 50:
            await asyncio.sleep(0)

    watcher = asyncio.create_task(watch())
    await asyncio.gather(*(spill.append([{"n": number}]) for number in range(50)))
    await watcher

    found = await replayed(spill)
    assert sorted(record["n"] for record in found) == list(range(50))


async def test_a_file_set_aside_is_kept_and_never_adopted(spill: Spill, folder: Path) -> None:
    """For a person to look at."""
    await spill.append([{"n": 1}])
    file = await spill.take()
    assert isinstance(file, SpillFile)

    spill.finish(file, odd=True)

    [kept] = files_in(folder)
    assert kept.read_bytes() == b'{"n":1}\n'
    assert Spill(folder, max_bytes=MEBIBYTE).adopt() == 0


@contextmanager
def child(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that spills."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def say(process: "subprocess.Popen[str]", line: str) -> None:
    """Give a line to the child and wait until it calls it durable."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "durable\n"


async def test_a_full_disk_costs_no_file_and_no_handle_a_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in which nothing was promised goes at once; later lines find their place again."""
    spill = Spill(tmp_path, max_bytes=10_000)
    full = OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("app.services.spill._write", lambda *_: (_ for _ in ()).throw(full))
        for _ in range(5):
            with pytest.raises(StoreUnavailable):
                await spill.append([{"id": "1"}])
    left = os.listdir(tmp_path)  # noqa: PTH208 - three names, in a test
    await spill.append([{"id": "2"}])

    assert left == []
    assert spill.pending == 1
    spill.close()
