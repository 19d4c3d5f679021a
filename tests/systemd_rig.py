"""A machine of its own under a running systemd: namespaces of this machine, in which systemd is process 1 and deploy/ is installed as the manual says.

The root is this machine's, with a layer of memory above it: nothing is written to the real one. The network is a loopback of its own. What is missing:
a kernel of its own (no sysctl is set), udev, and, where the machine's memory controller is taken already, the limits of memory.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event

PROJECT = Path(__file__).resolve().parent.parent
SYSTEMD = Path("/usr/lib/systemd/systemd")
# The units do not see /root and /home: their Python is the machine's own.
PYTHON = Path(f"/usr/bin/python3.{sys.version_info.minor}")
TOOLS = ("unshare", "nsenter", "setpriv", "pivot_root", "systemctl", "systemd-sysusers")
START_S = 60.0
LOOK_S = 0.1

BOOT = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
cd /mnt/root
mount -t proc proc proc
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do touch dev/$device; mount --bind /dev/$device dev/$device; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs tmpfs dev/shm
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mkdir run/given
mount --bind "$1" run/given
mount -t tmpfs tmpfs tmp
mkdir -p opt/passbooth
mount --bind "$2" opt/passbooth
mount -t tmpfs -o mode=755 tmpfs opt/passbooth/.venv
mkdir opt/passbooth/.venv/bin opt/passbooth/.venv/lib
ln -s "$3" opt/passbooth/.venv/bin/python
mount --bind "$2/.venv/lib" opt/passbooth/.venv/lib
echo /opt/passbooth > run/here
for path in opt/passbooth/.venv/lib/python3.*/site-packages/*passbooth*.pth; do mount --bind run/here "$path"; done
printf 'home = /usr/bin\\ninclude-system-site-packages = false\\n' > opt/passbooth/.venv/pyvenv.cfg
for program in booth intake; do
    sed '1s|.*|#!/opt/passbooth/.venv/bin/python|' "$2/.venv/bin/$program" > opt/passbooth/.venv/bin/$program
    chmod 755 opt/passbooth/.venv/bin/$program
done
cp opt/passbooth/deploy/sysusers.d/passbooth.conf usr/lib/sysusers.d/
cp opt/passbooth/deploy/systemd/*.service etc/systemd/system/
mkdir root/before
pivot_root . root/before
umount -l /root/before
mount --make-rshared /
# What would set the one kernel that all share, or wait for devices that are not there.
for unit in systemd-sysctl systemd-modules-load systemd-udevd systemd-remount-fs systemd-timesyncd; do
    ln -sf /dev/null /etc/systemd/system/$unit.service
done
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin "$4" --system --unit=basic.target --show-status=no
"""


def why_not() -> str | None:
    """What keeps this machine from it; None when nothing is known to."""
    if os.geteuid() != 0:
        return "needs root"
    if not SYSTEMD.exists():
        return "needs systemd: apt-get install systemd"
    if not PYTHON.exists():
        return f"needs {PYTHON}: apt-get install python3"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"needs {', '.join(missing)}" if missing else None


class Machine:
    """A running systemd."""

    def __init__(self, process: int) -> None:
        self._process = process

    def run(self, *command: str, check: bool = True) -> str:
        """A command of its root user; what it prints."""
        enter = ["nsenter", "-t", str(self._process), "-m", "-p", "-i", "-u", "-n", "-C", "-r", "-w", "--"]
        plain = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        done = subprocess.run([*enter, *plain, *command], capture_output=True, text=True, timeout=START_S, check=False)
        assert done.returncode == 0 or not check, (command, done.stdout, done.stderr)
        return done.stdout.strip()

    def shell(self, script: str) -> str:
        """Lines of a shell."""
        return self.run("sh", "-euc", script)

    def facts(self, unit: str) -> dict[str, str]:
        """What systemd says of a unit."""
        names = "ActiveState,SubState,MainPID,NRestarts,Result,StatusText,ExecMainStatus"
        shown = self.run("systemctl", "show", unit, f"--property={names}", check=False)
        return dict(line.split("=", 1) for line in shown.splitlines())

    def until(self, unit: str, **wanted: str) -> dict[str, str]:
        """Wait for these facts; all facts then."""
        end = time.monotonic() + START_S
        while not wanted.items() <= (facts := self.facts(unit)).items():
            assert time.monotonic() < end, (unit, facts, self.log(unit))
            Event().wait(LOOK_S)
        return facts

    def log(self, unit: str) -> str:
        """What a unit wrote."""
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", unit, check=False)


@contextmanager
def machine(given: Path) -> Iterator[Machine]:
    """Starts systemd, and ends it and everything in it. `given` is seen as /run/given."""
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--cgroup", "--ipc", "--uts", "--net"]
    command += ["--fork", "--kill-child=KILL", "sh", "-c", BOOT, "boot", str(given), str(PROJECT), str(PYTHON)]
    with (given / "boot.log").open("wb") as log:
        outer = subprocess.Popen([*command, str(SYSTEMD)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    try:
        end = time.monotonic() + START_S
        while True:
            assert outer.poll() is None, (given / "boot.log").read_text()
            assert time.monotonic() < end, "systemd does not start"
            first = children.read_text().split()
            if first and Path(f"/proc/{first[0]}/comm").read_text() == "systemd\n":
                there = Machine(int(first[0]))
                if there.run("systemctl", "is-system-running", check=False) in {"running", "degraded"}:
                    break
            Event().wait(LOOK_S)
        yield there
    finally:
        with suppress(OSError, IndexError):
            os.kill(int(children.read_text().split()[0]), signal.SIGKILL)
        outer.kill()
        outer.wait()
