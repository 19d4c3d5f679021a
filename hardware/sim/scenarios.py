"""The scenarios: which devices stand in the virtual booth, who sits in it, how bright the room is. Data only.

A lamp driven at 100 % gives light level 1.6, so that the nominal portrait light (level 1.0 of every light pass) is a drive of 62.5 %.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

LAMPS = ("key_left", "key_right", "fill_top", "background")
STATUS = "status"  # a small light beside the screen: it can be set and read back, the picture does not show it
LEVEL_AT_FULL_DRIVE = 1.6

PEOPLE = ("anna", "kwame", "mei", "jorge", "ingrid", "amara")
SESSION_PERSON = "anna"  # the only one with a moving session; the others are a single picture
PREVIEW_SIZE = (600, 800)
PREVIEW_FPS = 30.0
STILL_SIZE = (960, 1280)
LARGE_STILL_SIZE = (1920, 2560)  # natively there for anna and kwame

USUAL_LENS_CM = (
    125.0  # height of the lens above the floor in a booth without a height axis, and at the start of one with it
)
LIFT_ZERO_CM = 90.0  # height of the lens when the axis stands at 0; it goes up by a metre

LightsKind = Literal["wled", "dmx", "none"]


@dataclass(frozen=True, slots=True)
class DmxChannel:
    """Where a lamp listens on the DMX line: 1-based address of the coarse byte, and of the fine byte if it has one."""

    address: int
    fine: int | None = None


DMX_8_BIT: Mapping[str, DmxChannel] = MappingProxyType(
    {name: DmxChannel(index + 1) for index, name in enumerate((*LAMPS, STATUS))}
)
DMX_16_BIT: Mapping[str, DmxChannel] = MappingProxyType(
    {name: DmxChannel(2 * index + 1, 2 * index + 2) for index, name in enumerate((*LAMPS, STATUS))}
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One virtual booth."""

    name: str
    summary: str
    lights: LightsKind = "wled"
    dmx: Mapping[str, DmxChannel] = field(default_factory=lambda: DMX_8_BIT)
    controls: bool = True
    person: str = SESSION_PERSON
    sitter: str = "absent"
    still_size: tuple[int, int] = STILL_SIZE
    ambient: float = 0.35  # of the rendered room light; a lit hall behind a curtain
    power_on_s: float = 0.5  # a real block camera takes several seconds
    rotate_deg: int = (
        0  # clockwise turn that sets the camera's picture upright: a block camera lying on its side gives landscape
    )
    standby: bool = False  # the camera waits for CAM_Power on
    lift: bool = False  # the camera is carried by a height axis


SCENARIOS: Mapping[str, Scenario] = MappingProxyType(
    {
        scenario.name: scenario
        for scenario in (
            Scenario("visit", "WLED lamps, VISCA camera, an empty booth waiting for the scripted sitter"),
            Scenario("seated", "as visit, with the sitter already sitting still", sitter="still"),
            Scenario("loop", "as visit, with the sitter repeating the whole recorded session", sitter="loop"),
            Scenario("dmx", "lamps on an ENTTEC DMX USB Pro, one 8-bit channel each", lights="dmx"),
            Scenario(
                "dmx-fine", "lamps on an ENTTEC DMX USB Pro, coarse and fine channel each", lights="dmx", dmx=DMX_16_BIT
            ),
            Scenario("no-lights", "no lamp controller at all: room light only", lights="none"),
            Scenario("no-controls", "a camera without serial control", controls=False),
            Scenario("standby", "the camera is in standby until it is powered on over VISCA", standby=True),
            Scenario("sideways", "the camera lies on its side: landscape pictures, rotate_deg = 90", rotate_deg=90),
            Scenario("large-still", "1920x2560 stills (anna and kwame natively)", still_size=LARGE_STILL_SIZE),
            Scenario("lift", "as visit, with the camera on a height axis", lift=True),
            Scenario("dark-room", "hardly any room light", ambient=0.05),
        )
    }
)
