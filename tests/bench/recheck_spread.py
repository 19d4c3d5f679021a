"""How far a second opinion lies from the first when nothing is wrong: the booth judges uncompressed pixels, the desk the JPEG that was made of them.

    .venv/bin/python -m tests.bench.recheck_spread            print the table of server/recheck_spread.py: the largest difference for each rule
    .venv/bin/python -m tests.bench.recheck_spread --profile us --json

Every picture of a rendered applicant that a booth would release is cut as the booth cuts it, judged, encoded as the booth encodes it, decoded and judged again
as the desk does (server/recheck_child.py). Rules that the desk cannot measure from one picture are left out.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from booth.attempt import judge_burst
from capture.errors import CaptureError
from capture.frames import Frame
from capture.portrait import encode_chip
from server.recheck import ONLY_AT_THE_BOOTH, ChipOpinion, compare
from server.recheck_child import likeness, second_opinion
from server.recheck_wire import JPEG
from server.records import read_report
from validation.face import FaceModel
from validation.image import read_image
from validation.profile import load_profile

APPLICANTS = Path(__file__).resolve().parents[2] / "hardware" / "sim" / "applicants"
FOLDERS = ("stills", "people", "variations")


def pictures() -> list[Path]:
    """Whole pictures of rendered people, not their light passes."""
    every = (path for folder in FOLDERS for path in sorted((APPLICANTS / folder).rglob("*.jpg")))
    return [path for path in every if not path.name.startswith("pass_")]


def main(arguments: list[str] | None = None) -> int:
    """Prints the table; 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="demo", help="the profile whose cut and limits are used (default: demo)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of Python")
    chosen = parser.parse_args(arguments)
    profile = load_profile(chosen.profile)
    spread: dict[str, float] = {}
    striking: list[str] = []
    portraits: list[tuple[str, bytes, bytes]] = []
    paths = pictures()
    with FaceModel() as model:
        for number, path in enumerate(paths, 1):
            print(f"\r{number}/{len(paths)}", end="", file=sys.stderr, flush=True)
            pixels, _ = read_image(path)
            try:
                attempt = judge_burst((Frame(pixels, 1, 1, "PNG", lossy=False),), profile, model)
            except CaptureError:  # too small for this profile's portrait
                continue
            if attempt.jpeg is None or attempt.best.portrait is None or not attempt.report.compliant:
                continue
            chip = encode_chip(attempt.best.portrait, profile.chip).data
            portraits.append((person(path), attempt.jpeg, chip))
            answer = second_opinion(
                model, {"profile": profile.name, "judged": "crop", "format": JPEG}, attempt.jpeg, chip
            )
            booth, desk = (
                read_report(json.dumps(report).encode())
                for report in (attempt.report.model_dump(mode="json"), answer["report"])
            )
            assert booth is not None
            assert desk is not None
            opinion = compare(booth, desk, ChipOpinion(answer["chip"]["ssim"]))
            striking += [f"{path.stem}: {row.rule} {row.standing}" for row in opinion.striking]
            for row in opinion.rows:
                if row.difference is not None and row.rule not in ONLY_AT_THE_BOOTH:
                    spread[row.rule] = max(spread.get(row.rule, 0.0), abs(row.difference))
    alike, others = chip_likeness(portraits)
    print(f"\r{len(portraits)} portraits that the booth would release", file=sys.stderr)
    if chosen.json:
        print(json.dumps({"spread": spread, "chip": {"own": alike, "others": others}, "striking": striking}, indent=2))
    else:
        print("\n".join(f'        "{rule}": {value:.3g},' for rule, value in sorted(spread.items())))
        print(
            f"# likeness of a chip image: at least {alike:.4f} to its own portrait, at most {others:.4f} to another person's"
        )
        print("# rows that would be told to an officer:", *(striking or ["none"]), sep="\n#   ")
    return 0


def person(path: Path) -> str:
    """Who a picture shows: its folder's name, or the beginning of its own."""
    return (
        path.parent.name
        if path.stem == "neutral" or path.parent.parent.name == "stills"
        else path.stem.partition("_")[0]
    )


def chip_likeness(portraits: list[tuple[str, bytes, bytes]]) -> tuple[float, float]:
    """The least likeness of a chip image to its own portrait, and the most to the portrait of another person."""
    read = [(who, read_image(portrait)[0], read_image(chip)[0]) for who, portrait, chip in portraits]
    alike = [likeness(portrait, chip) for _, portrait, chip in read]
    others = [likeness(one[1], two[2]) for one in read for two in read if one[0] != two[0]]
    return min(alike), max(others)


if __name__ == "__main__":
    sys.exit(main())
