"""Does requirements.lock hold a package with a known vulnerability? `python tests/audit_lock.py UV`

Asks the Python Packaging Advisory database by pip-audit, which uv runs outside the project's environment. Exit code 1 for a vulnerability that
.ci/known-vulnerabilities.toml does not let pass, and for an entry there that is past its day or matches nothing. Where the service does not answer, or
knows none of the packages (a mirror without advisories), that is said and the exit code is 0: no gate may depend on somebody else's server.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
IGNORED = PROJECT / ".ci" / "known-vulnerabilities.toml"
LIMIT_S = 300
# What is locked here and asked for there: --no-deps and --disable-pip ask about the lock alone, without installing anything.
ASK = ("tool", "run", "pip-audit==2.10.1", "--requirement", "requirements.lock", "--no-deps", "--disable-pip")
AS_JSON = ("--progress-spinner", "off", "--format", "json")


@dataclass(frozen=True)
class Judged:
    """What an answer means."""

    failed: bool
    lines: tuple[str, ...]


def judge(answer: Mapping[str, Any] | None, ignored: Sequence[Mapping[str, Any]], today: date) -> Judged:
    """The exit and its words; `answer` is pip-audit's, None when there was none."""
    lines = [
        f"{one['id']} of {one['package']}: let pass until {one['until']}, which is over."
        for one in ignored
        if one["until"] < today
    ]
    dependencies = [] if answer is None else answer["dependencies"]
    audited = [one for one in dependencies if "skip_reason" not in one]
    if not audited:
        note = (
            "no advisory service answered"
            if answer is None
            else f"the service knows none of {len(dependencies)} packages"
        )
        return Judged(bool(lines), (*lines, f"Known vulnerabilities were not checked: {note}."))
    passing = {(one["package"], one["id"]) for one in ignored}
    used = set()
    for package in audited:
        for found in package["vulns"]:
            names = {(package["name"], name) for name in (found["id"], *found.get("aliases", ()))}
            used |= names & passing
            if not names & passing:
                mended = ", ".join(found.get("fix_versions", ())) or "no version"
                lines.append(f"{package['name']} {package['version']}: {found['id']}, mended in {mended}.")
    lines += [
        f"{name} of {package}: let pass, but no longer found: take it out." for package, name in sorted(passing - used)
    ]
    failed = bool(lines)
    skipped = len(dependencies) - len(audited)
    told = f"{len(audited)} packages checked for known vulnerabilities" + (
        f", {skipped} unknown to the service" if skipped else ""
    )
    return Judged(failed, (*lines, f"{told}."))


def read_ignored(path: Path = IGNORED) -> list[dict[str, Any]]:
    """The list of those that pass; an entry that says too little is an error."""
    entries: list[dict[str, Any]] = tomllib.loads(path.read_text("utf-8")).get("ignored", [])
    for entry in entries:
        if (
            entry.keys() != {"id", "package", "reason", "until"}
            or not isinstance(entry["until"], date)
            or not entry["reason"]
        ):
            raise ValueError(f"{path.name}: an entry has exactly id, package, reason and until (a day): {entry}")
    return entries


def ask(uv: str) -> dict[str, Any] | None:
    """pip-audit's answer; None when it got none."""
    try:
        done = subprocess.run([uv, *ASK, *AS_JSON], cwd=PROJECT, capture_output=True, timeout=LIMIT_S, check=False)
        answer: dict[str, Any] = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return None
    return answer if isinstance(answer, dict) and isinstance(answer.get("dependencies"), list) else None


def main() -> int:
    """Ask, say, and return the exit code."""
    ignored = read_ignored()
    judged = judge(ask(sys.argv[1] if len(sys.argv) > 1 else "uv"), ignored, datetime.now(UTC).date())
    print("\n".join(judged.lines))
    return 1 if judged.failed else 0


if __name__ == "__main__":
    sys.exit(main())
