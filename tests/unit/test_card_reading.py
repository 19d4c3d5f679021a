"""The test card: its drawing, and what a picture of it tells."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import cv2
import numpy as np
import pytest

from capture.card_layout import card_svg, marker_bits, square_corners_mm
from capture.errors import CardNotReadableError
from capture.slanted_edge import read_edge
from capture.test_card import grey_box, read_card
from tests.card_pictures import card_picture

SVG = "{http://www.w3.org/2000/svg}"


def read(**camera):
    return read_card(card_picture(**camera), vertical_fov_deg=24.0)


def test_the_drawing_is_an_a4_sheet_with_everything_at_its_place():
    root = ET.fromstring(card_svg())
    assert (root.get("width"), root.get("height"), root.get("viewBox")) == ("210mm", "297mm", "0 0 210 297")
    boxes = {
        (float(r.get("x", 0)), float(r.get("y", 0)), float(r.get("width")), r.get("fill"))
        for r in root.iter(f"{SVG}rect")
    }
    assert {(10.0, 257.0, 30.0, "#000000"), (145.0, 15.0, 20.0, "#343434"), (20.0, 70.0, 170.0, "#767676")} <= boxes
    assert len(boxes) == 1 + 4 + 6 + 1
    (polygon,) = root.iter(f"{SVG}polygon")
    assert polygon.get("points").startswith(("86.819,", "86.820,"))
    texts = " ".join(text.text for text in root.iter(f"{SVG}text"))
    assert "Print at 100 %" in texts


def test_the_drawn_markers_are_those_that_are_found():
    """Each marker's cells, enlarged, are read back by the detector."""
    sheet = np.full((200, 800), 255, np.uint8)
    for number in range(4):
        cells = np.kron(marker_bits(number).astype(np.uint8) * 255, np.ones((20, 20), np.uint8))
        sheet[40:160, 40 + 200 * number : 160 + 200 * number] = cells
    detector = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50))
    _, ids, _ = detector.detectMarkers(sheet)
    assert sorted(int(i) for i in np.ravel(ids)) == [0, 1, 2, 3]


def test_the_square_is_turned_clockwise_by_five_degrees():
    corners = square_corners_mm()
    across = corners[1] - corners[0]
    assert math.degrees(math.atan2(across[1], across[0])) == pytest.approx(5)
    assert np.linalg.norm(across) == pytest.approx(40)
    assert corners.mean(axis=0) == pytest.approx((105, 228))


@pytest.mark.parametrize(
    "camera",
    [
        {},
        {"elevation_deg": 3.0},
        {"elevation_deg": -2.0, "yaw_deg": 2.0, "roll_deg": -3.0},
        {"above_mm": -60.0, "elevation_deg": 3.0},
        {"distance_mm": 1150.0, "aside_mm": 20.0, "roll_deg": 2.0},
        {"size": (600, 800), "elevation_deg": 1.0},
        {"noise": 2.0},
    ],
)
def test_the_camera_s_stand_is_read_off_the_card(camera):
    pose = read(**camera).pose
    told = {"elevation_deg": 0.0, "yaw_deg": 0.0, "roll_deg": 0.0, "distance_mm": 988.0, "above_mm": 0.0} | camera
    assert pose.elevation_deg == pytest.approx(told["elevation_deg"], abs=0.15)
    assert pose.yaw_deg == pytest.approx(told["yaw_deg"], abs=0.15)
    assert pose.roll_deg == pytest.approx(told["roll_deg"], abs=0.05)
    assert pose.distance_cm == pytest.approx(told["distance_mm"] / 10, rel=0.003)
    assert pose.camera_above_cm == pytest.approx(told["above_mm"] / 10, abs=0.3)
    assert pose.off_px < 0.5


def test_with_a_known_distance_the_field_of_view_is_measured():
    picture = card_picture(fov_deg=27.0, elevation_deg=1.0)
    pose = read_card(picture, vertical_fov_deg=24.0, distance_cm=98.8).pose
    assert pose.vertical_fov_deg == pytest.approx(27.0, rel=0.003)
    assert pose.elevation_deg == pytest.approx(1.0, abs=0.15)


def test_the_greys_are_read_and_a_cast_is_told():
    reading = read()
    assert reading.grey.mean_bgr == pytest.approx((118, 118, 118), abs=0.5)
    assert reading.grey.light_bgr[1] == pytest.approx(0.181, abs=0.002)
    assert [round(patch.mean_bgr[1]) for patch in reading.patches] == [243, 200, 160, 122, 85, 52]
    assert reading.grey.chroma < 0.2
    assert reading.centre == pytest.approx((0.5, 0.5), abs=0.001)
    cast = read(light_bgr=(0.8, 1.0, 1.2)).grey
    assert cast.light_bgr[2] / cast.light_bgr[0] == pytest.approx(1.5, rel=0.02)
    assert cast.chroma > 5


@pytest.mark.parametrize("sigma_px", [0.7, 1.0, 1.5, 2.0])
def test_the_mtf50_of_a_gaussian_lens_is_what_theory_says(sigma_px):
    # A pixel's own box and the lens: exp(-2 pi^2 s^2 f^2) sinc(f).
    f = np.linspace(0, 1, 5001)
    theory = f[np.argmax(np.exp(-2 * (np.pi * sigma_px * f) ** 2) * np.sinc(f) < 0.5)]
    assert read(sigma_px=sigma_px).mtf50_cycles_px == pytest.approx(theory, rel=0.06)


def test_a_lens_out_of_focus_is_still_read():
    soft = read(sigma_px=4.0, noise=1.0)
    assert soft.mtf50_cycles_px < 0.06
    assert soft.detail < 0.12
    assert soft.pose.distance_cm == pytest.approx(98.8, rel=0.01)


def test_a_card_turned_until_its_square_is_straight_has_no_sharpness_and_everything_else():
    reading = read(roll_deg=5.0)
    assert reading.mtf50_cycles_px is None
    assert reading.detail is None
    assert reading.pose.roll_deg == pytest.approx(5.0, abs=0.05)


def test_three_markers_are_enough_and_two_are_not():
    assert read(markers=(0, 1, 3)).pose.distance_cm == pytest.approx(98.8, rel=0.003)
    with pytest.raises(CardNotReadableError, match="markers at the top left and bottom right are not seen"):
        read(markers=(1, 2))


@pytest.mark.parametrize(
    ("camera", "told"),
    [
        ({"markers": ()}, "There is no test card"),
        ({"turned": True}, "upside down"),
        ({"light_bgr": (8.0, 8.0, 8.0)}, "overexposed"),
        ({"elevation_deg": 7.0}, "not seen|outside the picture"),
    ],
)
def test_a_card_that_cannot_be_read_is_refused_with_the_remedy(camera, told):
    with pytest.raises(CardNotReadableError, match=told):
        read(**camera)


def test_the_grey_box_lies_in_the_grey_card():
    picture = card_picture(roll_deg=3.0)
    left, top, right, bottom = grey_box(picture)
    part = picture[top:bottom, left:right]
    assert part.shape[0] > 150
    assert part.shape[1] > 200
    assert abs(part.astype(int) - 118).max() <= 1


def test_an_edge_without_contrast_or_slant_is_none():
    assert read_edge(np.full((40, 40), 0.5)) is None
    straight = np.zeros((40, 40))
    straight[:, 20:] = 1
    assert read_edge(straight) is None
    assert read_edge(straight[:8]) is None
