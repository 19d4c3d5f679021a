"""Training: which faults are hidden, how answers are judged, what the virtual booth is told, and that a training never reaches a real intake."""

from __future__ import annotations

import asyncio
import random

import pytest

from booth.cli import HiddenFault
from booth.errors import ConfigInvalidError, TrainerLostError
from booth.messages import Messages, known_languages
from booth.trainer import BEFORE_CAMERA, CAUSES, FAULTS, SOUND, Trainer, choose_faults, listen
from booth.training import SCENES, TrainingDesk, TrainingSection, open_training


class Virtual:
    """Writes down what the virtual booth is told."""

    def __init__(self):
        self.told = []

    async def tell(self, **order):
        self.told.append(order)


def trainer(*names):
    virtual = Virtual()
    return Trainer([FAULTS[name] for name in names], virtual.tell, random.Random(7)), virtual


def test_the_command_line_offers_every_fault():
    assert {each.value for each in HiddenFault} == set(FAULTS)


@pytest.mark.parametrize("language", known_languages())
def test_every_cause_and_scene_has_its_words(language):
    texts = Messages.load(language).texts
    wanted = {f"training.{part}.{cause}" for cause in CAUSES for part in ("cause", "explain")}
    wanted |= {f"training.scene.{scene}" for scene in SCENES}
    assert wanted <= texts.keys()


def test_chance_gives_every_fault_once_before_any_again_and_a_seed_gives_the_same():
    chosen = choose_faults(None, len(FAULTS), random.Random(3))
    assert {fault.name for fault in chosen} == set(FAULTS)
    assert chosen == choose_faults(None, len(FAULTS), random.Random(3))
    assert len(choose_faults(None, 50, random.Random(3))) == 50
    assert [fault.name for fault in choose_faults("weak_lamp", 2, random.Random())] == ["weak_lamp"] * 2


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_is_hidden_in_a_sound_and_empty_booth(name):
    training, virtual = trainer(name)
    await training.begin()
    before = [*SOUND, *BEFORE_CAMERA["empty"]]
    assert virtual.told[: len(before)] == before
    hidden = virtual.told[len(before) :]
    assert len(hidden) == (name != "nothing")
    undone = {frozenset(order) - {"dead", "connected", "strength", "on"} for order in SOUND}
    assert all(frozenset(order) - {"dead", "connected", "strength", "on"} in undone for order in hidden)


async def test_answers_are_judged_once_and_counted_and_the_last_one_ends_it():
    training, virtual = trainer("dead_lamp", "unfocused_lens")
    await training.begin()
    wrong = await training.follow({"answer": "lamp_weak"})
    assert (wrong.outcome.right, wrong.outcome.cause, wrong.answered, wrong.right) == (False, "lamp_dark", 1, 0)
    assert await training.follow({"answer": "lamp_dark"}) == wrong, "one answer for each exercise"
    told = len(virtual.told)
    following = await training.follow({"next": True})
    assert (following.exercise, following.outcome, following.over) == (2, None, False)
    assert virtual.told[-1] == {"lens": {"defocus_px": 4}}
    assert virtual.told[told : told + len(SOUND)] == list(SOUND)
    right = await training.follow({"answer": "lens_unfocused"})
    assert (right.outcome.right, right.right, right.over) == (True, 1, True)
    assert (await training.follow({"next": True})).exercise == 2


@pytest.mark.parametrize(
    "order", [{}, {"next": True}, {"answer": "goblins"}, {"answer": 7}, {"scene": "elephant"}, {"fault": "x"}]
)
async def test_what_makes_no_sense_changes_nothing(order):
    training, virtual = trainer("dead_lamp", "weak_lamp")
    await training.begin()
    told, before = len(virtual.told), training.view
    assert await training.follow(order) == before
    assert len(virtual.told) == told


async def test_the_controller_talks_to_the_trainer_and_never_learns_the_fault(tmp_path, no_tasks_left):
    training, virtual = trainer("swapped_lamps")
    await training.begin()
    socket = tmp_path / "trainer.sock"
    async with await listen(training, socket):
        assert socket.stat().st_mode & 0o077 == 0
        desk = TrainingDesk(socket)
        view = await desk.view()
        assert view.outcome is None
        assert "swap" not in view.model_dump_json().replace("lamps_swapped", "")
        assert (await desk.tell({"scene": "card"})).scene == "card"
        assert virtual.told[-1] == {"card": "test"}
        assert (await desk.tell({"answer": "lamps_swapped"})).outcome.right


async def test_a_trainer_that_is_gone_or_talks_nonsense_is_one_sentence(tmp_path, no_tasks_left):
    with pytest.raises(TrainerLostError, match="booth train"):
        await TrainingDesk(tmp_path / "none.sock").view()

    async def nonsense(reader, writer):
        await reader.readline()
        writer.write(b'{"exercise": "many"}\n')
        writer.close()

    async with await asyncio.start_unix_server(nonsense, tmp_path / "x.sock"):
        with pytest.raises(TrainerLostError):
            await TrainingDesk(tmp_path / "x.sock").view()


async def test_nonsense_to_the_trainer_is_answered_by_silence(tmp_path, no_tasks_left):
    training, _ = trainer("nothing")
    async with await listen(training, tmp_path / "t.sock"):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "t.sock")
        writer.write(b"no json\n")
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("url", ["https://intake.example", "https://10.0.0.4:8443", "https://127.0.0.1.example"])
def test_a_training_booth_refuses_a_real_intake(tmp_path, url):
    with pytest.raises(ConfigInvalidError, match="on this machine"):
        open_training(TrainingSection(socket=tmp_path / "t.sock"), url)


@pytest.mark.parametrize("url", ["https://127.0.0.1:8443", "https://localhost:1", "https://[::1]:1"])
def test_a_training_booth_takes_an_intake_of_this_machine(tmp_path, url):
    assert open_training(TrainingSection(socket=tmp_path / "t.sock"), url) is not None
    assert open_training(None, "https://intake.example") is None
