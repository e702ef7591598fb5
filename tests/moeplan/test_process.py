import gc
import os
import sys
from collections.abc import Iterator

import pytest

from moeplan.__main__ import ENVIRONMENT, RARELY, run


@pytest.fixture(autouse=True)
def _process_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ENVIRONMENT:
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    thresholds = gc.get_threshold()
    flags = sys.getdlopenflags()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    sys.setdlopenflags(flags)


def test_a_command_runs_in_a_process_set_for_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["moeplan", "--version"])
    assert run() == 0
    assert capsys.readouterr().out.startswith("moeplan ")
    assert {name: os.environ[name] for name in ENVIRONMENT} == ENVIRONMENT
    assert gc.get_threshold()[0] == RARELY
    assert gc.get_freeze_count() > 0


def test_settings_of_the_user_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    monkeypatch.setattr(sys, "argv", ["moeplan", "nothing"])
    assert run() == 2
    assert os.environ["OPENBLAS_NUM_THREADS"] == "2"
