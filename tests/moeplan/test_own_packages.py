"""Packages of moeplan that others of the same names hide, or were written over."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from moeplan.own_packages import MARK, PACKAGES

ROOT = Path(__file__).parents[2]
FOREIGN = "raise RuntimeError('what is not ours was run')\n"


def run(
    *arguments: str, folder: Path, path: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Python in a folder, with another first on its path."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, filter(None, [path, ROOT])))},
        capture_output=True,
        text=True,
        check=False,
    )


def said(done: subprocess.CompletedProcess[str], status: int) -> str:
    """Give the last line on standard error of a run that printed nothing else."""
    assert (done.returncode, done.stdout) == (status, "")
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", PACKAGES)
def test_each_package_is_known_by_its_first_file(name: str) -> None:
    assert MARK in (ROOT / name / "__init__.py").read_bytes()


@pytest.mark.parametrize("name", PACKAGES)
@pytest.mark.parametrize("form", ["{}.py", "{}/__init__.py"])
def test_what_hides_a_package_is_named(name: str, form: str, tmp_path: Path) -> None:
    hiding = tmp_path / form.format(name)
    hiding.parent.mkdir(exist_ok=True)
    hiding.write_text(FOREIGN, encoding="utf-8")
    done = run("-m", "moeplan", "--version", folder=tmp_path)
    sentence = said(done, 2)
    assert done.stderr == f"{sentence}\n"
    assert sentence.startswith(f"Error: {str(hiding)!r} hides the package {name!r}")
    assert "pipx install" in sentence


def test_python_gets_an_error_that_is_an_import_error(tmp_path: Path) -> None:
    (tmp_path / "topology.py").write_text(FOREIGN, encoding="utf-8")
    assert said(run("-c", "import moeplan", folder=tmp_path), 1).startswith(
        "presets.errors.ShadowedError: "
    )
    code = "try:\n    import moeplan\nexcept ImportError as error:\n    exit(str(error))"
    assert "topology.py' hides the package 'topology'" in said(run("-c", code, folder=tmp_path), 1)


def test_the_installed_command_is_no_less_quiet(tmp_path: Path) -> None:
    (tmp_path / "costmodel.py").write_text(FOREIGN, encoding="utf-8")
    script = tmp_path / "bin" / "moeplan"
    script.parent.mkdir()
    script.write_text("import sys\nfrom moeplan.__main__ import run\nsys.exit(run())\n")
    done = run(str(script), "--help", folder=tmp_path, path=tmp_path)
    assert said(done, 2).startswith("Error: ")
    assert done.stderr.count("\n") == 1


def test_folders_that_hide_nothing_are_no_hindrance(tmp_path: Path) -> None:
    for name in PACKAGES:  # without a first file they are no packages
        (tmp_path / name).mkdir()
    assert run("-m", "moeplan", "--version", folder=tmp_path).returncode == 0


@pytest.mark.parametrize("removed", [False, True])
def test_a_package_that_was_written_over_is_named(removed: bool, tmp_path: Path) -> None:
    # `pip install presets` beside an installed moeplan writes over our first file, and
    # `pip uninstall presets` takes it away.
    for name in ("moeplan", *PACKAGES):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("data"))
    first = tmp_path / "presets" / "__init__.py"
    first.unlink() if removed else first.write_text(FOREIGN, encoding="utf-8")
    # Alone on the path: no packages of an environment, no PYTHONPATH.
    sentence = said(run("-S", "-E", "-m", "moeplan", "--help", folder=tmp_path), 2)
    assert sentence.startswith("Error: the package 'presets' of moeplan in ")
    assert "overwritten or removed" in sentence
    assert "pipx install" in sentence
