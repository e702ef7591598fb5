from pathlib import Path

import pytest

from costmodel.calibration import CalibrationFile
from costmodel.calibration_file import (
    format_calibration,
    read_calibration,
    shipped_calibration,
    write_calibration,
)
from presets import DataFileError


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    write_calibration(shipped_calibration(), path)
    assert read_calibration(path) == shipped_calibration()


def test_shipped_text_is_what_would_be_written() -> None:
    import costmodel.calibration

    shipped = Path(costmodel.calibration.__file__).parent / "data" / "calibration.toml"
    assert shipped.read_text() == format_calibration(shipped_calibration())


def test_numbers_are_written_to_six_digits(tmp_path: Path) -> None:
    file = shipped_calibration()
    third = file.constants["rounds"].model_copy(update={"value": 10 / 3, "spread": 1e-300})
    path = tmp_path / "mine.toml"
    write_calibration(CalibrationFile(file.constants | {"rounds": third}, file.coverage), path)
    again = read_calibration(path).constants["rounds"]
    assert again.value == 3.33333
    assert again.spread == 1e-300


@pytest.mark.parametrize(
    "text",
    [
        'a "quoted" \\ backslash, and Gauß',
        "\N{SLIGHTLY SMILING FACE}",
    ],
)
def test_any_text_survives(tmp_path: Path, text: str) -> None:
    file = shipped_calibration()
    odd = file.constants["rounds"].model_copy(update={"source": text})
    path = tmp_path / "mine.toml"
    write_calibration(CalibrationFile(file.constants | {"rounds": odd}, file.coverage), path)
    assert read_calibration(path).constants["rounds"].source == text


def test_control_characters_are_refused(tmp_path: Path) -> None:
    file = shipped_calibration()
    odd = file.constants["rounds"].model_copy(update={"source": "an escape\x1b[31m, a delete\x7f"})
    path = tmp_path / "mine.toml"
    write_calibration(CalibrationFile(file.constants | {"rounds": odd}, file.coverage), path)
    with pytest.raises(DataFileError, match="must not hold control characters"):
        read_calibration(path)


def test_a_calibration_without_rows_can_be_written(tmp_path: Path) -> None:
    file = shipped_calibration()
    empty = file.coverage.model_copy(update={"rows": 0, "skus": (), "models": ()})
    path = tmp_path / "mine.toml"
    write_calibration(file._replace(coverage=empty), path)
    assert read_calibration(path).coverage == empty


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "mine.toml"  # a folder stands where the file should go
    folder.mkdir()
    with pytest.raises(OSError, match=r"mine\.toml"):
        write_calibration(shipped_calibration(), folder)
    assert [item.name for item in tmp_path.iterdir()] == ["mine.toml"]
    assert list(folder.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_calibration(shipped_calibration(), tmp_path / "none" / "mine.toml")
    assert list(tmp_path.iterdir()) == []
