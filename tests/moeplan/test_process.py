import gc
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest

from moeplan import started
from moeplan.__main__ import ENVIRONMENT, RARELY, run

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _process_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ENVIRONMENT:
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    thresholds = gc.get_threshold()
    flags = sys.getdlopenflags()
    interrupt = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, interrupt)
    gc.set_threshold(*thresholds)
    sys.setdlopenflags(flags)


class Ended(Exception):
    """The process has ended at once."""


def _end(status: int) -> NoReturn:
    raise Ended(status)


def run_with(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run a command as the process would; gives the status that it ends with."""
    monkeypatch.setattr(sys, "argv", ["moeplan", *arguments])
    monkeypatch.setattr(os, "_exit", _end)
    with pytest.raises(Ended) as ended:
        run()
    return int(ended.value.args[0])


def test_a_command_runs_in_a_process_set_for_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_with(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.startswith("moeplan ")
    assert {name: os.environ[name] for name in ENVIRONMENT} == ENVIRONMENT
    assert gc.get_threshold()[0] == RARELY


def test_settings_of_the_user_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    assert run_with(monkeypatch, "nothing") == 2
    assert os.environ["OPENBLAS_NUM_THREADS"] == "2"


def test_a_closed_stream_is_no_hindrance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert run_with(monkeypatch, "nothing") == 2


def test_what_cannot_be_written_is_left_to_the_interpreter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full = io.StringIO()
    monkeypatch.setattr(full, "flush", lambda: (_ for _ in ()).throw(OSError("full")))
    monkeypatch.setattr(sys, "stdout", full)
    monkeypatch.setattr(sys, "argv", ["moeplan", "nothing"])
    assert run() == 2


def test_the_command_ends_with_its_status_and_all_it_printed() -> None:
    command = [sys.executable, "-m", "moeplan"]
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("moeplan ")
    failed = subprocess.run([*command, "nothing"], capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr.startswith("Error: ")


@pytest.mark.parametrize(
    ("words", "expected"), [("moeplan cu", "curve"), ("moeplan best --max-t", "--max-ttft")]
)
def test_a_shell_completes_any_command(words: str, expected: str) -> None:
    asked = {"_MOEPLAN_COMPLETE": "complete_bash", "COMP_WORDS": words}
    done = subprocess.run(
        [sys.executable, "-m", "moeplan", "best"],
        env=os.environ | asked | {"COMP_CWORD": str(words.count(" "))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == [expected]


IMPORTED = """
import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)  # a signal is answered between two instructions
except BaseException:
    pass  # as some places of an import do
"""


@pytest.mark.parametrize("module", ["typer", "numpy", "typing", "pydantic"])
def test_an_interruption_while_anything_is_imported_is_quiet(module: str, tmp_path: Path) -> None:
    (tmp_path / f"{module}.py").write_text(IMPORTED, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "moeplan", "best", "--sku", "b200", "--target", "9"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
        # A shell that runs the tests in the background has it ignored by all that they start.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Error: interrupted\n")


def test_an_interruption_of_work_reaches_those_who_clean_up() -> None:
    with pytest.raises(KeyboardInterrupt):
        started.interrupt(signal.SIGINT, sys._getframe())


def test_an_interruption_after_the_command_is_quiet(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("moeplan.cli.main", interrupted)
    assert run_with(monkeypatch) == 130
    assert capfd.readouterr().err == "Error: interrupted\n"


def test_interruptions_that_are_ignored_stay_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        started.take_interruptions()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
