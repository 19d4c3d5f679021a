"""Before the booth holds any picture: nothing of its memory may reach the disk through a crash."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
from pathlib import Path
from booth.serve import forbid_core_dumps
forbid_core_dumps()
import ctypes
print(next(line for line in Path("/proc/self/limits").read_text().splitlines() if line.startswith("Max core file size")))
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""


def test_a_booth_leaves_no_core_dump():
    told = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    limit, dumpable = told.stdout.splitlines()
    assert limit.split()[4:6] == ["0", "0"], "soft and hard limit"
    assert dumpable == "0"


def test_booth_run_forbids_it_before_anything_else(tmp_path):
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from booth import serve\n"
        "try:\n"
        "    asyncio.run(serve.serve(Path(sys.argv[1]), json_ready=True))\n"
        "except Exception as error:\n"
        "    import resource\n"
        "    print(type(error).__name__, resource.getrlimit(resource.RLIMIT_CORE))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "missing.toml")]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout == "ConfigUnreadableError (0, 0)\n"
