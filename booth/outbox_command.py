"""`booth outbox list|verify|retry|export`: what waits for its receipt, on the booth that stores it.

All of them work while the booth runs, and none needs it to be stopped. `list` and `verify` only look (booth/outbox_audit.py). `retry` writes one
statement into the database, which the running booth notices within half a minute; it never touches a packet's file. `export` looks too, and
notes at its end which receipts it has copied (booth/outbox_receipts.py). A damaged
packet is not retried here: the booth itself looks at it at each start, and it waits again when its file is whole.

Exit codes: 0 good; 1 something needs a technician (list: a refused or damaged packet; verify: a finding; export: a packet left out; retry: a
packet that was named is neither refused nor postponed); 2 it could not be done, and one sentence says why.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from booth.terminal import output, printable

if TYPE_CHECKING:
    from booth.config import Config
    from booth.outbox_database import Entry

NEEDED, FAILED = 1, 2
LATEST = 253_402_300_799.0  # the year 9999: a damaged row may say anything

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Look at the packets that wait for the intake, prove them, retry them, copy them. The booth may be running.

    [bold]Examples[/bold]

    booth outbox list --config /etc/passbooth/booth.toml

    booth outbox verify --json

    booth outbox retry                              everything that was refused or postponed

    booth outbox export /media/stick
    """,
)

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The booth's settings.", envvar="PASSBOOTH_CONFIG")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command("list")
def list_packets(
    config: ConfigOption = Path("booth.toml"),
    as_json: JsonOption = False,
    everything: Annotated[bool, typer.Option("--all", help="Delivered packets too.")] = False,
) -> None:
    """List packets with the applicant's reference, state, age, tries and the intake's last answer.

    [bold]Example[/bold]: booth outbox list --all --json
    """
    from booth.outbox_audit import read_entries
    from booth.outbox_database import PacketState
    from booth.sealing import reference_of

    with _failing():
        entries = read_entries(_folder(_load(config)))
    shown = [entry for entry in entries if everything or entry.state is not PacketState.RECEIPTED]
    if as_json:
        print(json.dumps([asdict(entry) for entry in shown]))
    else:
        table = Table("Packet", "Reference", "State", "Size", "Stored (UTC)", "Tries", "Next try", box=SIMPLE_HEAD)
        table.columns[0].no_wrap = table.columns[1].no_wrap = True
        for entry in shown:
            left_s = entry.next_try_at - time.time()
            waits = entry.state is PacketState.WAITING
            table.add_row(
                entry.sha256[:12],
                escape(printable(reference_of(entry.packet_id))),  # a damaged row may say anything
                entry.state,
                f"{entry.size / 1000:.0f} kB",
                datetime.fromtimestamp(min(max(entry.created_at, 0), LATEST), UTC).strftime("%Y-%m-%d %H:%M"),
                str(entry.attempts),
                (f"in {left_s:.0f} s" if left_s > 0 else "now") if waits else "",
            )
        output().print(table if shown else "Nothing waits.")
        for answer, digests in _answers(shown).items():
            print(f"{', '.join(digests)}: {answer}")
    if any(entry.state in {PacketState.REFUSED, PacketState.DAMAGED} for entry in shown):
        raise typer.Exit(NEEDED)


@app.command()
def verify(config: ConfigOption = Path("booth.toml"), as_json: JsonOption = False) -> None:
    """Recompute every digest, read every header, prove every receipt and the database. Changes nothing.

    [bold]Example[/bold]: booth outbox verify --config /etc/passbooth/booth.toml
    """
    from booth.outbox_audit import verify_outbox
    from crypto.keys import load_trust

    with _failing(), _progress("packets", quiet=as_json) as step:
        settings = _load(config)
        audit = verify_outbox(_folder(settings), load_trust(settings.intake.trust), step)
    if as_json:
        print(json.dumps(asdict(audit) | {"sound": audit.sound}))
    else:
        for finding in audit.findings:
            print(printable(finding))
        print(f"{audit.packets} packets ({audit.bytes / 1e6:.1f} MB), {audit.receipts} receipts: ", end="")
        print("all sound." if audit.sound else f"{len(audit.findings)} findings.")
    if not audit.sound:
        raise typer.Exit(NEEDED)


@app.command()
def retry(
    packets: Annotated[
        list[str] | None, typer.Argument(metavar="[PACKET]...", help="Beginnings of digests; all when none is named.")
    ] = None,
    config: ConfigOption = Path("booth.toml"),
    as_json: JsonOption = False,
) -> None:
    """Make refused and postponed packets due now; a running booth tries them within half a minute.

    [bold]Example[/bold]: booth outbox retry 3f9a0c
    """
    from booth.outbox_order import make_due

    chosen = [one.lower() for one in packets or ()]
    with _failing():
        due = make_due(_folder(_load(config)), chosen, time.time())
    unknown = [one for one in chosen if not any(sha256.startswith(one) for sha256 in due)]
    if as_json:
        print(json.dumps({"due": due, "unknown": unknown}))
    else:
        print("\n".join([f"Packet {sha256[:12]} is due." for sha256 in due] or ["No packet is refused or postponed."]))
        for one in unknown:
            print(f"{one}: no refused or postponed packet begins so; `booth outbox list` shows them.")
    if unknown:
        raise typer.Exit(NEEDED)


@app.command()
def export(
    target: Annotated[Path, typer.Argument(help="A folder, e.g. of a stick; a new one is made in it.")],
    config: ConfigOption = Path("booth.toml"),
    as_json: JsonOption = False,
) -> None:
    """Copy every packet, still sealed, and every receipt, with a manifest of digests: whole, or nothing.

    The booth notes which receipts were copied: keep the folder safe. It drops them when they are old enough ([outbox] receipts_kept, receipt_days_kept).

    [bold]Example[/bold]: booth outbox export /media/stick
    """
    from booth.outbox_audit import export_outbox
    from booth.outbox_receipts import note_exported

    with _failing(), _progress("files", quiet=as_json) as step:
        settings = _load(config)
        made = export_outbox(_folder(settings), target, settings.booth.id, datetime.now(UTC), step)
        note_exported(_folder(settings), made.folder, time.time())
    if as_json:
        print(json.dumps(asdict(made) | {"folder": str(made.folder)}))
    else:
        for line in made.left_out:
            print(f"Left out: {printable(line)}")
        print(f"{made.packets} packets and {made.receipts} receipts ({made.bytes / 1e6:.1f} MB) are in {made.folder}.")
    if made.left_out:
        raise typer.Exit(NEEDED)


def _answers(entries: list[Entry]) -> dict[str, list[str]]:
    """What the intake said last, and of which packets: often the same of many."""
    answers: dict[str, list[str]] = {}
    for entry in entries:
        if entry.error:
            answers.setdefault(printable(entry.error), []).append(entry.sha256[:12])
    return answers


def _load(config: Path) -> Config:
    from booth.config import Config

    return Config.load(config)


def _folder(settings: Config) -> Path:
    return settings.booth.data_dir / "outbox"


@contextmanager
def _failing() -> Iterator[None]:
    """One sentence and exit code 2 instead of a traceback."""
    from booth.errors import BoothError
    from crypto.errors import CryptoError

    try:
        yield
    except (BoothError, CryptoError) as error:
        print(f"booth: {error}", file=sys.stderr)
        raise typer.Exit(FAILED) from None
    except OSError as error:
        print(f"booth: {error.filename or 'the outbox'}: {error.strerror}", file=sys.stderr)
        raise typer.Exit(FAILED) from None


@contextmanager
def _progress(what: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar on the terminal's error side; none for programs."""
    with Progress(console=Console(stderr=True), transient=True, disable=quiet or not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
