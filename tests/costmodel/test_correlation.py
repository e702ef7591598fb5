from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from costmodel.calibration_file import (
    format_calibration,
    read_calibration,
    shipped_calibration,
    write_calibration,
)
from costmodel.corpus_deviations import shared_constants
from costmodel.correlation import Correlation, correlation_of
from costmodel.draws import draw_constants, drawn, single
from costmodel.fit import fit_constants
from costmodel.latencies import reduce_residuals
from costmodel.stages import ALL_REDUCE, fitted_names
from presets import DataFileError, allreduce_rows

SHIPPED = shipped_calibration()
PAIR = Correlation(constants=("step_time", "layer_time"), below=((-0.9,),))


def test_every_fitted_constant_has_its_correlations() -> None:
    shared = shared_constants(SHIPPED).constants  # those of the corpus are drawn one by one
    fitted = {name for name, one in shared.items() if one.standard_error is not None}
    named = [name for one in SHIPPED.correlations for name in one.constants]
    assert sorted(named) == sorted(fitted)


def test_shipped_correlations_are_those_of_the_fit() -> None:
    names = fitted_names(SHIPPED, ALL_REDUCE)
    again = fit_constants(SHIPPED, names, reduce_residuals(allreduce_rows()))
    shipped = next(one for one in SHIPPED.correlations if one.constants == names)
    assert again.file.correlations[-1].constants == names
    np.testing.assert_allclose(again.file.correlations[-1].matrix, shipped.matrix, atol=2e-3)
    others = {one.constants for one in again.file.correlations}
    assert others == {one.constants for one in SHIPPED.correlations}


@given(st.integers(1, 6), st.integers(0, 1000))
def test_a_covariance_is_found_again(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(size, size + 2))
    covariance = root @ root.T
    names = tuple(f"c{place}" for place in range(size))
    found = correlation_of(names, covariance)
    errors = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(found.matrix * np.outer(errors, errors), covariance, atol=1e-3)
    np.testing.assert_allclose(found.root @ found.root.T, found.matrix, atol=2e-3)


@pytest.mark.parametrize(
    ("below", "problem"),
    [
        (((0.5, 0.5),), "rows of"),
        (((1.5,),), "less than or equal to 1"),
        (((float("nan"),),), "finite"),
        ((), "rows of"),
    ],
)
def test_what_is_no_correlation_is_refused(
    below: tuple[tuple[float, ...], ...], problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        Correlation(constants=("step_time", "layer_time"), below=below)


def test_impossible_correlations_are_refused() -> None:
    with pytest.raises(ValidationError, match="less than zero"):
        Correlation(constants=("a", "b", "c"), below=((0.9,), (0.9, -0.9)))
    with pytest.raises(ValidationError, match="names one twice"):
        Correlation(constants=("a", "a"), below=((0.9,),))


def test_correlations_survive_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    write_calibration(SHIPPED._replace(correlations=(PAIR,)), path)
    assert read_calibration(path).correlations == (PAIR,)
    write_calibration(SHIPPED._replace(correlations=()), path)
    assert read_calibration(path).correlations == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('constants = ["step_tme"]\nbelow = []', "did you mean 'step_time'"),
        (
            'constants = ["step_time"]\nbelow = []\n[[correlations]]\n'
            'constants = ["step_time"]\nbelow = []',
            "stands in two",
        ),
        ('constants = ["step_time"]\nbelow = [[0.1]]', "rows of"),
        ('constants = ["step_time"]', "below: is missing"),
    ],
)
def test_bad_correlations_in_a_file(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "mine.toml"
    plain = format_calibration(SHIPPED._replace(correlations=()))
    path.write_text(f"{plain}\n[[correlations]]\n{text}\n")
    with pytest.raises(DataFileError, match=problem):
        read_calibration(path)


def test_correlations_that_are_no_list(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    plain = format_calibration(SHIPPED._replace(correlations=()))
    path.write_text(plain.replace("format =", "correlations = 3\nformat =", 1))
    with pytest.raises(DataFileError, match="must be a list"):
        read_calibration(path)


def test_draws_have_the_spread_and_correlation_of_the_fit() -> None:
    file = SHIPPED._replace(correlations=(PAIR,))
    found = draw_constants(file, 4000, 1)
    logs = {name: np.log(column[:, 0]) for name, column in found.items()}
    for name in ("layer_time", "attention_efficiency", "acceptance"):
        constant = file.constants[name]
        assert logs[name].mean() == pytest.approx(np.log(constant.value), abs=0.01)
        assert logs[name].std() == pytest.approx(constant.standard_error, rel=0.05)
    pairs = np.corrcoef(logs["layer_time"], logs["step_time"])[0, 1]
    assert pairs == pytest.approx(-0.9, abs=0.03)
    assert abs(np.corrcoef(logs["layer_time"], logs["draft_factor"])[0, 1]) < 0.06


def test_draws_stay_within_bounds_and_follow_the_seed() -> None:
    found = draw_constants(SHIPPED, 300, 7)
    for name, column in found.items():
        constant = SHIPPED.constants[name]
        assert column.shape == (300, 1)
        assert constant.low <= column.min() <= column.max() <= constant.high
    again, other = draw_constants(SHIPPED, 300, 7), draw_constants(SHIPPED, 300, 8)
    assert all(np.array_equal(found[name], again[name]) for name in found)
    assert not np.array_equal(found["step_time"], other["step_time"])


def test_a_draw_is_a_calibration() -> None:
    found = draw_constants(SHIPPED, 3, 0)
    one, every = single(SHIPPED, found, 2), drawn(SHIPPED, found)
    assert isinstance(one.step_time, float)
    assert one.step_time == np.asarray(every.step_time)[2, 0]
    assert one.dispatch.latency == np.asarray(every.dispatch.latency)[2, 0]
    assert one.rounds == SHIPPED.calibration.rounds


def test_what_was_not_fitted_is_not_drawn() -> None:
    still = {
        name: one.model_copy(update={"standard_error": None})
        for name, one in SHIPPED.constants.items()
    }
    assert draw_constants(SHIPPED._replace(constants=still), 5, 0) == {}
