"""Writers of one folder at the same time, and writers that are killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from moeplan.recipes import swap

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="locks and signals of POSIX")

WRITER = """
import sys, time
from pathlib import Path
from moeplan.recipes.swap import clear_left_over, only_writer, put_in_place
from moeplan.recipes import swap

def fill(word):
    def build(fresh):
        for name in "abcdefgh":
            (fresh / name).write_text(word)
    return build

def write(folder, word, replace):
    with only_writer(folder.parent):
        clear_left_over(folder.parent)
        if folder.exists() and not replace:
            return False
        put_in_place(folder, fill(word), replace=replace)
        return True

folder, mode, word = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
if mode == "steps":
    swap._exchanged = lambda one, other: False
print("ready", flush=True)
if mode == "once":
    for number in range(int(sys.argv[4])):
        while not (folder / f"start-{number}").exists():
            time.sleep(0.0005)
        wrote = write(folder / f"recipe-{number}", word, False)
        print(f"{number} {'wrote' if wrote else 'told'}", flush=True)
else:
    for number in range(100_000):
        write(folder, word if number % 2 else word.upper(), True)
"""


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def words(folder: Path) -> set[str]:
    assert names(folder) == list("abcdefgh")
    return {(folder / name).read_text() for name in "abcdefgh"}


def test_one_of_several_writers_wins_and_the_others_are_told(tmp_path: Path) -> None:
    rounds = 12
    writers = [start(tmp_path, "once", f"w{number}", rounds) for number in range(4)]
    for number in range(rounds):
        (tmp_path / f"start-{number}").touch()
        time.sleep(0.002)
    told: Counter[str] = Counter()
    for writer in writers:
        out, _ = writer.communicate(timeout=60)
        assert writer.returncode == 0
        told.update(out.splitlines())
    for number in range(rounds):
        assert (told[f"{number} wrote"], told[f"{number} told"]) == (1, 3)
        assert len(words(tmp_path / f"recipe-{number}")) == 1
    assert not list(tmp_path.glob(f"{swap.PREFIX}*"))


@pytest.mark.parametrize("mode", ["exchange", "steps"])
def test_a_killed_writer_leaves_the_old_folder_or_the_new(tmp_path: Path, mode: str) -> None:
    def first(fresh: Path) -> None:
        for name in "abcdefgh":
            (fresh / name).write_text("word")

    chance = random.Random(7)
    folder = tmp_path / "recipe"
    swap.put_in_place(folder, first, replace=False)
    for _ in range(10):
        writer = start(folder, mode, "word")
        time.sleep(0.01 + 0.02 * chance.random())
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        if mode == "exchange":
            assert words(folder) in ({"word"}, {"WORD"})
        with swap.only_writer(tmp_path):  # the lock of the dead keeps nobody out
            swap.clear_left_over(tmp_path)
        assert words(folder) in ({"word"}, {"WORD"})
        assert names(tmp_path) == ["recipe"]


def test_a_folder_moved_away_and_not_yet_replaced_is_put_back(tmp_path: Path) -> None:
    beside = tmp_path / f"{swap.PREFIX}dead"
    (beside / swap.OLD).mkdir(parents=True)
    (beside / swap.OLD / "a").write_text("old")
    (beside / swap.TARGET).write_text("recipe")
    outside = tmp_path / f"{swap.PREFIX}odd"
    (outside / swap.OLD).mkdir(parents=True)
    (outside / swap.TARGET).write_text("../elsewhere")
    swap.clear_left_over(tmp_path)
    assert (tmp_path / "recipe" / "a").read_text() == "old"
    assert names(tmp_path) == ["recipe"]


def test_another_writer_is_waited_for_only_so_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swap, "LONGEST_WAIT", 0.05)
    with (
        swap.only_writer(tmp_path),
        pytest.raises(TimeoutError, match="another moeplan writes there"),
        swap.only_writer(tmp_path),
    ):
        pass
