"""``moeplan sensitivity``: what moves the cost of a machine, or the ratio of two, most."""

from __future__ import annotations

import csv
import math
from dataclasses import replace

import pytest

import moeplan
from moeplan.answers.tornado import Swing, Tornado
from moeplan.render.sensitivity import report
from moeplan.what_if import sensitivity
from optimizer import Space
from presets import InfeasibleError
from tests.moeplan.conftest import small_space
from tests.samples import Command

OPTIONS = moeplan.Options(max_gpus=24)


@pytest.fixture(scope="module")
def found() -> Tornado:
    return sensitivity(["gb200", "b200:vllm"], 60.0, OPTIONS, space=small_space())


def named(found: Tornado, name: str) -> Swing:
    return next(each for each in found.swings if each.name == name)


def test_the_base_is_the_ratio_of_costs(found: Tornado, space: Space) -> None:
    row = moeplan.compare(["gb200", "b200:vllm"], [60.0], OPTIONS, space=space).rows[0]
    assert found.measure == "ratio"
    assert found.base == pytest.approx(row.ratio.modelled_cost)


def test_a_price_moves_the_ratio_as_arithmetic_says(found: Tornado) -> None:
    swing = named(found, "gb200.price")
    assert swing.at_low == pytest.approx(found.base * found.by)
    assert swing.at_high == pytest.approx(found.base / found.by)
    other = named(found, "b200:vllm.price")
    assert other.at_high == pytest.approx(found.base * found.by)
    assert swing.moves_by == pytest.approx(math.log(found.by))


def test_an_end_is_what_that_question_gives(found: Tornado, space: Space) -> None:
    swing = named(found, "isl")
    assert swing.high is not None
    longer = replace(OPTIONS, isl=int(swing.high))
    row = moeplan.compare(["gb200", "b200:vllm"], [60.0], longer, space=space).rows[0]
    assert swing.at_high == pytest.approx(row.ratio.modelled_cost)


def test_most_moving_stands_first(found: Tornado) -> None:
    moves = [math.inf if each.moves_by is None else each.moves_by for each in found.swings]
    assert moves == sorted(moves, reverse=True)
    assert {"target", "acceptance", "cached_share", "osl", "calibration"} <= {
        each.name for each in found.swings
    }


def test_better_links_and_memory_never_cost_more(space: Space) -> None:
    found = sensitivity(["b200"], 60.0, OPTIONS, space=space)
    assert found.measure == "cost"
    for name in ("nic_bandwidth", "nvlink_bandwidth", "hbm_capacity"):
        swing = named(found, f"b200.{name}")
        assert swing.at_low is not None
        assert swing.at_high is not None
        # Batches are whole: that of another deployment may round the cost by so much.
        assert swing.at_low * (1 + 1e-3) >= found.base >= swing.at_high * (1 - 1e-3)
    price = named(found, "b200.price")
    assert price.at_high == pytest.approx(found.base * found.by)


def test_a_map_holds_the_base_and_the_ends(space: Space) -> None:
    pair = ("b200.price", "target")
    found = sensitivity(["b200"], 60.0, OPTIONS, pair=pair, space=space)
    assert found.map is not None
    row = found.map.rows.index(named(found, "b200.price").base or 0.0)
    column = found.map.columns.index(60.0)
    assert found.map.values[row][column] == pytest.approx(found.base)
    assert found.map.values[row][-1] == pytest.approx(named(found, "target").at_high)
    assert found.map.values[-1][column] == pytest.approx(named(found, "b200.price").at_high)
    assert len(found.to_rows()) == len(found.map.rows) * len(found.map.columns)
    assert Tornado.model_validate(found.to_json()).map == found.map
    assert report(found)


def test_a_machine_out_of_reach_has_no_cost_to_move(space: Space) -> None:
    with pytest.raises(InfeasibleError, match="b200 does not meet 5000 tok/s/user"):
        sensitivity(["b200"], 5000.0, OPTIONS, space=space)


def test_the_command_prints_a_tornado(command: Command) -> None:
    asked = ("sensitivity", "b200", "--target", "40", "--max-gpus", "8", "--within-data")
    run = command(*asked)
    assert run.status == 0
    assert "Cost of b200, $ per million tokens, at 40 tok/s/user" in run.out
    assert "b200.price [USD/h]" in run.out
    assert "│█" in run.out
    lines = [*csv.DictReader(command(*asked, "--csv").out.splitlines())]
    assert {"name", "low", "base", "high", "at_low", "at_high"} <= lines[0].keys()


BAD = {
    "three": (("gb200", "b200", "h200"), "3 are given; give one or two"),
    "by": (("b200", "--by", "1"), "by: 1 is not valid; give a factor above 1"),
    "map": (("b200", "--map", "price"), "give two different of b200.nic_bandwidth, "),
    "name": (("b200", "--map", "joy,isl"), "unknown map 'joy'"),
    "word": (("b200:foo",), "'foo' is not a known word"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(command: Command, case: str) -> None:
    asked, sentence = BAD[case]
    run = command("sensitivity", *asked, "--target", "40", "--max-gpus", "8")
    assert (run.status, run.out) == (2, "")
    assert sentence in run.err.splitlines()[-1]
