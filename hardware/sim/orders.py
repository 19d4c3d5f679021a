"""The orders of the control socket that change the room: who is there, what hangs there, how it is lit, how the camera is mounted.

Each order is read strictly: a wrong value is refused in a sentence that says what is possible, and changes nothing.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from hardware.sim.card import card_width
from hardware.sim.control import OrderRefusedError
from hardware.sim.fixtures import DAYLIGHT_PASS, KELVIN_LIMITS, NEUTRAL_KELVIN, Daylight
from hardware.sim.lens import Mounting
from hardware.sim.passes import CHANNELS, looks_of
from hardware.sim.scene import Place
from hardware.sim.stature import POSTURES, SEAT_LIMITS_CM, STATURE_LIMITS_CM, Body

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hardware.sim.room import Room

    Request = dict[str, Any]
    Order = Callable[[Any, Request], None]

LIGHT_LIMIT: Final = 4.0
PLACE_LIMIT, SMALLEST_SITTER = 2.0, 0.3
TURN_LIMIT_DEG: Final = 15.0
DEFOCUS_LIMIT_PX: Final = 40.0
CAST_LIMITS: Final = (0.25, 4.0)
COLOURS: Final = 3
TEST_CARD: Final = "test"
# What stands beside an order in its object and is no order of its own.
DETAILS: Final = frozenset({"dead", "strength", "connected", "channel", "kelvin", "on", "times", "ms"})


def now_ms() -> float:
    """The clock of everything that moves."""
    return time.monotonic_ns() / 1e6


def flag(request: Request, name: str) -> bool:
    """Yes or no; yes when it is not said."""
    value = request.get(name, True)
    if not isinstance(value, bool):
        raise OrderRefusedError(f"'{name}' is true or false")
    return value


def number(value: object, limits: tuple[float, float], what: str) -> float:
    """A number within its limits."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not limits[0] <= value <= limits[1]:
        raise OrderRefusedError(f"{what} is a number from {limits[0]:g} to {limits[1]:g}")
    return float(value)


def fields(value: object, limits: Mapping[str, tuple[float, float]], usage: str) -> dict[str, float]:
    """Numbers by name; null is none of them."""
    if value is None:
        return {}
    if not isinstance(value, dict) or not value.keys() <= limits.keys():
        raise OrderRefusedError(usage)
    return {name: number(value[name], limits[name], name) for name in value}


def room_orders(room: Room) -> dict[str, Order]:
    """The orders by name."""
    return {
        "sitter": lambda value, _: _sitter(room, value),
        "person": lambda value, _: _person(room, value),
        "look": lambda value, _: _look(room, value),
        "place": lambda value, _: _place(room, value),
        "show_code": lambda value, _: _code(room, value),
        "card": lambda value, _: _card(room, value),
        "stature_cm": lambda value, request: _body(room, value, request),
        "posture": lambda value, request: _posture(room, value, request),
        "seat_cm": lambda value, _: _seat(room, value),
        "lamp": lambda value, request: _lamp(room, value, request),
        "swap": lambda value, _: _swap(room, value),
        "ambient": lambda value, request: _ambient(room, value, request),
        "daylight": lambda value, _: _daylight(room, value),
        "lens": lambda value, _: _lens(room, value),
    }


def _sitter(room: Room, value: object) -> None:
    room.sitter = room.sitter.told(str(value), now_ms())


def _person(room: Room, value: object) -> None:
    room.look = None
    room.sitter = room.sitter.replaced_by(str(value), now_ms())


def _look(room: Room, value: object) -> None:
    looks = looks_of(room.sitter.person)
    if value is not None and value not in tuple(looks):
        raise OrderRefusedError(f"{room.sitter.person} cannot look '{value}'; possible: {', '.join(looks)}")
    room.look = None if value is None else looks[str(value)]


def _place(room: Room, value: object) -> None:
    where = value if isinstance(value, dict) else {}
    numbers = all(isinstance(part, int | float) and abs(part) <= PLACE_LIMIT for part in where.values())
    if not numbers or not where.keys() <= {"x", "y", "size"} or where.get("size", 1) < SMALLEST_SITTER:
        raise OrderRefusedError(
            'a place is {"x": to the right, "y": down, "size": 1 as rendered}, in frame sizes; {} is the usual one'
        )
    room.place = Place(**where)


def _code(room: Room, value: object) -> None:
    if value is not None and (not isinstance(value, str) or not value):
        raise OrderRefusedError("show_code takes a text, or null to put the card away")
    if isinstance(value, str):
        card_width(value)
    room.code = value


def _card(room: Room, value: object) -> None:
    if value not in (TEST_CARD, None):
        raise OrderRefusedError('card takes "test", or null to put the test card away')
    room.test_card = value is not None


def _body(room: Room, value: object, request: Request) -> None:
    if value is None:
        room.body = None
        return
    stature_cm = number(value, STATURE_LIMITS_CM, "stature_cm")
    posture = request.get("posture", room.body.posture if room.body is not None else POSTURES[0])
    if posture not in POSTURES:
        raise OrderRefusedError(f"a posture is one of: {', '.join(POSTURES)}")
    room.body = Body(stature_cm, str(posture))


def _posture(room: Room, value: object, request: Request) -> None:
    if "stature_cm" in request:
        return  # taken together with it
    if room.body is None:
        raise OrderRefusedError("a posture needs a body height: give stature_cm, too")
    _body(room, room.body.stature_cm, {"posture": value})


def _seat(room: Room, value: object) -> None:
    room.seat_cm = number(value, SEAT_LIMITS_CM, "seat_cm")


def _lamp(room: Room, value: object, request: Request) -> None:
    fixture = room.fixtures.named(str(value))
    changes = request.keys() & {"dead", "strength", "connected", "channel"}
    strength = number(request.get("strength", fixture.strength), (0.0, 1.0), "strength")
    connected = flag(request, "connected") if "connected" in changes else fixture.connected
    dead = flag(request, "dead") if "dead" in changes or not changes else fixture.dead
    channel = fixture.channel
    if (
        "channel" in changes
    ):  # a wrong address: it follows another lamp's channel beside that lamp; null is its own again
        channel = str(value if request["channel"] is None else request["channel"])
        room.fixtures.named(channel)
    fixture.strength, fixture.connected, fixture.dead, fixture.channel = strength, connected, dead, channel


def _swap(room: Room, value: object) -> None:
    if value is None:
        room.fixtures.swap(None)
    elif isinstance(value, list) and len(value) == 2 and value[0] != value[1]:
        room.fixtures.swap((str(value[0]), str(value[1])))
    else:
        raise OrderRefusedError('swap takes two lamps such as ["key_left", "key_right"], or null')


def _ambient(room: Room, value: object, request: Request) -> None:
    level = number(value, (0.0, LIGHT_LIMIT), "ambient")
    kelvin = request.get("kelvin")
    room.kelvin = None if kelvin is None else number(kelvin, KELVIN_LIMITS, "kelvin")
    room.ambient = level


def _daylight(room: Room, value: object) -> None:
    if value is None:
        room.daylight = None
        return
    usage = f'daylight takes {{"from": one of {", ".join(DAYLIGHT_PASS)}, "level": 1, "kelvin": 5500}}, or null'
    if not isinstance(value, dict) or value.get("from") not in tuple(DAYLIGHT_PASS):
        raise OrderRefusedError(usage)
    rest = {name: part for name, part in value.items() if name != "from"}
    wanted = fields(rest, {"level": (0.0, LIGHT_LIMIT), "kelvin": KELVIN_LIMITS}, usage)
    room.daylight = Daylight(str(value["from"]), wanted.get("level", 1.0), wanted.get("kelvin", NEUTRAL_KELVIN))


def _lens(room: Room, value: object) -> None:
    usage = 'lens takes {"defocus_px": 4, "tilt_deg": 3, "roll_deg": 0, "cast": [blue, green, red]}, or null'
    if value is not None and not isinstance(value, dict):
        raise OrderRefusedError(usage)
    given = dict(value or {})
    cast = given.pop("cast", [1.0] * COLOURS)
    if not isinstance(cast, list) or len(cast) != COLOURS:
        raise OrderRefusedError(usage)
    blue, green, red = (number(part, CAST_LIMITS, "a colour of cast") for part in cast)
    turn = (-TURN_LIMIT_DEG, TURN_LIMIT_DEG)
    wanted = fields(given, {"defocus_px": (0.0, DEFOCUS_LIMIT_PX), "tilt_deg": turn, "roll_deg": turn}, usage)
    room.mounting = Mounting(
        wanted.get("defocus_px", 0.0), wanted.get("tilt_deg", 0.0), wanted.get("roll_deg", 0.0), (blue, green, red)
    )


def room_state(room: Room) -> dict[str, Any]:
    """What the orders made of the room."""
    action, frame = room.sitter.at(now_ms())
    body, daylight, mounting = room.body, room.daylight, room.mounting
    return {
        "sitter": {
            "person": room.sitter.person,
            "told": room.sitter.action,
            "phase": action,
            "frame": frame,
            "look": room.look.name if room.look is not None else None,
            "place": [room.place.x, room.place.y, room.place.size],
        },
        "body": {
            "stature_cm": body.stature_cm if body is not None else None,
            "posture": body.posture if body is not None else None,
            "seat_cm": room.seat_cm,
            "eyes_cm": round(body.eye_height_cm(room.seat_cm), 1) if body is not None else None,
            "lens_cm": round(room.lens_cm(), 1),
        },
        "code": room.code,
        "card": TEST_CARD if room.test_card else None,
        "levels": {
            name: [round(part, 4) for part in level] for name, level in zip(CHANNELS, room.levels(), strict=True)
        },
        "ambient": {"level": room.ambient, "kelvin": room.kelvin},
        "daylight": (
            {"from": daylight.comes_from, "level": daylight.level, "kelvin": daylight.kelvin} if daylight else None
        ),
        "dead": [name for name, lamp in room.fixtures.state().items() if lamp["dead"]],
        "lamps": room.fixtures.state(),
        "swap": list(room.fixtures.swapped) if room.fixtures.swapped else None,
        "lens": {
            "defocus_px": mounting.defocus_px,
            "tilt_deg": mounting.tilt_deg,
            "roll_deg": mounting.roll_deg,
            "cast": list(mounting.cast),
        },
    }
