"""What the lamps and the lens do is what the picture of the virtual booth shows."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import zxingcpp

from hardware.sim import lens
from hardware.sim.card import CodeTooLongError, card_width
from hardware.sim.passes import CHANNELS, Source, StackCache
from hardware.sim.room import Room, UnknownLampError
from hardware.sim.scenarios import LAMPS, PREVIEW_SIZE, STILL_SIZE
from hardware.sim.scene import Framing, Noise, Renderer, View
from hardware.sim.sitter import Sitter

NOMINAL_DRIVE = 0.625


class Lamps:
    def __init__(self, **drives):
        self.drives = {**dict.fromkeys(LAMPS, NOMINAL_DRIVE), **drives}

    def outputs(self):
        return {name: (drive,) * 3 for name, drive in self.drives.items()}


@pytest.fixture(scope="module")
def renderer():
    return Renderer(StackCache())


def room(person="anna", ambient=1.0, action="still", head=None, **drives):
    made = Room(Sitter(person, action, 0), ambient)
    made.lamps = Lamps(**drives)
    if head is not None:
        made.head = lambda: head
    return made


def shown(renderer, made, size=PREVIEW_SIZE, *, still=False):
    return renderer.picture(made.view(100.0, size if still else None), size)


def psnr_db(one, other):
    return 10 * np.log10(255**2 / np.mean((one.astype(np.float64) - other) ** 2))


def brightness(pixels):
    return float(pixels.mean())


@pytest.mark.parametrize("person", ["anna", "kwame", "amara"])
def test_nominal_lamps_and_lens_give_the_reference_picture(renderer, applicants, person):
    reference = cv2.imread(str(applicants / "people" / person / "neutral.jpg"))
    picture = shown(renderer, room(person), STILL_SIZE, still=True)
    assert picture.upscaled_from is None
    assert psnr_db(picture.pixels, reference) >= 45
    assert psnr_db(Noise(3).on(picture.pixels, 0), reference) >= 38


def test_large_stills_are_native_where_they_exist_and_told_where_not(renderer, applicants):
    reference = cv2.imread(str(applicants / "stills" / "kwame" / "neutral.jpg"))
    picture = shown(renderer, room("kwame"), (1920, 2560), still=True)
    assert picture.upscaled_from is None
    assert psnr_db(picture.pixels, reference) >= 45
    assert shown(renderer, room("mei"), (1920, 2560), still=True).upscaled_from == (960, 1280)


def test_a_still_of_a_moving_sitter_is_told_as_enlarged(renderer):
    assert shown(renderer, room(action="smile"), STILL_SIZE, still=True).upscaled_from == (640, 853)


def test_preview_and_still_show_the_sitter_at_the_same_place(renderer):
    preview = shown(renderer, room()).pixels
    still = shown(renderer, room(), STILL_SIZE, still=True).pixels
    assert psnr_db(cv2.resize(still, PREVIEW_SIZE, interpolation=cv2.INTER_AREA), preview) > 25


def test_each_lamp_lights_its_side_and_off_is_dark(renderer):
    dark = shown(renderer, room(ambient=0.0, **dict.fromkeys(LAMPS, 0.0))).pixels
    assert dark.max() == 0
    left = shown(renderer, room(ambient=0.0, key_right=0, fill_top=0, background=0)).pixels[250:500]
    right = shown(renderer, room(ambient=0.0, key_left=0, fill_top=0, background=0)).pixels[250:500]
    assert brightness(left[:, 180:290]) > 1.2 * brightness(left[:, 310:420])
    assert brightness(right[:, 310:420]) > 1.2 * brightness(right[:, 180:290])
    wall = shown(renderer, room(ambient=0.0, key_left=0, key_right=0, fill_top=0)).pixels
    assert brightness(wall[20:80]) > 2 * brightness(wall[300:500, 200:400])


def test_a_dead_lamp_is_dark_whatever_its_controller_says(renderer):
    made = room()
    made.set_dead("key_left", dead=True)
    assert np.array_equal(shown(renderer, made).pixels, shown(renderer, room(key_left=0.0)).pixels)
    made.set_dead("key_left", dead=False)
    assert np.array_equal(shown(renderer, made).pixels, shown(renderer, room()).pixels)
    with pytest.raises(UnknownLampError):
        made.set_dead("ambient", dead=True)


def test_light_follows_shutter_iris_gain_and_white_balance(renderer):
    nominal = shown(renderer, room()).pixels
    faster = shown(renderer, room(head=lens.Settings(shutter=0x0A))).pixels
    wider = shown(renderer, room(head=lens.Settings(iris=0x0D))).pixels
    louder = shown(renderer, room(head=lens.Settings(gain=0x04))).pixels
    redder = shown(renderer, room(head=lens.Settings(red_gain=0xC0))).pixels
    assert brightness(faster) < brightness(nominal) < brightness(wider)
    assert brightness(nominal) < brightness(louder)
    assert np.array_equal(redder[..., 0], nominal[..., 0])
    assert brightness(redder[..., 2]) > brightness(nominal[..., 2]) + 10
    closed = shown(renderer, room(head=lens.Settings(iris=0))).pixels
    assert closed.max() == 0


def test_automatic_exposure_and_white_balance_correct_a_dark_red_room(renderer):
    dim = {"ambient": 1.0, **dict.fromkeys(LAMPS, 0.08)}
    manual = shown(renderer, room(**dim)).pixels
    automatic = lens.Settings(exposure_mode=lens.AE_AUTO, white_balance=lens.WB_AUTO)
    corrected = shown(renderer, room(head=automatic, **dim)).pixels
    assert brightness(corrected) > 1.5 * brightness(manual)
    colour_cast = {
        name: pixels[..., 2].mean() / pixels[..., 0].mean()
        for name, pixels in (("manual", manual), ("automatic", corrected))
    }
    assert colour_cast["manual"] > 1.15
    assert colour_cast["automatic"] == pytest.approx(1.0, abs=0.05)


def test_gain_makes_noise_and_no_two_exposures_are_the_same(renderer):
    pixels = shown(renderer, room()).pixels
    noise = Noise(7)
    quiet, again, loud = noise.on(pixels, 0), noise.on(pixels, 0), noise.on(pixels, 18)
    assert not np.array_equal(quiet, again)
    assert 0.5 < np.std(quiet[20:80].astype(int) - pixels[20:80]) < 2
    assert np.std(loud[20:80].astype(int) - pixels[20:80]) > 4 * np.std(quiet[20:80].astype(int) - pixels[20:80])


def test_focus_blurs_with_its_distance(renderer):
    def sharpness(focus):
        picture = shown(renderer, room(head=lens.Settings(focus_auto=False, focus=focus)))
        return cv2.Laplacian(cv2.cvtColor(picture.pixels, cv2.COLOR_BGR2GRAY), cv2.CV_64F).var()

    steps = [sharpness(lens.FOCUS_ON_SITTER + off) for off in (0, 0x200, 0x600, 0x2000)]
    assert steps == sorted(steps, reverse=True)
    assert steps[0] > 4 * steps[2]


def test_zoom_enlarges_and_says_when_it_goes_beyond_native(renderer):
    assert shown(renderer, room(head=lens.Settings(zoom=lens.NOMINAL_ZOOM))).upscaled_from is None
    tele = shown(renderer, room(head=lens.Settings(zoom=0x1800)))
    assert tele.upscaled_from is not None
    assert tele.upscaled_from[0] < 600
    assert shown(renderer, room(head=lens.Settings(zoom=0))).upscaled_from is None
    still = shown(renderer, room(head=lens.Settings(zoom=0x1000)), STILL_SIZE, still=True)
    assert still.upscaled_from is not None


def test_tilt_moves_the_picture_down_by_the_right_number_of_pixels(renderer):
    level = shown(renderer, room()).pixels
    raised = shown(renderer, room(head=lens.Settings(tilt=3 * lens.STEPS_PER_DEG))).pixels
    rows = 800 * 3 / lens.FRAME_HEIGHT_DEG
    assert psnr_db(raised[150:700], level[150 - round(rows) : 700 - round(rows)]) > 30


def test_flip_and_mirror_turn_the_picture(renderer):
    plain = shown(renderer, room()).pixels
    assert np.array_equal(shown(renderer, room(head=lens.Settings(flip=True))).pixels, plain[::-1])
    assert np.array_equal(shown(renderer, room(head=lens.Settings(mirror=True))).pixels, plain[:, ::-1])
    assert np.array_equal(shown(renderer, room(head=lens.Settings(flip=True, mirror=True))).pixels, plain[::-1, ::-1])


@pytest.mark.parametrize("source", [Source("session", "22"), Source("people", "kwame"), Source("people", "ingrid")])
@pytest.mark.parametrize("level", [1.0, 0.3])
def test_the_wall_goes_on_around_the_frame_without_a_step(renderer, source, level):
    framing = Framing(lens.magnification(0))
    pixels = renderer.picture(View(source, ((level,) * 3,) * 5, framing=framing), PREVIEW_SIZE).pixels
    smooth = cv2.GaussianBlur(pixels.astype(np.float32), (0, 0), 4).mean(axis=2)
    edge = round(300 - 300 * framing.magnification)
    top = round(400 - 400 * framing.magnification)
    sides = smooth[top + 20 : top + 120]  # beside the head, above the shoulders
    assert np.abs(sides[:, edge + 15] - sides[:, edge - 15]).max() < 4
    assert np.abs(smooth[top - 15, 150:450] - smooth[top + 15, 150:450]).max() < 4
    assert np.abs(np.diff(smooth[: top + 60], axis=1)).max() < 1.0
    assert np.abs(np.diff(smooth[: top + 60], axis=0)).max() < 1.0


def test_an_empty_booth_is_a_plain_wall_of_the_same_brightness(renderer):
    empty = shown(renderer, room(action="absent")).pixels
    seated = shown(renderer, room()).pixels
    assert np.abs(np.diff(empty.astype(int), axis=1)).max() <= 2
    assert np.abs(np.diff(empty.astype(int), axis=0)).max() <= 2
    assert np.abs(empty[20:90].astype(int) - seated[20:90]).mean() < 5


@pytest.mark.parametrize("light", [1.0, 0.4, 0.15])
@pytest.mark.parametrize("text", ["APP-2026-000123", "A" * 20, "passbooth:1:" + "x" * 120])
def test_the_held_code_is_read_from_a_preview_frame(renderer, light, text):
    made = room(ambient=0.35, **dict.fromkeys(LAMPS, NOMINAL_DRIVE * light))
    made.code = text
    pixels = Noise(5).on(shown(renderer, made).pixels, 0)
    jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    assert [code.text for code in zxingcpp.read_barcodes(cv2.imdecode(jpeg, cv2.IMREAD_COLOR))] == [text]


def test_the_held_code_is_lit_by_the_lamps_and_dark_without(renderer):
    made = room(ambient=0.0, **dict.fromkeys(LAMPS, 0.0))
    made.code = "APP-2026-000123"
    assert shown(renderer, made).pixels.max() == 0


def test_a_text_too_long_for_the_camera_is_refused():
    with pytest.raises(CodeTooLongError):
        card_width("x" * 1000)
    with pytest.raises(CodeTooLongError):
        card_width("x" * 10_000)


def test_an_unchanged_view_is_not_computed_again():
    own = Renderer(StackCache())
    made = room()
    first = shown(own, made)
    assert shown(own, made) is first
    assert own.renders == 1


def test_the_cache_stays_within_its_limit():
    cache = StackCache(limit_bytes=20 * 2**20)
    own = Renderer(cache)
    for frame in range(6):
        own.picture(View(Source("session", str(frame)), ((1.0,) * 3,) * len(CHANNELS)), PREVIEW_SIZE)
    assert cache.size_bytes <= 20 * 2**20
