"""`python -m tests.wire.fault_report`: runs the fault matrix several times and prints its table for docs/reliability.md.

`--write` puts the table between the marks of that file; `--from PATH` prints what an earlier run noted (`pytest --heal-times PATH`).
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.wire.fault_tables import FAULTS, NOT_APPLICABLE, TABLES

PROJECT = Path(__file__).resolve().parents[2]
DOCUMENT = PROJECT / "docs" / "reliability.md"
BEGIN, END = "<!-- faults -->", "<!-- /faults -->"
# Folders of the virtual booth have another name in every run, and counts of bytes another value.
FOLDER = re.compile(r"/tmp/virtual-booth-[^/ ]+/\w+")
COUNTS = ((re.compile(r"\b\d+ bytes came"), "… bytes came"), (re.compile(r"\(\d+ bytes\)"), "(… bytes)"))
RATE = re.compile(r"only \d+ of \d+")
ANSWERED = re.compile(r"it answers \{.*?\}")
SAID = re.compile(r"asked for \d+, it says \d+")

Runs = dict[tuple[str, str], list[dict[str, Any]]]


def measure(runs: int, path: Path) -> bool:
    """Run the matrix; what it measures is appended to the file. Whether every cell passed."""
    passed = True
    for number in range(runs):
        print(f"run {number + 1} of {runs}", file=sys.stderr)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/wire/test_fault_matrix.py"]
        done = subprocess.run([*command, "--heal-times", str(path)], cwd=PROJECT, check=False, stdout=sys.stderr)
        passed = passed and done.returncode == 0
    return passed


def read(path: Path) -> Runs:
    """What was noted, by device and fault."""
    found: Runs = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        one = json.loads(line)
        found[one["device"], one["fault"]].append(one)
    return found


def seconds(runs: list[dict[str, Any]], key: str) -> str:
    """Median and worst."""
    values = [one[key] for one in runs if one[key] is not None]
    return f"{statistics.median(values):.1f} / {max(values):.1f}" if values else ""


def plain(detail: str) -> str:
    """The words without what differs from run to run."""
    detail = FOLDER.sub("/dev/serial/by-id/…", detail)
    for pattern, words in COUNTS:
        detail = pattern.sub(words, detail)
    detail = RATE.sub("only 5 of 10", detail)
    return SAID.sub("asked for …, it says …", ANSWERED.sub("it answers {…}", detail)).replace("|", "\\|")


def table(found: Runs) -> str:
    """Markdown: the matrix, then the words."""
    devices = tuple(TABLES)
    lines = [f"| fault | {' | '.join(devices)} |", f"|---{'|---' * len(devices)}|"]
    for fault, words in FAULTS.items():
        cells = []
        for device in devices:
            cell = TABLES[device].get(fault)
            if cell is None:
                cells.append(f"none ({NOT_APPLICABLE[fault, device]})")
                continue
            healed = seconds(found.get((device, fault), []), "healed_s")
            cells.append(f"{cell.ends.value}; {healed} s" if healed else cell.ends.value)
        lines.append(f"| {words} | {' | '.join(cells)} |")
    lines += [
        "",
        "| device | fault | told after, s | healed after, s | what the status says |",
        "|---|---|---|---|---|",
    ]
    cells = [(device, fault) for device, table in TABLES.items() for fault in FAULTS if fault in table]
    for device, fault in (cell for cell in cells if cell in found):
        runs = found[device, fault]
        told = seconds(runs, "told_s")
        if told:
            words = plain(runs[-1]["detail"])
            lines.append(f"| {device} | {FAULTS[fault]} | {told} | {seconds(runs, 'healed_s')} | {words} |")
    counts = sorted({len(runs) for runs in found.values()})
    count = " to ".join(str(one) for one in counts[:: max(1, len(counts) - 1)])
    worst = max((one["healed_s"], *key) for key, runs in found.items() for one in runs if one["healed_s"] is not None)
    lines += [
        "",
        f"Times are median / worst of {count} runs; the worst of all is {worst[0]:.1f} s ({worst[1]}, {worst[2]}).",
    ]
    return "\n".join(lines)


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m tests.wire.fault_report", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--from", dest="noted", type=Path, metavar="PATH", help="print an earlier run's notes")
    parser.add_argument("--write", action="store_true", help=f"renew {DOCUMENT.relative_to(PROJECT)}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.noted or Path(folder) / "times.jsonl"
        passed = options.noted is not None or measure(options.runs, path)
        text = table(read(path))
    if not options.write or not passed:
        print(text)
        return 0 if passed else 1
    document = DOCUMENT.read_text(encoding="utf-8")
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        print(f"{DOCUMENT} has no {BEGIN} … {END}", file=sys.stderr)
        return 1
    DOCUMENT.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
