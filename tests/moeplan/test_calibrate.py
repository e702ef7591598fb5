"""What `moeplan calibrate` says and writes; its fits are tested in tests/costmodel."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import pytest

from costmodel import adaptation, stages
from costmodel.adaptation import Adaptation
from costmodel.calibration import CalibrationFile
from costmodel.calibration_file import read_calibration, shipped_calibration
from costmodel.fit import Fit
from costmodel.validation import validate
from moeplan import own_rows
from presets import InputError, ServingRow, serving_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tests.samples import Command

SHIPPED = shipped_calibration()
SLOWER = 1.1


def written(path: Path, rows: Sequence[ServingRow]) -> Path:
    """Write rows as a user has them."""
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(ServingRow.model_fields))
        table.writeheader()
        for row in rows:
            cells = row.model_dump().items()
            table.writerow({name: "" if cell is None else cell for name, cell in cells})
    return path


@pytest.fixture
def adapt_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[float, float], None]:
    """Put an adaptation in place of the real one, which takes many seconds.

    It moves the time of a layer by a factor, and on rows left out by another.
    """

    def use(fitted: float, left_out: float) -> None:
        def adapt(
            rows: Sequence[ServingRow], start: CalibrationFile, progress: Callable[[], None]
        ) -> Adaptation:
            progress()
            layer = start.constants["layer_time"]
            after = layer.model_copy(update={"value": fitted * layer.value})
            file = start._replace(constants=start.constants | {"layer_time": after})
            pulls = np.zeros((5, len(rows)))
            pulls[0, 1], pulls[0, 2] = np.log(fitted), 0.2 * np.log(fitted)
            before = validate(rows, start.calibration)
            calibration = start.calibration
            checked = validate(
                rows, calibration._replace(layer_time=left_out * calibration.layer_time)
            )
            return Adaptation(
                start,
                Fit(file, {"layer_time": 0.5}, 7, {"layer_time": pulls.ravel()}),
                {"step": "shared" if fitted != 1 else "none", "wait": "none"},
                before,
                checked,
                validate(serving_rows()[:20], start.calibration),
                validate(serving_rows()[:20], file.calibration),
            )

        monkeypatch.setattr(adaptation, "adapt", adapt)

    return use


@pytest.fixture
def rows(tmp_path: Path) -> str:
    chosen = [row for row in serving_rows() if row.sku == "gb200"][:6]
    return str(written(tmp_path / "rows.csv", chosen))


def test_a_better_fit_is_written_with_what_moved(
    command: Command, adapt_by: Callable[[float, float], None], rows: str, tmp_path: Path
) -> None:
    adapt_by(SLOWER, 1.0)
    path = tmp_path / "mine.toml"
    run = command("calibrate", rows, "--output", str(path))
    assert run.status == 0
    assert "Fitting" in run.err
    assert "Constants adapted to 6 measured rows of gb200, in 7 evaluations" in run.out
    (line,) = (line for line in run.out.splitlines() if line.startswith("  layer_time "))
    before = SHIPPED.constants["layer_time"].value
    assert f"{before:.4g}" in line
    assert f"{SLOWER * before:.4g}" in line
    assert "+10.0 %" in line
    assert line.endswith("TPOT of line 3, line 4")
    assert "step_time" not in run.out
    assert "Errors on these rows" in run.out
    assert "Errors on the shipped rows" in run.out
    verdict = run.out.splitlines()[-3:]
    assert verdict[0] == "Verdict"
    assert verdict[1].startswith("  Better on rows left out: TPOT ")
    assert verdict[2] == f"  Written to {path}."
    assert read_calibration(path).constants["layer_time"].value == pytest.approx(SLOWER * before)


def test_a_fit_that_is_worse_is_written_by_force_alone(
    command: Command, adapt_by: Callable[[float, float], None], rows: str, tmp_path: Path
) -> None:
    adapt_by(SLOWER, 1.5)
    path = tmp_path / "mine.toml"
    run = command("calibrate", rows, "--output", str(path))
    assert run.status == 1
    assert not path.exists()
    assert f"Nothing is written to {path}." in " ".join(run.out.split())
    assert run.err.splitlines()[-1].startswith("Error: Worse on rows left out: TPOT ")
    assert "--force" in run.err
    path.write_text("before")
    again = command("calibrate", rows, "--output", str(path), "--json")
    assert (again.status, path.read_text()) == (1, "before")
    assert (again.json["verdict"], again.json["written"]) == ("worse", False)
    forced = command("calibrate", rows, "--output", str(path), "--force")
    assert forced.status == 0
    assert "Written all the same, by --force" in forced.out
    assert read_calibration(path).constants["layer_time"].value > 0


def test_rows_that_agree_are_said_to(
    command: Command, adapt_by: Callable[[float, float], None], rows: str, tmp_path: Path
) -> None:
    adapt_by(1.0, 1.0)
    run = command("calibrate", rows, "--output", str(tmp_path / "mine.toml"))
    assert run.status == 0
    assert "No constant moves." in run.out
    assert "The rows agree with the calibration" in run.out
    assert (tmp_path / "mine.toml").exists()


def test_json_of_an_adaptation(
    command: Command, adapt_by: Callable[[float, float], None], rows: str, tmp_path: Path
) -> None:
    adapt_by(SLOWER, 1.0)
    found = command("calibrate", rows, "--output", str(tmp_path / "mine.toml"), "--json").json
    assert found["verdict"] == "better"
    assert found["written"] is True
    assert found["reason"].startswith("Better")
    assert found["rows"] == 6
    assert found["drift"] == {"step": "shared", "wait": "none"}
    value = SHIPPED.constants["layer_time"].value
    assert found["moved"] == {
        "layer_time": {
            "before": value,
            "after": pytest.approx(SLOWER * value),
            "unit": "s",
            "stage": "step",
            "most_by": ["line 3", "line 4"],
        }
    }
    assert found["before"]["tpot"]["known"] == found["left_out"]["tpot"]["known"] == 6
    shipped = found["shipped_rows"]
    assert shipped["before"]["tpot"]["mape"] != shipped["after"]["tpot"]["mape"]
    assert found["constants"].keys() == SHIPPED.constants.keys()


def test_rows_of_several_files_are_named_with_theirs(
    command: Command, adapt_by: Callable[[float, float], None], rows: str, tmp_path: Path
) -> None:
    adapt_by(SLOWER, 1.0)
    others = [row for row in serving_rows() if row.sku == "h200"][:3]
    second = str(written(tmp_path / "more.csv", others))
    found = command(
        "calibrate", second, rows, "--output", str(tmp_path / "mine.toml"), "--json"
    ).json
    assert found["moved"]["layer_time"]["most_by"] == ["more.csv line 3", "more.csv line 4"]


def test_a_fit_from_priors(
    command: Command,
    measurements: Mapping[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fit(rows: Sequence[ServingRow], file: CalibrationFile, progress: Callable[[], None]) -> Fit:
        progress()
        assert len(rows) == 20
        return Fit(file, {"hbm_efficiency": 0.5}, 7)

    monkeypatch.setattr(stages, "calibrate", fit)
    path = tmp_path / "mine.toml"
    given = ("calibrate", str(measurements["inferencex_2026-05-22"]), "--output", str(path))
    run = command(*given, "--from-priors")
    assert run.status == 0
    assert "in 7 evaluations" in run.out
    assert "hbm_efficiency" in run.out
    assert "Verdict" not in run.out
    found = command(*given, "--from-priors", "--json").json
    assert found["constants"]["hbm_efficiency"]["informed"] == 0.5
    assert found["written"] is True
    assert not {"before", "left_out", "verdict"} & set(found)
    target = ("best", "--sku", "b200", "--target", "75", "--calibration", str(path), "--json")
    assert command(*target).json["config"] is not None


@pytest.mark.parametrize("option", [(), ("--from-priors",)])
def test_seconds_for_milliseconds_are_refused_before_any_fit(
    command: Command, tmp_path: Path, option: tuple[str, ...]
) -> None:
    rows = [row for row in serving_rows() if row.sku == "gb200"][:12]
    wrong = [row.model_copy(update={"tpot_ms": (row.tpot_ms or 0) / 1e3}) for row in rows]
    path = tmp_path / "mine.toml"
    run = command(
        "calibrate", str(written(tmp_path / "s.csv", wrong)), "--output", str(path), *option
    )
    assert run.status == 2
    assert not path.exists()
    assert run.out == ""
    assert run.err.startswith(f"Error: {tmp_path / 's.csv'}, lines 2, 3, ")
    assert "tpot_ms is likely in seconds in place of ms" in run.err
    assert run.err.count("\n") == 1


def test_force_takes_rows_as_they_are(tmp_path: Path) -> None:
    rows = [row for row in serving_rows() if row.sku == "gb200"][:3]
    tripled = [row.model_copy(update={"tpot_ms": 3 * (row.tpot_ms or 0)}) for row in rows]
    path = written(tmp_path / "rows.csv", tripled)
    with pytest.raises(InputError, match="of another load"):
        own_rows.calibrate(path)
    measured = own_rows.rows_to_fit(path, force=True)
    assert list(measured) == [f"{path}, line {line}" for line in (2, 3, 4)]
