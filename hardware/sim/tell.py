"""`python -m hardware.sim tell SOCKET ORDER…`: gives a running virtual booth its orders and prints the answers, one line each.

An order is one JSON object (docs/virtual-booth.md); without any, each line of standard input is one. Where one is refused, those behind it are not given.
Exit codes: 0 all were carried out; 1 one was refused; 2 nobody answers at the socket.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
from pathlib import Path
from typing import Final

ANSWER_S: Final = 10.0
COMMAND: Final = "tell"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m hardware.sim tell",
        description="Gives a running virtual booth its orders and prints the answers.",
        epilog="""example: python -m hardware.sim tell ./virtual/control '{"fault":"lights.unplug","on":true}'""",
    )
    made.add_argument("socket", type=Path, help="the control socket that the virtual booth told")
    made.add_argument("orders", nargs="*", metavar="ORDER", help="a JSON object; without any: lines of standard input")
    return made


def tell(arguments: list[str]) -> int:
    """The program."""
    options = parser().parse_args(arguments)
    try:
        with socket.socket(socket.AF_UNIX) as line, line.makefile("rb") as answers:
            line.settimeout(ANSWER_S)
            line.connect(str(options.socket))
            for order in options.orders or (text for text in sys.stdin if text.strip()):
                line.sendall(order.replace("\n", " ").encode() + b"\n")
                answer = answers.readline()
                if not answer:
                    raise ConnectionError("it ended the connection")
                print(answer.decode().strip(), flush=True)
                if not json.loads(answer)["ok"]:
                    return 1
    except OSError as error:
        print(f"no virtual booth answers at {options.socket}: {error.strerror or error}", file=sys.stderr)
        return 2
    return 0
