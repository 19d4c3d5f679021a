"""The booth's command line.

Heavy rooms (mediapipe, OpenCV, FastAPI) are imported inside the commands, so that `booth --help` answers at once.
Exit codes: 0 done, 1 judged and refused, 2 could not do it (one sentence says why), 130 interrupted.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from booth.calibrate_command import calibrate_command
from booth.cameras_command import cameras_command
from booth.check import check_command
from booth.config_command import app as config_app
from booth.diagnose_command import diagnose_command
from booth.evaluate import evaluate_command
from booth.keys_command import app as keys_app
from booth.outbox_command import app as outbox_app
from booth.packet import app as packet_app
from booth.record_command import app as record_app
from crypto.program import telling_version


class LampKind(StrEnum):
    """Lamps that the virtual booth can have."""

    WLED = "wled"
    DMX = "dmx"


class HiddenFault(StrEnum):
    """What `booth train` can hide; a test holds it against booth/trainer.py, which is not imported for `--help`."""

    NOTHING = "nothing"
    DEAD_LAMP = "dead_lamp"
    UNADDRESSED_LAMP = "unaddressed_lamp"
    WEAK_LAMP = "weak_lamp"
    SWAPPED_LAMPS = "swapped_lamps"
    LAMPS_CABLE = "lamps_cable"
    CONTROLS_CABLE = "controls_cable"
    FROZEN_CAMERA = "frozen_camera"
    UNFOCUSED_LENS = "unfocused_lens"
    TILTED_CAMERA = "tilted_camera"
    COLOUR_CAST = "colour_cast"


class Person(StrEnum):
    """The rendered applicants."""

    ANNA = "anna"
    KWAME = "kwame"
    MEI = "mei"
    JORGE = "jorge"
    INGRID = "ingrid"
    AMARA = "amara"


app = typer.Typer(
    name="booth",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="""The software of a self-service biometric passport photo booth.

    [bold]Examples[/bold]

    booth demo                      everything on this machine, with a rendered applicant

    booth demo --visit --keep out   one visit end to end, results left in ./out

    booth check photo.jpg           is this portrait acceptable, rule by rule

    booth evaluate photos           how often the rules are right on labelled photos

    booth run --config booth.toml   the controller of a real booth

    booth diagnose                  test every device of a booth, with causes and remedies

    booth calibrate                 measure lamps, camera and lens against the test card

    booth cameras                   list this machine's cameras with formats and controls

    booth train                     find a fault hidden in a virtual booth
    """,
)
app.command("check")(check_command)
app.command("evaluate")(evaluate_command)
app.command("diagnose")(diagnose_command)
app.command("calibrate")(calibrate_command)
app.command("cameras")(cameras_command)
app.add_typer(packet_app, name="packet")
app.add_typer(record_app, name="record")
app.add_typer(outbox_app, name="outbox")
app.add_typer(keys_app, name="keys")
app.add_typer(config_app, name="config")


app.callback()(telling_version("booth"))


@app.command()
def run(
    config: Annotated[
        Path, typer.Option("--config", "-c", help="The booth's settings.", envvar="PASSBOOTH_CONFIG")
    ] = Path("booth.toml"),
    json_ready: Annotated[
        bool, typer.Option("--json-ready", help="Print one JSON line when the pages are served.")
    ] = False,
) -> None:
    """Run the booth's controller: devices, visit, outbox, upload, kiosk and technician pages.

    [bold]Example[/bold]: booth run --config /etc/passbooth/booth.toml
    """
    from booth.serve import serve

    finish(serve(config, json_ready=json_ready))


@app.command()
def demo(
    visit: Annotated[bool, typer.Option("--visit", help="One scripted visit without a browser, then stop.")] = False,
    keep: Annotated[
        Path | None,
        typer.Option(
            help="Leave portrait, report, packet and opened parts in this folder: a new or empty one, or an earlier demo's (with --visit)."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Keep keys, outbox and intake here; default: a temporary folder, removed at the end."),
    ] = None,
    profile: Annotated[str, typer.Option(help="Portrait profile.")] = "demo",
    lights: Annotated[LampKind, typer.Option(help="Lamps of the virtual booth.")] = LampKind.WLED,
    person: Annotated[Person, typer.Option(help="Who sits down; only anna moves.")] = Person.ANNA,
    browser: Annotated[bool, typer.Option(help="Open the kiosk page in a browser where there is one.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome of --visit as JSON.")] = False,
    token: Annotated[bool, typer.Option("--token", help="The booth's key in a token (needs SoftHSM2).")] = False,
) -> None:
    """Start a virtual booth, its controller, the intake and the desk on this machine.

    Without --visit it runs until Ctrl-C: use the kiosk page as an applicant would; the rendered sitter does what the screen asks.

    [bold]Examples[/bold]: booth demo      booth demo --visit --keep out      booth demo --visit --lights dmx --person kwame
    """
    from booth.demo import DemoOptions, run_demo

    if not visit and (keep is not None or as_json):
        raise typer.BadParameter("--keep and --json go with --visit.")
    options = DemoOptions(visit, keep, data, profile, lights, person, browser, as_json, token)
    finish(run_demo(options))


@app.command()
def train(
    fault: Annotated[
        HiddenFault | None, typer.Option(help="Hide this fault each time; default: one by chance.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="How many exercises.")] = 3,
    seed: Annotated[int | None, typer.Option(help="The same number gives the same exercises.")] = None,
    lights: Annotated[LampKind, typer.Option(help="Lamps of the virtual booth.")] = LampKind.WLED,
) -> None:
    """Train a technician: find the fault that is hidden in a virtual booth, with the technician's page.

    Keys and intake are made for this training alone and thrown away; nothing leaves this machine. Every page says that it is a training.

    [bold]Examples[/bold]: booth train      booth train --fault weak_lamp --rounds 1      booth train --rounds 10 --seed 7
    """
    from booth.train import TrainOptions, run_training

    finish(run_training(TrainOptions(fault, rounds, seed, lights)))


def finish(work: Coroutine[Any, Any, int | None]) -> None:
    """Run to the end; turn the house's own errors into one sentence with the next step and exit code 2, Ctrl-C into 130."""
    from booth.demo import DemoError
    from booth.faults import UNKNOWN_CODE, fault_of

    try:
        code = asyncio.run(work)
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(130) from None
    except DemoError as error:
        print(f"booth: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    except Exception as error:
        fault = fault_of(error)
        if fault.code == UNKNOWN_CODE:
            raise
        print(f"booth: {error} {fault.hint}", file=sys.stderr)
        raise typer.Exit(2) from None
    raise typer.Exit(code or 0)


def main() -> None:
    """Console script `booth`."""
    app()


if __name__ == "__main__":
    main()
