"""docs/first-booth.md as a newcomer follows it: its command lines and its settings, run as they stand there, make an enrolled booth."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from booth.config import Config

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "first-booth.md").read_text("utf-8")
COMMAND_S = 120
STOP_S = 30


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", DOCS, re.MULTILINE | re.DOTALL)


def commands(block: str) -> str:
    """The lines that are typed."""
    assert all(line.startswith("$ ") for line in block.splitlines()), block
    return block.replace("$ ", "", 1).replace("\n$ ", "\n")


class Newcomer:
    """Somebody with an empty folder and our two commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        passphrase = str(folder / "ca.pass")
        self.environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "INTAKE_CA_PASSPHRASE_FILE": passphrase,
            "INTAKE_ISSUER_PASSPHRASE_FILE": passphrase,
        }

    def types(self, lines: str) -> str:
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", lines],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        assert done.returncode == 0, (lines, done.stdout, done.stderr)
        return done.stdout

    @contextmanager
    def starts(self, line: str) -> Iterator[dict[str, str]]:
        """A program that serves: on a free port, until the end of the block."""
        words = re.sub(r"--port \d+", "--port 0", line.partition("    #")[0]).split()
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [*words, "--json-ready"], cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=log
            )
        assert process.stdout is not None
        try:
            ready = process.stdout.readline()
            assert ready, (self.folder / "log").read_text()
            yield json.loads(ready)
        finally:
            process.terminate()
            process.stdout.close()
            assert process.wait(STOP_S) == 0


def line_with(start: str) -> str:
    (found,) = (line for block in blocks("sh") for line in block.splitlines() if line.startswith(start))
    return found


def test_every_line_works_as_it_stands(tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    somebody = Newcomer(tmp_path)
    *preparing, enrolling = blocks("console")
    somebody.types("\n".join(commands(block) for block in preparing))
    settings, in_token = blocks("toml")
    with somebody.starts(line_with("intake serve")) as intake, somebody.starts(line_with("intake desk")) as desk:
        made = somebody.types(line_with("intake users add"))
        assert re.search(r"^password  ([2-9a-z]{4}-){3}[2-9a-z]{4}", made, re.MULTILINE), made
        assert desk["url"].startswith("https://")
        (tmp_path / "booth.toml").write_text(settings.replace("https://127.0.0.1:8443", intake["url"]))
        said = somebody.types("umask 077\n" + commands(enrolling))
        assert "The certificate of booth-0042 is in use" in said
        assert "!" not in said, said  # nothing needs care
        assert "Sound" in somebody.types(line_with("intake log verify"))
    # The settings of a token are complete, too.
    tree = tomllib.loads(settings) | tomllib.loads(in_token)
    assert Config(**tree).keys.certificate == Path("booth.pem")
