"""Judging many photos on all cores: in order, and no crash or interruption costs more than its own photo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from multiprocessing import resource_tracker
from pathlib import Path

import pytest

from booth.photo_pool import WORTH_A_PROCESS, default_jobs, judged
from validation.errors import ImageUnreadableError

MANY = [Path(f"photo-{n:02}") for n in range(3 * WORTH_A_PROCESS)]

# A run of the pool that is interrupted after its first answer, as Ctrl-C in a terminal would: the whole process group gets the signal.
INTERRUPTED = """
import os, signal
from pathlib import Path
from booth.photo_pool import judged
from test_photo_pool import named
if __name__ == "__main__":
    try:
        for answer in judged([Path(str(n)) for n in range(400)], named, 2, lambda path: "lost"):
            os.killpg(os.getpgid(0), signal.SIGINT)
    except KeyboardInterrupt:
        print("interrupted")
"""


def named(_model, path):
    return path.name


def named_process(_model, path):
    return path.name, os.getpid()


def process_of(_model, _path):
    return os.getpid()


def deadly(victims, _model, path):
    if path.name in victims:
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name


def deadly_once(folder, _model, path):
    mark = folder / path.name
    if path.name == "photo-05" and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name


def unready(_model, _path):
    raise ImageUnreadableError("This was not expected.")


def lost(path):
    return f"lost {path.name}"


@pytest.fixture(scope="module", autouse=True)
def _tracker():
    resource_tracker.ensure_running()  # multiprocessing's own child, which stays for the whole session


def test_many_photos_are_answered_in_order_by_several_processes():
    answers = list(judged(MANY, named_process, 2, lost))
    assert [name for name, _ in answers] == [path.name for path in MANY]
    assert os.getpid() not in {pid for _, pid in answers}
    assert len({pid for _, pid in answers}) == 2


def test_few_photos_need_no_other_process():
    assert set(judged(MANY[:3], process_of, 2, lost)) == {os.getpid()}
    assert list(judged([], named, 2, lost)) == []


def test_a_process_that_dies_costs_its_own_photo_only():
    victims = {"photo-03"}
    expected = [f"lost {p.name}" if p.name in victims else p.name for p in MANY]
    assert list(judged(MANY, partial(deadly, victims), 2, lost)) == expected


def test_a_photo_gets_a_second_chance_after_its_process_died(tmp_path):
    assert list(judged(MANY, partial(deadly_once, tmp_path), 2, lost)) == [path.name for path in MANY]


def test_what_the_work_did_not_expect_reaches_the_caller():
    with pytest.raises(ImageUnreadableError, match="not expected"):
        list(judged(MANY, unready, 2, lost))


def test_leaving_early_ends_the_processes():
    answers = judged(MANY, process_of, 2, lost)
    pid = next(answers)
    answers.close()
    assert not Path(f"/proc/{pid}").exists()


def test_ctrl_c_ends_everything_with_one_word(tmp_path):
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED)
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": paths},
    )
    assert (done.stdout, done.stderr, done.returncode) == ("interrupted\n", "", 0)


def test_the_cores_are_counted():
    assert default_jobs() >= 1
