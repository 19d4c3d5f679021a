"""What the page says next (booth/static/prompts.js), under Node on a clock of the test's own."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

NODE = shutil.which("node")
PROMPTS = Path(__file__).resolve().parents[2] / "booth" / "static" / "prompts.js"

pytestmark = pytest.mark.skipif(NODE is None, reason="needs Node: apt-get install nodejs")

# Runs steps of [milliseconds, call, arguments]; each sentence lasts as long as `lasts` says. Tells when each began and how it ended.
BENCH = """
import { PromptQueue } from "./prompts.mjs";
const { stories } = JSON.parse(process.argv[2]);
const all = [];
for (const { steps, lasts, until, reminded, deaf } of stories) {
  let now = 0, number = 0, ending = null;
  const timers = new Map(), told = [];
  const later = (step, ms) => { timers.set(++number, { at: now + ms, step }); return number; };
  const queue = new PromptQueue({
    now: () => now,
    later,
    cancel: (timer) => timers.delete(timer),
    reminds: (item) => reminded.includes(item),
    play: (item) => new Promise((done) => {
      if (deaf.includes(item)) { told.push([now, item, "deaf"]); done(false); return; }
      const begun = now;
      if (ending !== null) told.push([now, item, "OVERLAP"]);
      ending = (how) => { told.push([begun, item, how, now]); ending = null; timers.delete(timer); done(true); };
      const timer = later(() => ending("whole"), lasts[item] ?? 1000);
    }),
    stop: () => ending?.("cut"),
  });
  for (const [at, call, ...rest] of steps) timers.set(++number, { at, step: () => queue[call](...rest) });
  while (timers.size > 0) {
    const [[id, { at, step }]] = [...timers].sort((a, b) => a[1].at - b[1].at || a[0] - b[0]);
    if (at > until) break;
    timers.delete(id);
    now = at;
    step();
    await new Promise((turn) => setImmediate(turn));
  }
  all.push(told);
}
console.log(JSON.stringify(all));
"""


def story(*steps, lasts=None, until=60_000, reminded=(), deaf=()):
    return {"steps": steps, "lasts": lasts or {}, "until": until, "reminded": list(reminded), "deaf": list(deaf)}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Plays stories in one process; gives for each the sentences as (when, which, how it ended)."""
    folder = tmp_path_factory.mktemp("node")
    (folder / "prompts.mjs").write_text(PROMPTS.read_text("utf-8"))
    (folder / "bench.mjs").write_text(BENCH)

    def play(*stories):
        command = [NODE, str(folder / "bench.mjs"), json.dumps({"stories": stories})]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        return [[tuple(line[:3]) for line in lines] for lines in json.loads(done.stdout)]

    return play


def test_the_rules_of_speech(told):
    screen, again, newer, queued, gone, same, dropped, deaf, back = told(
        # a screen's sentences one after the other, and nothing twice because it was drawn anew
        story(
            [0, "show", 1, ["title", "text"]], [500, "show", 1, ["title", "text"]], [5000, "show", 1, ["title", "text"]]
        ),
        # what the screen keeps saying is not repeated by itself unless it asks for something
        story([0, "show", 1, ["closer", "auto"]], until=20_000, reminded=["closer"]),
        # a newer instruction waits for the end of the one that runs
        story([0, "show", 1, ["closer"]], [300, "show", 1, ["left"]], lasts={"closer": 2000}),
        # and takes the place of those that wait
        story([0, "show", 1, ["a", "b", "c"]], [300, "show", 1, ["d"]], [400, "show", 1, ["e"]]),
        # another screen cuts what runs and drops what waits
        story([0, "show", 1, ["a", "b"]], [300, "show", 2, ["c"]]),
        # the same sentence at most every four seconds
        story([0, "show", 1, ["a"]], [1200, "show", 1, ["b"]], [2500, "show", 1, ["a"]]),
        # one that waits for that is dropped when something newer comes
        story([0, "show", 1, ["a"]], [1200, "show", 1, ["b"]], [2500, "show", 1, ["a"]], [3000, "show", 1, ["c"]]),
        # a sentence without a sound stops nothing
        story([0, "show", 1, ["a", "b"]], deaf=["a"]),
        # a screen that comes back says what it has to say
        story([0, "show", 1, ["a"]], [2000, "show", 2, []], [9000, "show", 1, ["a"]]),
    )
    assert screen == [(0, "title", "whole"), (1000, "text", "whole")]
    assert again == [
        (0, "closer", "whole"),
        (1000, "auto", "whole"),
        (10_000, "closer", "whole"),
        (19_000, "closer", "whole"),
    ]
    assert newer == [(0, "closer", "whole"), (2000, "left", "whole")]
    assert queued == [(0, "a", "whole"), (1000, "e", "whole")]
    assert gone == [(0, "a", "cut"), (300, "c", "whole")]
    assert same == [(0, "a", "whole"), (1200, "b", "whole"), (4000, "a", "whole")]
    assert dropped == [(0, "a", "whole"), (1200, "b", "whole"), (3000, "c", "whole")]
    assert deaf == [(0, "a", "deaf"), (0, "b", "whole")]
    assert back == [(0, "a", "whole"), (9000, "a", "whole")]


def test_replay_and_silence(told):
    replayed, impatient, silenced, unheard = told(
        story([0, "show", 1, ["a", "b"]], [3000, "replay"]),
        story([0, "show", 1, ["a"]], [500, "replay"], [600, "replay"], [1500, "replay"]),
        story([0, "show", 1, ["a", "b"]], [500, "silence"], [5000, "show", 1, ["a", "b"]], [6000, "replay"]),
        story([0, "show", 1, ["a"]], [100, "replay"], deaf=["a"]),
    )
    assert replayed == [(0, "a", "whole"), (1000, "b", "whole"), (3000, "a", "whole"), (4000, "b", "whole")]
    assert impatient == [(0, "a", "whole"), (1500, "a", "whole")]
    assert silenced == [(0, "a", "cut"), (6000, "a", "whole"), (7000, "b", "whole")]
    assert unheard == [(0, "a", "deaf"), (100, "a", "deaf")]


def test_whatever_comes_no_two_sentences_sound_at_once_and_none_too_often(told):
    stories, keys = [], "abcde"
    for seed in range(60):
        number, steps, at = seed * 7919 + 1, [], 0
        for _ in range(25):
            number = (number * 1_103_515_245 + 12_345) % 2**31
            at += number % 1700
            shown = [keys[(number >> shift) % 5] for shift in (3, 7, 11)][: 1 + number % 3]
            steps.append([at, "show", 1 + (number >> 13) % 6 // 5, list(dict.fromkeys(shown))])
        stories.append(story(*steps, lasts={"a": 300, "b": 2500, "c": 5000}, reminded=["a", "d"], until=90_000))
    for lines in told(*stories):
        assert len(lines) > 5
        last = {}
        for begun, item, how in sorted(lines):
            assert how in {"whole", "cut"}
            assert begun - last.get(item, -10_000) >= 4000
            last[item] = begun
