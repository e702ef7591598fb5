import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from costmodel.calibration import CalibrationFile
from costmodel.calibration_file import shipped_calibration
from costmodel.correlation import Correlation
from costmodel.drift import (
    ACCEPTANCE_DRIFT,
    ASKED,
    DRIFT,
    GROUPS,
    asked_drift,
    evidence,
    fit_covariance,
    prior_covariance,
)
from costmodel.stages import PREFILL, step_names

SHIPPED = shipped_calibration()
PAIR = ("layer_time", "step_time")


def small(correlation: float) -> CalibrationFile:
    """Two constants of one group, 10 and 20 percent wide."""
    constants = dict(SHIPPED.constants)
    for name, error in zip(PAIR, (0.1, 0.2), strict=True):
        constants[name] = constants[name].model_copy(update={"standard_error": error})
    # The file has them in another order, beside one that nobody asks for.
    names = ("step_time", "request_time", "layer_time")
    together = Correlation(constants=names, below=((0.0,), (correlation, 0.0)))
    return SHIPPED._replace(constants=constants, correlations=(together,))


def test_groups_are_constants_of_serving_each_in_one() -> None:
    names = [name for members in GROUPS.values() for name in members]
    assert len(names) == len(set(names))
    assert set(names) <= {*step_names(SHIPPED), *PREFILL}
    assert not {"engine_factor", "roofline_exponent", "expert_tile"} & set(names)


def test_covariance_of_a_fit_by_hand() -> None:
    expected = [[0.01, 0.5 * 0.1 * 0.2], [0.5 * 0.1 * 0.2, 0.04]]
    np.testing.assert_allclose(fit_covariance(small(0.5), PAIR), expected)


def test_a_constant_that_was_not_fitted_is_as_wide_as_its_spread() -> None:
    factor = SHIPPED.constants["engine_factor"]
    assert factor.standard_error is None
    found = fit_covariance(SHIPPED, ("engine_factor", "layer_time"))
    assert found[0, 0] == pytest.approx(factor.spread**2)
    assert found[0, 1] == 0


def test_a_group_shares_one_factor() -> None:
    felt = np.array([True, True])
    found = prior_covariance(small(0.0), PAIR, "shared", felt)
    assert DRIFT == 0.1
    np.testing.assert_allclose(found, [[0.01 + 0.01, 0.01], [0.01, 0.04 + 0.01]])
    own = prior_covariance(small(0.0), PAIR, "own", felt)
    np.testing.assert_allclose(own, found + 0.01 * np.eye(2))


def test_constants_of_two_groups_drift_apart_and_drafts_less() -> None:
    names = ("layer_time", "hbm_efficiency", "acceptance", "roofline_exponent")
    before = fit_covariance(SHIPPED, names)
    drift = prior_covariance(SHIPPED, names, "shared", np.ones(4, dtype=bool)) - before
    assert ACCEPTANCE_DRIFT == 0.03
    np.testing.assert_allclose(drift, np.diag([0.01, 0.01, 0.0009, 0.0]), atol=1e-12)


def test_what_rows_do_not_feel_does_not_drift() -> None:
    felt = np.array([True, False])
    found = prior_covariance(small(0.0), PAIR, "own", felt)
    np.testing.assert_allclose(found, [[0.01 + 0.02, 0.0], [0.0, 0.04]])


@given(st.integers(0, 10_000))
def test_evidence_is_the_density_of_a_normal(seed: int) -> None:
    rng = np.random.default_rng(seed)
    residuals, slopes = rng.normal(size=5), rng.normal(size=(5, 2))
    root = rng.normal(size=(2, 2))
    covariance = root @ root.T
    whole = np.eye(5) + slopes @ covariance @ slopes.T
    expected = multivariate_normal(np.zeros(5), whole).logpdf(residuals)
    constant = 5 * np.log(2 * np.pi) / 2
    assert evidence(residuals, slopes, covariance) == pytest.approx(expected + constant, abs=1e-6)


def asked(shift: float, own: float = 0.0, rows: int = 8) -> str:
    """Residuals of rows, half of which feel one constant only, the others the other.

    Logs of the constants lie `shift` from their priors, one more by `own`, the other less.
    """
    file = small(0.0)
    constants = {
        name: file.constants[name].model_copy(update={"standard_error": 0.001}) for name in PAIR
    }
    slopes = np.kron(np.eye(2), np.full((rows // 2, 1), 20.0))  # each row is 5 % sure
    residuals = slopes @ np.array([shift + own, shift - own])
    return asked_drift(file._replace(constants=file.constants | constants), PAIR, residuals, slopes)


def test_rows_ask_for_no_more_than_they_give_odds_for() -> None:
    assert asked(0.0) == "none"
    assert asked(0.02) == "none"
    assert asked(0.15) == asked(-0.15) == "shared"
    assert asked(0.05, own=0.15) == asked(0.0, own=0.2) == "own"


def test_a_drift_of_their_own_takes_the_odds_twice() -> None:
    # Two constants apart: a shared factor explains nothing, and one step of odds is not enough.
    file = small(0.0)
    sure = {n: file.constants[n].model_copy(update={"standard_error": 0.001}) for n in PAIR}
    file = file._replace(constants=file.constants | sure)
    slopes = np.kron(np.eye(2), np.full((4, 1), 20.0))
    own = prior_covariance(file, PAIR, "own", np.ones(2, dtype=bool))
    found = {}
    for apart in np.arange(0.0, 0.3, 0.002):
        residuals = slopes @ np.array([apart, -apart])
        gain = evidence(residuals, slopes, own) + 0.5 * float(residuals @ residuals)
        shared = prior_covariance(file, PAIR, "shared", np.ones(2, dtype=bool))
        better = gain - evidence(residuals, slopes, shared) - 0.5 * float(residuals @ residuals)
        if better > ASKED:
            found[float(gain)] = asked_drift(file, PAIR, residuals, slopes)
    for gain, drift in found.items():
        assert drift == ("own" if gain > 2 * ASKED else "none")
    assert set(found.values()) == {"own", "none"}


def test_odds_are_twenty_to_one_by_hand() -> None:
    # One row of slope 1 that feels one constant, sure but for the drift: covariance 1 + 0.01 s^2.
    assert pytest.approx(20, rel=0.01) == np.exp(ASKED)
    file = small(0.0)
    sure = file.constants["layer_time"].model_copy(update={"standard_error": 1e-9})
    file = file._replace(constants=file.constants | {"layer_time": sure})
    slope = 100.0  # a hundred in the square: the determinant is 101, and 100 / 101 is explained
    for gain, expected in ((2.9, "none"), (3.1, "shared")):
        residual = np.sqrt(2 * (gain + np.log(101) / 2) * 101 / 100)
        found = asked_drift(file, ("layer_time",), np.array([residual]), np.array([[slope]]))
        assert found == expected, gain
