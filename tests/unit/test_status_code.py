"""The thanks screen's code: what a phone reads from it is the status page with the visit's token behind the number sign."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import numpy as np
import zxingcpp

from booth.status_code import draw_code, status_address
from crypto.status_token import make_status_token

PATH = re.compile(r"M(\d+) (\d+)h(\d+)v1h-\d+z")


def rendered(svg: str, scale: int = 4) -> np.ndarray:
    """The drawing's modules as pixels, by its one path."""
    root = ET.fromstring(svg)
    side = int(root.get("viewBox").split()[2])
    picture = np.full((side, side), 255, np.uint8)
    background, drawn = root
    assert background.get("fill") == "#fff"
    assert PATH.sub("", drawn.get("d")) == ""
    for x, y, width in PATH.findall(drawn.get("d")):
        picture[int(y), int(x) : int(x) + int(width)] = 0
    return np.kron(picture, np.ones((scale, scale), np.uint8))


def test_the_code_is_read_back():
    for page in ("https://intake.example.org/status", "https://127.0.0.1:40441/status", "https://a.b/" + "c" * 150):
        address = status_address(page, make_status_token())
        svg = draw_code(address)
        assert len(svg) < 16_000
        picture = rendered(svg)
        (read,) = zxingcpp.read_barcodes(picture)
        assert read.text == address
        assert (picture[:16] == 255).all(), "its quiet zone is part of it"
        assert (picture[:, :16] == 255).all()
