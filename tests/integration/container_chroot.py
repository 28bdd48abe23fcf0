"""
The image's content in a chroot: what the Dockerfile copies, a Python, the locked packages, no more.

Stands in for a Docker engine where there is none: read-only but for ``/app/data``, ``/app/logs``
and ``/tmp``, the image's numeric user, no capabilities, the image's environment, the same entry
point. ``make chroot-check`` runs it by hand. Needs root on Linux and nothing from the network: the
packages named in requirements-runtime.txt are taken from the running environment.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.fixtures import image
from tests.fixtures.ports import free_port

VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
BASE = Path(sys.base_prefix)
#: Of the standard library, what no program needs to run.
UNNEEDED = shutil.ignore_patterns(
    "test", "tests", "site-packages", "dist-packages", "config-*", "idlelib", "lib2to3", "ensurepip"
)
WRITABLE = ("app/data", "app/logs", "tmp")
START_SECONDS = 120.0
STOP_SECONDS = 40.0

#: $1 is the root. A mount namespace of its own, so that nothing is left mounted.
_ENTER = """
set -e
root="$1"; shift
mount --bind "$root" "$root"
for folder in app/data app/logs tmp; do mount --bind "$root/$folder" "$root/$folder"; done
mount --rbind /dev "$root/dev"
mount --rbind /proc "$root/proc"
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs --bounding-set=-all,+sys_chroot,+setuid,+setgid --inh-caps=-all \\
    chroot --userspec={user}:{user} --groups= "$root" /usr/bin/env -i "$@"
"""


class Chroot:
    """A folder that is the image's root; made once, entered as often as needed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.python = Path("/opt/venv/bin/python")

    def build(self) -> None:
        """Lay out Python, packages, application and the writable folders."""
        for folder in ("dev", "proc", "tmp", "etc", "opt"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        (self.root / "etc" / "hosts").write_text("127.0.0.1 localhost\n", encoding="utf-8")
        image.lay_out(self.root / "app")
        self._lay_out_python()
        self._lay_out_packages()
        env = Path(shutil.which("env") or "/usr/bin/env")
        self._take(env, Path("/usr/bin/env"))
        libraries = self.root.rglob("*.so*")
        programs = [self.root / "usr/bin/env", self.root / self._base_python().relative_to("/")]
        for library in shared_libraries([*programs, *libraries]):
            self._take(library, library)
        for folder in WRITABLE:
            os.chown(self.root / folder, image.USER_ID, image.USER_ID)
        self.root.chmod(0o755)

    def command(self, arguments: Iterable[str], settings: dict[str, str]) -> list[str]:
        """Give the command line that runs *arguments* inside as the image does."""
        variables = {**image.variables(), "PATH": "/opt/venv/bin:/usr/bin:/bin", **settings}
        program = [str(self.python) if word == "python" else word for word in arguments]
        enter = _ENTER.replace("{user}", str(image.USER_ID))
        pairs = [f"{key}={value}" for key, value in variables.items()]
        where = ["--chdir=/app"]
        inside = ["unshare", "--mount", "/bin/sh", "-c", enter, "enter", str(self.root)]
        return [*inside, *where, *pairs, *program]

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a program inside to its end."""
        return subprocess.run(
            self.command(arguments, settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=START_SECONDS,
            check=False,
        )

    def _base_python(self) -> Path:
        return (BASE / "bin" / VERSION).resolve()

    def _lay_out_python(self) -> None:
        library = BASE / "lib" / VERSION
        shutil.copytree(library, self.root / library.relative_to("/"), ignore=UNNEEDED)
        self._take(self._base_python(), self._base_python())
        venv = self.root / "opt" / "venv"
        (venv / "bin").mkdir(parents=True)
        (venv / "bin" / "python").symlink_to(self._base_python())
        settings = f"home = {self._base_python().parent}\ninclude-system-site-packages = false\n"
        (venv / "pyvenv.cfg").write_text(settings, encoding="utf-8")

    def _lay_out_packages(self) -> None:
        target = self.root / "opt" / "venv" / "lib" / VERSION / "site-packages"
        lock = (image.ROOT / "requirements-runtime.txt").read_text(encoding="utf-8")
        for name in re.findall(r"^([A-Za-z0-9._-]+)(?:\[.*?\])?==", lock, re.MULTILINE):
            try:
                package = metadata.distribution(name)
            except metadata.PackageNotFoundError:
                continue  # for another system or another Python
            for file in package.files or ():
                if ".." not in file.parts:
                    goal = target / file
                    goal.parent.mkdir(parents=True, exist_ok=True)
                    source = Path(str(file.locate()))
                    if source.exists():
                        shutil.copy(source, goal)

    def _take(self, source: Path, inside: Path) -> None:
        goal = self.root / inside.relative_to("/")
        goal.parent.mkdir(parents=True, exist_ok=True)
        if not goal.exists():
            shutil.copy(source.resolve(), goal)


def shared_libraries(files: Iterable[Path]) -> set[Path]:
    """Give what the system's loader would load for *files*, wheels' own libraries left out."""
    done = subprocess.run(
        ["ldd", *map(str, files)], capture_output=True, encoding="utf-8", check=False
    )
    found = re.findall(r"(?:=> |^\s+)(/\S+) \(0x", done.stdout, re.MULTILINE)
    return {Path(path) for path in found if "/site-packages/" not in path}


def why_not() -> str | None:
    """Say what this machine lacks to run the check; None when it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "the chroot check needs root on Linux"
    missing = [n for n in ("unshare", "setpriv", "chroot", "ldd") if not shutil.which(n)]
    if missing:
        return f"the chroot check needs {', '.join(missing)}"
    probe = "mount --bind /tmp /tmp && mount -o remount,bind,ro /tmp"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", probe], capture_output=True, check=False
    )
    return None if done.returncode == 0 else "this machine does not allow mounts (a container?)"


def check(root: Path) -> list[str]:
    """Build, migrate, start, ask, stop; gives what was seen. Raises AssertionError."""
    chroot = Chroot(root)
    chroot.build()
    seen = [f"laid out {sum(f.stat().st_size for f in root.rglob('*') if f.is_file()) >> 20} MiB"]
    identity = chroot.run("python", "-c", _IDENTITY)
    assert identity.returncode == 0, identity.stdout
    seen.append(identity.stdout.strip())
    slip = {"BRIDGE_ENVIRONMENT_FROM": ".env", "DIFY_API_KEYY": "x"}
    refused = chroot.run(*image.last_list("ENTRYPOINT"), **slip)
    assert refused.returncode == 1, refused.stdout
    assert "没有名为 DIFY_API_KEYY 的设置" in refused.stdout, refused.stdout
    seen.append("refused a misspelt name")
    migrated = chroot.run("python", "app/utils/database_init.py")
    assert migrated.returncode == 0, migrated.stdout
    seen.append("migrated")
    seen += _serve(chroot)
    return seen


_IDENTITY = f"""
import errno, os, pathlib
assert (os.getuid(), os.getgid(), os.getgroups()) == ({image.USER_ID}, {image.USER_ID}, []), os.getgroups()
status = pathlib.Path("/proc/self/status").read_text()
assert "CapEff:\\t0000000000000000" in status and "NoNewPrivs:\\t1" in status, status
for path in ("/app/x", "/opt/venv/x", "/etc/x", "/x"):
    try:
        open(path, "w")
    except OSError as error:
        assert error.errno == errno.EROFS, error
    else:
        raise AssertionError(path + " can be written")
for folder in ("/app/data", "/app/logs", "/tmp"):
    pathlib.Path(folder, "probe").touch()
print("uid", os.getuid(), "read-only root, no capabilities")
"""


def _serve(chroot: Chroot) -> list[str]:
    port = str(free_port())
    settings = {"SERVER_HOST": "127.0.0.1", "SERVER_PORT": port, "SERVER_DRAIN_DELAY": "0"}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            chroot.command(image.last_list("ENTRYPOINT"), settings),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            begun = time.monotonic()
            status = _status(f"http://127.0.0.1:{port}/healthz", process)
            took = time.monotonic() - begun
            health = chroot.run(*image.last_list("HEALTHCHECK"), **settings)
            process.send_signal(signal.SIGTERM)
            code = process.wait(STOP_SECONDS)
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        said = log.read().decode(errors="replace")
    assert status == 200, said
    assert health.returncode == 0, health.stdout + said
    assert code in (0, -signal.SIGTERM, 128 + signal.SIGTERM), f"{code}\n{said}"
    assert "Traceback" not in said, said
    return [f"healthz 200 after {took:.1f} s", "healthcheck 0", f"SIGTERM: exit code {code}"]


def _status(url: str, process: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - our own http address
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            time.sleep(0.1)
    return 0


def main() -> int:
    """Run the check by hand; gives the exit code."""
    reason = why_not()
    if reason:
        sys.stdout.write(f"{reason}\n")
        return 1
    folder = Path(tempfile.mkdtemp(prefix="image-"))
    try:
        for line in check(folder / "root"):
            sys.stdout.write(f"✓ {line}\n")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
