"""A folder holds a recipe whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from moeplan.recipes import directory, swap
from moeplan.recipes.directory import read_recipe, write_recipe
from moeplan.recipes.formats import FORMATS
from moeplan.recipes.writing import OWN_FILES, RECORD, recipe_names
from presets import DataFileError, InputError
from tests.recipes.samples import ONE_POOL_FORMATS, every_recipe, good, one_pool

FILES = {RECORD: "{}", "a.yaml": "a\n"}


def contents(folder: Path) -> dict[str, str]:
    return {each.name: each.read_text() for each in folder.iterdir() if each.is_file()}


def test_a_recipe_is_read_back_as_it_was(tmp_path: Path) -> None:
    for name in FORMATS:
        recipe, files = good(name)
        write_recipe("--output", tmp_path / name, files, force=False)
        read, found = read_recipe(tmp_path / name)
        assert read == recipe
        assert found == files
        assert sorted(files) == list(recipe_names(recipe))
        scripts = [path for path in (tmp_path / name).iterdir() if path.suffix == ".sh"]
        assert all(path.stat().st_mode & 0o100 for path in scripts)
    assert {each.name for each in tmp_path.iterdir()} == set(FORMATS)


@pytest.mark.many_cases
def test_own_files_are_all_that_recipes_write() -> None:
    written = {name for kind in FORMATS for _, files in every_recipe(kind)[::5] for name in files}
    written |= {name for kind in ONE_POOL_FORMATS for name in one_pool(kind)[1]}
    assert written == OWN_FILES


def test_an_empty_folder_is_filled_and_a_full_one_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "recipe"
    folder.mkdir()
    write_recipe("--output", folder, FILES, force=False)
    assert contents(folder) == FILES
    with pytest.raises(InputError, match=r"--output: .* holds files; .* with --force"):
        write_recipe("--output", folder, {RECORD: "[]"}, force=False)
    assert contents(folder) == FILES


def test_force_replaces_a_recipe_and_keeps_the_rest(tmp_path: Path) -> None:
    folder = tmp_path / "recipe"
    write_recipe("--output", folder, {RECORD: "{}", "decode.sh": "x"}, force=False)
    (folder / "measured.csv").write_text("mine")
    (folder / "runs").mkdir()
    (folder / "runs" / "1").write_text("one")
    (folder / "link").symlink_to("nowhere")
    write_recipe("--output", folder, {RECORD: "[]"}, force=True)
    assert contents(folder) == {RECORD: "[]", "measured.csv": "mine"}
    assert (folder / "runs" / "1").read_text() == "one"
    assert (folder / "link").is_symlink()
    assert [each.name for each in tmp_path.iterdir()] == ["recipe"]


def test_force_replaces_nothing_but_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(InputError, match=f"holds files but no {RECORD}"):
        write_recipe("--output", tmp_path, FILES, force=True)
    assert contents(tmp_path) == {"notes": "mine"}


@pytest.mark.parametrize("step", ["write_text", "rename"])
@pytest.mark.parametrize("full", [False, True])
def test_what_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, full: bool
) -> None:
    folder = tmp_path / "recipe"
    if full:
        write_recipe("--output", folder, FILES, force=False)
    true_step, calls = getattr(Path, step), []

    def failing(path: Path, *arguments: object, **options: object) -> object:
        calls.append(path)
        if len(calls) == (2 if step == "write_text" or full else 1):
            raise OSError(28, "No space left on device")
        return true_step(path, *arguments, **options)

    monkeypatch.setattr(Path, step, failing)
    monkeypatch.setattr(swap, "_exchanged", lambda one, other: False)
    with pytest.raises(InputError, match=r"cannot be written: No space left on device"):
        write_recipe("--output", folder, {RECORD: "[]", "b.yaml": "b"}, force=True)
    monkeypatch.undo()
    assert [each.name for each in tmp_path.iterdir()] == (["recipe"] if full else [])
    assert not full or contents(folder) == FILES


def test_a_link_to_a_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write_recipe("--output", tmp_path / "link", FILES, force=False)
    assert (tmp_path / "link").is_symlink()
    assert contents(tmp_path / "real") == FILES


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("file", "it is a file"),
        ("none/recipe", "there is no folder"),
        ("a\x00b", "it is not a folder name"),
        ("loop/x", "cannot be written"),
    ],
)
def test_folders_that_cannot_be(tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match=problem):
        write_recipe("--output", tmp_path / name, FILES, force=True)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "recipe.json, line 1: is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "must be keys and values"),
        ("{}", "key format: is missing"),
        ('{"format": "helm"}', "key format: 'helm' is not valid"),
        ('{"prediction": {"interval_90": 1}}', "key"),
    ],
)
def test_records_that_are_none(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(DataFileError, match=problem):
        read_recipe(tmp_path)


def test_a_record_edited_by_hand_is_checked(tmp_path: Path) -> None:
    _, files = good("slurm")
    spoilt = files[RECORD].replace('"gpus_per_node": 4', '"gpus_per_node": "4"')
    write_recipe("--output", tmp_path / "a", files | {RECORD: spoilt}, force=False)
    with pytest.raises(DataFileError, match=r"machine\.gpus_per_node: '4' is not valid; it must"):
        read_recipe(tmp_path / "a")


def test_folders_that_are_no_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataFileError, match=r"holds no recipe\.json"):
        read_recipe(tmp_path)
    with pytest.raises(DataFileError, match="cannot be read: No such"):
        read_recipe(tmp_path / "none")
    with pytest.raises(InputError, match="is not a folder"):
        read_recipe(Path("a\x00b"))
    monkeypatch.setattr(directory, "MOST_FILES", 1)
    for name in FILES:
        (tmp_path / name).write_text("x")
    with pytest.raises(DataFileError, match="more than 1 files"):
        read_recipe(tmp_path)
