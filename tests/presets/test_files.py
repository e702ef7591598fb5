import os
import stat
from pathlib import Path
from threading import Thread

import pytest

from presets import Alternative, DataFileError, Fact
from presets.files import read_preset, read_text, same_file, write_whole
from presets.folders import VARIABLE, data_files


def test_text_up_to_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\xef\xbb\xbfabc")
    assert read_text(path, 6) == "abc"
    with pytest.raises(DataFileError, match="is longer than 5 bytes"):
        read_text(path, 5)


def test_a_preset_that_is_not_toml_or_lacks_a_field(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("value = ")
    with pytest.raises(DataFileError, match="toml: is not TOML"):
        read_preset(path, Alternative)
    path.write_text('value = 1\nsource = "a"')
    with pytest.raises(DataFileError, match="toml, key date: is missing"):
        read_preset(path, Alternative)
    path.write_text('value = nan\nsource = "a"\ndate = 2026-01-01')
    with pytest.raises(DataFileError, match="key value: nan is not valid; it must be a finite"):
        read_preset(path, Alternative)


@pytest.mark.parametrize("escape", ["\\u001b[2J", "\\u0000", "a\\nb", "\\u0085b", "\\u007f"])
def test_control_characters_are_refused(tmp_path: Path, escape: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(f'value = 1\nsource = "made up {escape}c"\ndate = 2026-01-01')
    with pytest.raises(DataFileError, match=r"key source: must not hold control characters$"):
        read_preset(path, Alternative)


@pytest.mark.parametrize("text", ["Gauß, Noël", "\N{SLIGHTLY SMILING FACE}", "东京"])
def test_letters_of_all_scripts_are_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(f'value = 1\nsource = "{text}"\ndate = 2026-01-01', encoding="utf-8")
    assert read_preset(path, Alternative).source == text


@pytest.mark.parametrize("text", ["a = " + "[" * 20_000, "a = " + "1" * 5_000])
def test_toml_that_would_exhaust_the_parser(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(DataFileError, match="is not TOML") as caught:
        read_preset(path, Alternative)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["a" + ".a" * 30_000 + " = 1", "[" + "a . " * 20 + "a]", "x = {" + "'a.b'." * 30 + "a=1}"],
)
def test_a_deep_toml_key_is_refused_before_it_is_parsed(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text("# first\n" + text)
    with pytest.raises(DataFileError, match="line 2: has a key of more than 20 parts"):
        read_preset(path, Alternative)


def test_long_text_is_no_deep_toml_key(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(f'value = 1\nsource = "{"word" * 100_000}. 1.2.3"\ndate = 2026-01-01')
    assert read_preset(path, Alternative).source.endswith("1.2.3")


def test_an_unknown_key_offers_the_closest_where_the_record_is_known(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    fact = 'value = 1\nunit = "s"\nsource = "a"\ndate = 2026-01-01\nkind = "measured"\n'
    path.write_text(fact + "notes = 1")
    with pytest.raises(DataFileError, match="key notes: is not a known key; did you mean 'note'"):
        read_preset(path, Fact)
    path.write_text(fact + "[[alternatives]]\n" + fact)
    with pytest.raises(DataFileError, match=r"key alternatives\.0\.unit: is not a known key$"):
        read_preset(path, Fact)


def test_names_are_sorted_and_of_one_folder() -> None:
    assert list(data_files("hardware")) == sorted(data_files("hardware"))
    assert data_files("models")["kimi-k2"].is_file()
    assert data_files("nowhere") == {}


def test_a_folder_of_ones_own_adds_to_the_shipped_files_and_replaces_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = data_files("hardware")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert data_files("hardware") == shipped
    (tmp_path / "hardware").mkdir()
    for name in ("gb200", "mine"):
        (tmp_path / "hardware" / f"{name}.toml").touch()
    assert data_files("hardware") == shipped | {"mine": tmp_path / "hardware" / "mine.toml"}


def test_an_existing_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("old")
    write_whole(path, "new")
    assert path.read_text() == "new"
    assert [item.name for item in tmp_path.iterdir()] == ["mine.toml"]


def test_permissions_are_those_of_the_file_or_of_the_mask(tmp_path: Path) -> None:
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    old.write_text("old")
    old.chmod(0o600)
    before = os.umask(0o027)
    try:
        write_whole(old, "text")
        write_whole(new, "text")
        assert os.umask(0o027) == 0o027  # left as it was
    finally:
        os.umask(before)
    assert stat.S_IMODE(old.stat().st_mode) == 0o600
    assert stat.S_IMODE(new.stat().st_mode) == 0o640


def test_a_write_that_breaks_off_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "new \ud800")  # half a character: cannot be encoded
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["mine.toml"]


def test_a_link_stays_and_its_target_is_written(tmp_path: Path) -> None:
    target, link, further = tmp_path / "there" / "a", tmp_path / "link", tmp_path / "further"
    target.parent.mkdir()
    target.write_text("old")
    link.symlink_to(target)
    further.symlink_to("link")
    write_whole(further, "new")
    assert (link.is_symlink(), further.is_symlink()) == (True, True)
    assert not target.is_symlink()
    assert target.read_text() == "new"
    assert [each.name for each in target.parent.iterdir()] == ["a"]


def test_a_link_to_nothing_makes_its_target(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("a")
    write_whole(link, "new")
    assert link.is_symlink()
    assert (tmp_path / "a").read_text() == "new"


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.symlink_to(second)
    second.symlink_to(first)
    with pytest.raises(OSError, match="levels of symbolic links"):
        write_whole(first, "new")
    assert first.is_symlink()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["first", "second"]


@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_is_written_to_and_stays(tmp_path: Path, linked: bool) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    found: list[str] = []
    reader = Thread(target=lambda: found.append(pipe.read_text()))
    reader.start()
    write_whole(link if linked else pipe, "text")
    reader.join(timeout=10)
    assert found == ["text"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert link.is_symlink()


def test_names_of_one_file(tmp_path: Path) -> None:
    file, link, hard, pipe = (tmp_path / name for name in ("file", "link", "hard", "pipe"))
    assert same_file(file, tmp_path / "." / "file")  # once it is there
    link.symlink_to(file)
    assert same_file(file, link)
    file.write_text("text")
    hard.hardlink_to(file)
    os.mkfifo(pipe)
    assert same_file(file, link)
    assert same_file(hard, link)
    assert not same_file(file, pipe)
    assert not same_file(pipe, pipe)  # may be read and written
    assert not same_file(file, tmp_path / "other")
