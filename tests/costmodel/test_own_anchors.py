"""Anchors of a user's own rows: what a few measured points say of deployments like them."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodel.adaptation import adapt
from costmodel.anchors import anchor_of, is_anchored
from costmodel.calibration import Calibration
from costmodel.calibration_file import (
    format_calibration,
    read_calibration,
    shipped_calibration,
)
from costmodel.corpus import numbered
from costmodel.deployments import case_of
from costmodel.observations import structure_key
from costmodel.own_anchors import anchors_of_rows, levels_by_one, own_anchors
from costmodel.predictions import predict
from costmodel.validation import validate
from optimizer import Limits, Problem, Space, best
from optimizer.confidence import promise_of
from optimizer.spans import spans_of
from presets import DataFileError, ServingRow, corpus_rows, serving_rows

SHIPPED = shipped_calibration()


def slower(row: ServingRow, factor: float) -> ServingRow:
    """The same run with a longer time per token than was measured."""
    times = {
        name: value and factor * value
        for name, value in row.model_dump(include={"tpot_ms", "tpot_median_ms"}).items()
    }
    return row.model_copy(update=times | {"tok_s_per_user": None, "iteration_ms": None})


def points(rows: Sequence[ServingRow], **values: object) -> list[ServingRow]:
    """The points of the deployment that has most, of rows with some values; by users."""
    chosen = [
        row
        for row in rows
        if not row.suspect and all(getattr(row, name) == each for name, each in values.items())
    ]
    most, _ = Counter(structure_key(row) for row in chosen).most_common(1)[0]
    found = [row for row in chosen if structure_key(row) == most]
    return sorted(found, key=lambda row: row.concurrency)


VLLM = points(
    corpus_rows(), framework="vllm", model="minimax-m3", sku="b200", precision="fp8", isl=1024,
    decode_ep=8, mtp_depth=0,
)  # fmt: skip
R1 = points(serving_rows(), sku="gb200", serving="disaggregated")


def error(rows: list[ServingRow], calibration: Calibration = SHIPPED.calibration) -> float:
    """Mean absolute error of TPOT."""
    return float(validate(rows, calibration).statistics()["tpot"]["mape"] or 0.0)


@pytest.mark.parametrize("rows", [VLLM, R1], ids=["vllm", "shared constants"])
def test_one_point_shifts_what_is_like_it_and_less_what_is_not(rows: list[ServingRow]) -> None:
    measured = [slower(row, 1.3) for row in rows]
    given, rest = measured[len(rows) // 2], measured[: len(rows) // 2]
    anchors = anchors_of_rows([given], SHIPPED.calibration)
    anchored = SHIPPED.calibration._replace(anchors=anchors)
    assert error(rest, anchored) < 0.75 * error(rest)
    own = case_of(given)._replace(of_a_row=False)
    base = anchor_of(own).level
    level = anchor_of(own, anchors).level / base
    (answer,) = predict([own.configuration], own.scenario, own.cluster, anchored)
    assert answer.prediction.anchored_at == 1 + anchor_of(own).rows
    for changes in ({"engine": "sglang"}, {"isl": 2048}):
        other = own._replace(scenario=own.scenario.model_copy(update=changes))
        shift = anchor_of(other, anchors).level / anchor_of(other).level
        assert abs(math.log(shift)) < abs(math.log(level))
    alone = own._replace(scenario=own.scenario.model_copy(update={"anchors": False}))
    assert anchor_of(alone, anchors).level == 1.0


def test_a_row_is_predicted_by_the_other_rows_alone() -> None:
    rows = [slower(row, 1.3) for row in VLLM]
    (one,) = (validate(rows[:1], SHIPPED.calibration._replace(anchors=each)).figures["tpot"]
              for each in (anchors_of_rows(rows[:1], SHIPPED.calibration),))  # fmt: skip
    assert one.predicted == validate(rows[:1], SHIPPED.calibration).figures["tpot"].predicted
    others = anchors_of_rows(rows[1:], SHIPPED.calibration)
    every = anchors_of_rows(rows, SHIPPED.calibration)
    case = case_of(rows[0])
    assert anchor_of(case, every).level == pytest.approx(anchor_of(case, others).level, rel=1e-9)


@given(st.floats(-0.9, 0.9))
def test_a_level_goes_the_way_of_the_error_and_no_further(log_error: float) -> None:
    case = case_of(VLLM[0])._replace(of_a_row=False)
    anchors = own_anchors([case], np.array([log_error]))
    level = math.log(anchor_of(case, anchors).level / anchor_of(case).level)
    assert -level * log_error >= 0.0
    assert abs(level) <= abs(log_error) + 1e-12


def test_more_rows_that_say_the_same_are_believed_more() -> None:
    cases = [case_of(row)._replace(of_a_row=False) for row in VLLM]
    levels = [
        anchor_of(cases[0], own_anchors(cases[:count], np.full(count, -0.2))).level
        for count in range(1, len(cases) + 1)
    ]
    assert levels == sorted(levels)
    assert levels[0] < levels[-1] < anchor_of(cases[0]).level * math.exp(0.2)


def test_what_is_unknown_says_nothing() -> None:
    assert own_anchors([case_of(VLLM[0])], np.array([np.nan])) == {}


def test_own_points_narrow_the_interval_of_tpot_alone() -> None:
    case = case_of(VLLM[2])._replace(of_a_row=False)
    anchors = anchors_of_rows([VLLM[3]], SHIPPED.calibration)
    assert is_anchored(case, anchors)
    widths = []
    for calibration in (SHIPPED.calibration, SHIPPED.calibration._replace(anchors=anchors)):
        (one,) = predict([case.configuration], case.scenario, case.cluster, calibration)
        spans = one.prediction.interval_90
        widths.append([math.log(high / low) for low, high in (spans["tpot_ms"], spans["ttft_ms"])])
    assert widths[1][0] == pytest.approx(0.85 * widths[0][0])
    assert widths[1][1] == pytest.approx(widths[0][1])


def test_the_search_predicts_and_promises_as_a_prediction_does() -> None:
    own = case_of(VLLM[2])._replace(of_a_row=False)
    anchors = anchors_of_rows([slower(VLLM[3], 1.2)], SHIPPED.calibration)
    calibration = SHIPPED.calibration._replace(anchors=anchors)
    space = Space(decode_gpus=(own.configuration.decode_gpus_per_worker,), batch_ratio=1.3)
    limits = Limits(30.0, min_confidence=0.9)
    problem = Problem(own.scenario, own.cluster, limits, calibration, space, serving="aggregated")
    answer = best(problem)
    assert answer.configuration is not None
    (again,) = predict([answer.configuration], own.scenario, own.cluster, calibration)
    assert again.prediction == answer.prediction
    shapes = spans_of(problem).shapes
    plain = promise_of(shapes, replace(problem, calibration=SHIPPED.calibration))
    narrower = promise_of(shapes, problem).tpot / plain.tpot
    assert {round(float(each), 3) for each in narrower.ravel()} == {0.85, 1.0}


def test_the_middle_point_of_a_structure_tells_the_others() -> None:
    cases = [case_of(row) for row in VLLM]
    structures = numbered([structure_key(row) for row in VLLM])
    errors = np.full(len(VLLM), -0.1)
    levels = levels_by_one(cases, structures, errors)
    assert np.isnan(levels).sum() == 1
    assert np.isnan(levels[(len(VLLM) - 1) // 2])
    told = levels[~np.isnan(levels)]
    assert ((told > 1.0) & (told < math.exp(0.1))).all()


def test_a_file_keeps_anchors(tmp_path: Path) -> None:
    found = adapt([slower(VLLM[0], 1.3)], SHIPPED)
    assert found.verdict == "anchored"
    assert not found.moves
    path = tmp_path / "mine.toml"
    path.write_text(format_calibration(found.fit.file))
    again = read_calibration(path)
    assert again.anchors.keys() == found.anchors.keys()
    assert all(again.anchors[key].level == pytest.approx(each.level, abs=1e-6)
               for key, each in found.anchors.items())  # fmt: skip
    assert again.calibration.anchors == again.anchors
    path.write_text(path.read_text().replace(", 1]", ", -1]"))
    with pytest.raises(DataFileError, match="anchors"):
        read_calibration(path)
    assert found.after.statistics() == found.before.statistics()
