# ruff: noqa: INP001 - a program beside what it writes, not a module of a package
"""Writes the parts of requirements.lock that the images of intake and desk need: nothing of cameras, lamps or tests is in them, and in the intake's no image code.

    .venv/bin/python deploy/container/server_lock.py        writes server.lock, desk.lock and build.lock beside itself

Order of operation: what pyproject.toml asks for without extras, with `server`, and for the desk with `desk`, or to build the package; then what those ask for, as the
installed packages tell it, without what pyproject.toml overrides away; of each the block of
requirements.lock, word for word. A name without a block ends the program. tests/unit/test_deploy_container.py compares.
"""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parents[2]
HEAD = "# Made by deploy/container/server_lock.py out of requirements.lock; do not edit.\n"


def blocks(lock: str) -> dict[str, str]:
    """The block of each package."""
    found = re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)
    return {canonicalize_name(re.match(r"[A-Za-z0-9._-]+", one)[0]): one for one in found if one[:1].isalnum()}


def closure(asked: list[str], never: set[str]) -> set[str]:
    """Everything that these requirements need here, but for the names in `never`."""
    waiting, seen = [Requirement(one) for one in asked], set()
    while waiting:
        one = waiting.pop()
        if canonicalize_name(one.name) in never:
            continue
        wanted = {(canonicalize_name(one.name), extra) for extra in ("", *one.extras)} - seen
        seen |= wanted
        for name, extra in wanted:
            told = [Requirement(each) for each in requires(name) or ()]
            waiting += [each for each in told if each.marker is None or each.marker.evaluate({"extra": extra})]
    return {name for name, _ in seen}


def locks() -> dict[str, str]:
    """The files by name, whole."""
    document = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))
    project = document["project"]
    extras = project["optional-dependencies"]
    overrides = [Requirement(one) for one in document["tool"]["uv"]["override-dependencies"]]
    never = {canonicalize_name(one.name) for one in overrides if one.marker and not one.marker.evaluate()}
    asked = {
        "server.lock": [*project["dependencies"], *extras["server"]],
        "desk.lock": [*project["dependencies"], *extras["server"], *extras["desk"]],
        "build.lock": document["build-system"]["requires"],
    }
    known = blocks((PROJECT / "requirements.lock").read_text("utf-8"))
    made = {}
    for file, requirements in asked.items():
        names = closure(requirements, never)
        missing = sorted(names - known.keys())
        if missing:
            sys.exit(f"requirements.lock lacks {', '.join(missing)}: renew it with ./run lock.")
        made[file] = HEAD + "".join(known[name] for name in sorted(names))
    return made


if __name__ == "__main__":
    for name, content in locks().items():
        Path(__file__).with_name(name).write_text(content, "utf-8")
