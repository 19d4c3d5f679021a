"""What leaves for the widget: one message for a change, none for none, the same slots as keep-alive."""

from __future__ import annotations

import pytest

from hardware.dmx import DmxDialogue, Label, Message, MessageDecoder, encode
from hardware.errors import LinkSilentError
from hardware.lights import FixtureMap

SERIAL = Message(Label.SERIAL, bytes.fromhex("78563402"))
ANSWERS = {Label.SERIAL: SERIAL, Label.PARAMETERS: Message(Label.PARAMETERS, bytes.fromhex("4401090128"))}
NAMES = ("key_left", "key_right", "fill_top", "background")


class Widget:
    """A link with a widget behind it that answers every question at once."""

    path = "/dev/widget"

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self.mute = False
        self._waiting = b""

    def discard(self) -> None:
        self._waiting = b""

    def write(self, data: bytes) -> None:
        label, slots = data[1], data[4:-1]
        self.heard.append(Message(label, slots))
        if label in ANSWERS and not self.mute:
            self._waiting += encode(ANSWERS[Label(label)])

    def read(self, _timeout_s: float) -> bytes:
        if not self._waiting:
            raise LinkSilentError("nothing comes")
        data, self._waiting = self._waiting, b""
        return data

    def sent(self) -> list[bytes]:
        """The slots of the label 6 messages since the last time."""
        heard, self.heard = self.heard, []
        return [message.data[1:] for message in heard if message.label == Label.SEND]


@pytest.fixture
def line() -> tuple[DmxDialogue, Widget]:
    dialogue, widget = DmxDialogue({name: FixtureMap(address=n + 1) for n, name in enumerate(NAMES)}), Widget()
    dialogue.connect(widget)
    widget.sent()
    return dialogue, widget


def test_levels_that_are_set_together_leave_in_one_message_before_the_question(line):
    dialogue, widget = line
    dialogue.set_levels(widget, dict.fromkeys(NAMES, 100.0))
    assert [message.label for message in widget.heard] == [Label.SEND, Label.SERIAL]
    assert [slots[:4] for slots in widget.sent()] == [b"\xff" * 4]


def test_levels_that_change_nothing_send_no_slots_and_are_acknowledged_all_the_same(line):
    dialogue, widget = line
    dialogue.set_levels(widget, dict.fromkeys(NAMES, 50.0))
    widget.sent()
    dialogue.set_levels(widget, {"key_left": 50.05})  # the same step of an eight-bit lamp
    assert [message.label for message in widget.heard] == [Label.SERIAL]
    assert dialogue.levels_pct["key_left"] == pytest.approx(50, abs=0.3)


def test_the_same_slots_are_the_keep_alive(line):
    dialogue, widget = line
    dialogue.set_levels(widget, dict.fromkeys(NAMES, 50.0))
    before = widget.sent()
    dialogue.idle(widget)
    assert widget.sent() == before


def test_slots_that_were_not_acknowledged_are_sent_again(line):
    dialogue, widget = line
    widget.mute = True
    with pytest.raises(LinkSilentError):
        dialogue.set_levels(widget, {"key_left": 20.0})
    widget.mute = False
    widget.sent()
    dialogue.set_levels(widget, {"key_left": 20.0})
    assert len(widget.sent()) == 1


def test_the_widget_of_these_tests_speaks_the_protocol():
    assert MessageDecoder().feed(encode(SERIAL)) == [SERIAL]
