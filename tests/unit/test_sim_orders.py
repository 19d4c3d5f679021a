"""What is ordered of the virtual booth's light, lens, test card and applicants is what its picture shows; a wrong order changes nothing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from hardware.sim import sheet
from hardware.sim.booth import VirtualBooth
from hardware.sim.control import OrderRefusedError
from hardware.sim.fixtures import colour_of
from hardware.sim.passes import StackCache
from hardware.sim.scenarios import LAMPS, PREVIEW_SIZE, SCENARIOS
from hardware.sim.scene import Noise, Renderer
from hardware.sim.stature import Body

SMALL = (150, 200)
STILL = (960, 1280)
DETECTOR = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50))


class Drives:
    """A controller whose channels are told by name; the others are dark."""

    def __init__(self, **drives):
        self.drives = {**dict.fromkeys(LAMPS, 0.0), **drives}

    def outputs(self):
        return {name: (drive,) * 3 for name, drive in self.drives.items()}


@pytest.fixture(scope="module")
def renderer():
    return Renderer(StackCache())


@pytest.fixture
def booth(tmp_path):
    made = VirtualBooth(SCENARIOS["visit"], tmp_path / "devices")
    made.room.ambient = 0.0
    return made


@pytest.fixture
def picture(booth, renderer):
    async def shown(size=SMALL, drives=None, **orders):
        if orders:
            await booth.order(orders)
        if drives is not None:
            booth.room.lamps = Drives(**drives)
        return renderer.picture(booth.room.view(100.0, size if size == STILL else None), size).pixels.astype(float)

    return shown


def left_to_right(pixels):
    third = pixels.shape[1] // 3
    return pixels[:, :third].mean() / pixels[:, -third:].mean()


async def test_the_empty_wall_tells_the_left_lamp_from_the_right(picture):
    left = await picture(drives={"key_left": 0.8})
    right = await picture(drives={"key_right": 0.8})
    assert left_to_right(left) > 1.03
    assert left_to_right(right) < 0.97


async def test_swapped_cables_light_the_other_lamp(picture, booth):
    left, right = await picture(drives={"key_left": 0.8}), await picture(drives={"key_right": 0.8})
    assert np.array_equal(await picture(swap=["key_left", "key_right"]), left)
    assert booth.state()["lamps"]["key_right"]["channel"] == "key_left"
    assert np.array_equal(await picture(swap=None), right)


async def test_a_weak_lamp_gives_its_part_and_one_off_its_address_none(picture, booth):
    half = await picture(drives={"key_left": 0.4})
    assert np.array_equal(await picture(drives={"key_left": 0.8}, lamp="key_left", strength=0.5), half)
    assert (await picture(lamp="key_left", connected=False)).max() == 0
    assert np.array_equal(await picture(lamp="key_left", connected=True), half)
    assert (await picture(lamp="key_left", channel="background")).max() == 0
    assert np.array_equal(await picture(lamp="key_left", channel=None), half)
    assert (await picture(lamp="key_left", dead=True)).max() == 0
    await booth.order({"lamp": "key_left", "strength": 1})
    assert booth.state()["dead"] == ["key_left"]  # stays dead


async def test_daylight_has_the_place_of_a_lamp_and_a_colour_of_its_own(picture):
    left = await picture(daylight={"from": "left", "level": 2, "kelvin": 5500})
    assert left_to_right(left) > 1.03
    assert np.abs(left - await picture(drives={"key_left": 2 / 1.6}, daylight=None)).max() <= 1
    cold = await picture(drives={}, daylight={"from": "right", "level": 1, "kelvin": 9000})
    warm = await picture(daylight={"from": "right", "level": 1, "kelvin": 2700})
    assert cold[..., 0].mean() > cold[..., 2].mean() + 20
    assert warm[..., 2].mean() > warm[..., 0].mean() + 20
    assert (await picture(daylight=None)).max() == 0


async def test_room_light_has_a_colour_when_one_is_ordered(picture):
    as_rendered = await picture(ambient=1)
    neutral = await picture(ambient=1, kelvin=5500)
    assert as_rendered[..., 2].mean() > as_rendered[..., 0].mean() + 10
    assert abs(neutral[..., 2].mean() - neutral[..., 0].mean()) < 3
    assert np.array_equal(await picture(ambient=1), as_rendered)


def test_colours_of_light_run_from_red_to_blue_and_keep_their_brightness():
    lights = [colour_of(kelvin) for kelvin in range(2500, 10001, 250)]
    reds_over_blues = [red / blue for blue, _, red in lights]
    assert reds_over_blues == sorted(reds_over_blues, reverse=True)
    assert colour_of(5500) == (1, 1, 1)


async def test_a_badly_mounted_camera_shows_it_whatever_its_registers_say(picture, booth):
    nominal = dict.fromkeys(LAMPS, 0.625)
    sharp = await picture(PREVIEW_SIZE, nominal, sitter="still", person="kwame")
    soft = await picture(PREVIEW_SIZE, lens={"defocus_px": 4})
    detail = [cv2.Laplacian(pixels.mean(axis=2), cv2.CV_64F).var() for pixels in (sharp, soft)]
    assert detail[0] > 4 * detail[1]
    lower = await picture(PREVIEW_SIZE, lens={"tilt_deg": 3})
    assert np.abs(lower[200:700] - sharp[100:600]).mean() < 2
    turned = await picture(PREVIEW_SIZE, lens={"roll_deg": 2})
    turn = cv2.getRotationMatrix2D((299.5, 399.5), -2, 1)
    wanted = cv2.warpAffine(sharp, turn, PREVIEW_SIZE, flags=cv2.INTER_CUBIC)
    assert np.abs(turned - wanted)[100:700, 100:500].mean() < 2
    blue = await picture(PREVIEW_SIZE, lens={"cast": [1.2, 1, 0.8]})
    assert blue[..., 0].mean() > sharp[..., 0].mean() + 5
    assert blue[..., 2].mean() < sharp[..., 2].mean() - 5
    assert np.array_equal(await picture(PREVIEW_SIZE, lens=None), sharp)


@pytest.mark.parametrize(
    ("size", "lens", "aim"),
    [
        (PREVIEW_SIZE, None, sheet.Aim()),
        (STILL, {"tilt_deg": 2, "roll_deg": -3}, sheet.Aim(tilt_deg=2, roll_deg=-3)),
    ],
)
async def test_the_test_card_hangs_where_the_lens_sees_it(picture, booth, size, lens, aim):
    pixels = await picture(size, dict.fromkeys(LAMPS, 0.625), lens=lens, card="test")
    found, numbers, _ = DETECTOR.detectMarkers(pixels.astype(np.uint8))
    assert sorted(numbers.ravel()) == [0, 1, 2, 3]
    for corners, number in zip(found, numbers.ravel(), strict=True):
        wanted = sheet.homography(aim, size) @ (*sheet.MARKERS_MM[number], 1)
        assert np.abs(corners[0][0] + 0.5 - wanted[:2] / wanted[2]).max() < 1.5
    assert booth.state()["card"] == "test"


async def test_the_test_card_is_lit_from_the_lamps_side_and_its_greys_are_as_printed(picture, booth):
    def grey(pixels, x_mm, y_mm):
        x, y, z = sheet.homography(sheet.Aim(), PREVIEW_SIZE) @ (x_mm, y_mm, 1)
        return pixels[round(y / z) - 4 : round(y / z) + 4, round(x / z) - 4 : round(x / z) + 4].mean(axis=(0, 1))

    left = await picture(PREVIEW_SIZE, {"key_left": 1.0}, card="test")
    right = await picture(PREVIEW_SIZE, {"key_right": 1.0})
    assert grey(left, 30, 130).mean() > grey(left, 180, 130).mean() + 10
    assert np.abs(grey(left, 30, 130) - grey(right, 180, 130)).max() < 1.5
    full = await picture(PREVIEW_SIZE, dict.fromkeys(LAMPS, 0.625), ambient=1, kelvin=5500)
    assert grey(full, 105, 130) == pytest.approx([118] * 3, abs=3)
    greys = [grey(full, x_mm + 10, 25).mean() for x_mm, _ in sheet.PATCHES]
    assert greys == sorted(greys, reverse=True)
    assert (await picture(PREVIEW_SIZE, {}, ambient=0)).max() == 0
    booth.room.lamps = Drives(**dict.fromkeys(LAMPS, 0.625))
    edges = [
        np.abs(np.diff((await picture(STILL, lens={"defocus_px": blur}))[812, 380:480].mean(axis=1))).max()
        for blur in (0, 2, 6)
    ]
    assert edges[0] > 60 > 1.5 * edges[1] > 3 * edges[2]


async def test_a_screen_held_up_shines_by_itself_and_a_print_does_not(picture, booth):
    await booth.order({"sitter": "still", "person": "anna"})
    assert (await picture(drives={}, look="print_flat")).max() == 0
    assert (await picture(look="print_bent")).max() == 0
    screen = await picture(look="screen")
    assert screen.mean() > 50
    away = await picture(place={"x": 0.4})
    assert away[:, -50:].mean() > 2 * away[:, :20].mean()
    assert (await picture(place={}, person="kwame", look="screen")).mean() > 50
    with pytest.raises(OrderRefusedError):
        await booth.order({"person": "mei", "look": "screen"})


async def test_taller_applicants_are_higher_in_the_picture_and_the_seat_lifts_them(booth):
    def eyes_y():
        return 585 / 1280 + booth.room.sitter_at().y

    await booth.order({"stature_cm": 172, "posture": "seated", "sitter": "still"})
    seated = eyes_y()
    assert seated == pytest.approx(0.44, abs=0.1)
    assert booth.state()["body"]["eyes_cm"] == pytest.approx(128.4, abs=0.1)
    await booth.order({"seat_cm": 54.2})
    assert eyes_y() == pytest.approx(seated - 0.1)
    await booth.order({"posture": "standing"})
    assert eyes_y() < 0
    await booth.order({"stature_cm": 115, "posture": "child", "seat_cm": 50})
    assert eyes_y() > 0.9
    booth.room.lens_cm = lambda: 105.0
    assert eyes_y() == pytest.approx(0.53, abs=0.05)
    await booth.order({"stature_cm": None})
    booth.room.lens_cm = lambda: 125.0
    assert booth.room.sitter_at().y == 0


def test_eyes_are_higher_the_taller_and_in_human_places():
    for posture, (low, high) in {
        "seated": (96, 143), "standing": (103, 188), "wheelchair": (95, 142), "child": (101, 152),
    }.items():  # fmt: skip
        heights = [Body(stature, posture).eye_height_cm(50) for stature in range(110, 201, 10)]
        assert heights == sorted(heights)
        assert (heights[0], heights[-1]) == pytest.approx((low, high), abs=1)


@pytest.mark.parametrize("y", [-2, -1.5, 1.5, 2])
async def test_a_head_far_outside_the_picture_is_no_accident(picture, y):
    nominal = dict.fromkeys(LAMPS, 0.625)
    pixels = await picture(SMALL, nominal, sitter="still", person="amara", place={"y": y})
    assert pixels.shape == (200, 150, 3)
    assert pixels.min() > 0


def test_a_noisier_sensor_is_noisier():
    grey = np.full((200, 200, 3), 128, np.uint8)
    spread = [np.std(Noise(1).on(grey, 0, factor)) for factor in (1.0, 3.0)]
    assert spread[1] == pytest.approx(3 * spread[0], rel=0.1)


WRONG = (
    {"lamp": "key_left", "strength": 1.5},
    {"lamp": "key_left", "connected": 1},
    {"lamp": "key_left", "channel": "kitchen"},
    {"lamp": "kitchen", "strength": 0.5},
    {"swap": ["key_left"]},
    {"swap": ["key_left", "kitchen"]},
    {"swap": "key_left"},
    {"daylight": {"level": 1}},
    {"daylight": {"from": "below"}},
    {"daylight": {"from": "left", "level": 5}},
    {"daylight": {"from": "left", "kelvin": 100}},
    {"daylight": {"from": "left", "colour": 1}},
    {"daylight": {"from": ["left"]}},
    {"look": ["screen"]},
    {"ambient": float("nan")},
    {"ambient": 0.3, "kelvin": "warm"},
    {"lens": {"tilt_deg": 90}},
    {"lens": {"cast": [1, 1]}},
    {"lens": {"cast": [0, 1, 1]}},
    {"lens": 3},
    {"card": "queen"},
    {"card": ["test"]},
    {"stature_cm": 90},
    {"stature_cm": True},
    {"stature_cm": 170, "posture": "flying"},
    {"posture": "seated"},
    {"seat_cm": 10},
    {"camera": {"noise": -1}},
    {"camera": {"fps": 3}},
    {"camera": 3},
)


async def test_wrong_orders_are_refused_in_a_sentence_and_change_nothing(booth):
    def state():
        names = ("lamps", "swap", "daylight", "ambient", "lens", "card", "body")
        return {name: booth.state()[name] for name in names} | {"camera": booth.state()["camera"]["noise"]}

    before = state()
    for wrong in WRONG:
        with pytest.raises(OrderRefusedError) as refusal:
            await booth.order(wrong)
        assert len(str(refusal.value)) > 15
        assert state() == before, wrong


async def test_every_new_order_stands_in_the_state(booth):
    await booth.order(
        {
            "daylight": {"from": "top", "level": 1.5, "kelvin": 6500},
            "ambient": 0.3,
            "kelvin": 2700,
            "lens": {"defocus_px": 4, "cast": [1.2, 1, 0.8]},
            "camera": {"noise": 2, "latency_ms": 80},
            "swap": ["key_left", "fill_top"],
            "stature_cm": 180,
            "posture": "wheelchair",
        }
    )
    state = booth.state()
    assert state["daylight"] == {"from": "top", "level": 1.5, "kelvin": 6500}
    assert state["ambient"] == {"level": 0.3, "kelvin": 2700}
    assert (state["lens"]["defocus_px"], state["lens"]["cast"]) == (4, [1.2, 1, 0.8])
    assert (state["camera"]["noise"], state["camera"]["latency_ms"]) == (2, 80)
    assert state["swap"] == ["key_left", "fill_top"]
    assert (state["body"]["stature_cm"], state["body"]["posture"]) == (180, "wheelchair")
    assert state["levels"]["ambient"] == sorted(state["levels"]["ambient"])
