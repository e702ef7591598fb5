"""Libraries that only some commands need, where they are not installed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from presets.errors import MissingPackageError
from presets.extras import needed_for
from tests.samples import Command


def hide(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a library away, with what of it was imported and what imported it."""
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "moeplan.render.plot", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Absent(library), *sys.meta_path])


class Absent:
    """Finds that a library is not there."""

    def __init__(self, library: str) -> None:
        self.library = library

    def find_spec(self, name: str, *_: object) -> None:
        if name.partition(".")[0] == self.library:
            raise ModuleNotFoundError(f"No module named {name!r}", name=self.library)


def test_what_is_missing_is_told_with_its_command_and_nothing_is_written(
    command: Command,
    measurements: Mapping[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    hide("plotly", monkeypatch)
    monkeypatch.chdir(tmp_path)
    rows = str(measurements["inferencex_2026-05-22"])
    run = command("validate", rows, "--output", "lines.csv", "--plot", "page.html")
    assert (run.status, run.out) == (2, "")
    sentence = run.err.splitlines()[-1]
    assert f"needs plotly, which is not installed; run: {sys.executable} -m pip" in sentence
    assert sentence.endswith(" -m pip install 'moeplan[plot]'")
    assert list(tmp_path.iterdir()) == []


def test_an_environment_without_pip_is_told_of_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    hide("pip", monkeypatch)
    monkeypatch.setattr("presets.extras.find_spec", lambda _: None)
    with (
        pytest.raises(MissingPackageError, match="run: uv pip install --python "),
        needed_for("--plot", "plot"),
    ):
        import pip  # noqa: F401
