"""The public functions, called as a library."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import moeplan
from moeplan.answers.best import Links
from moeplan.config_file import read_stored
from moeplan.question import preferred_precision
from moeplan.render.common import links_sentence
from presets import load_hardware, load_model
from tests.samples import USUAL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optimizer import Space
    from tests.moeplan.conftest import BestOf


def test_the_same_question_has_the_same_answer(best_of: BestOf, space: Space) -> None:
    again = moeplan.best("gb200", 75.0, space=space)
    assert again.model_copy(update={"search": None}) == best_of("gb200", 75.0).model_copy(
        update={"search": None}
    )


def test_a_dearer_gpu_changes_the_cost_alone(best_of: BestOf, space: Space) -> None:
    plain = best_of("b200", 75.0)
    price = 2 * plain.price_usd_per_hour
    dear = moeplan.best("b200", 75.0, moeplan.Options(price=price), space=space)
    assert dear.config == plain.config
    assert dear.prediction is not None
    assert plain.prediction is not None
    assert dear.prediction.usd_per_m_total_tokens == pytest.approx(
        2 * plain.prediction.usd_per_m_total_tokens
    )


def test_a_higher_target_never_costs_less(space: Space) -> None:
    rows = moeplan.curve("gb200", [25.0, 75.0, 125.0], space=space).rows
    costs = [row.prediction.usd_per_m_total_tokens for row in rows if row.prediction]
    assert len(costs) == 3
    assert costs == sorted(costs)


def test_limits_are_kept(space: Space) -> None:
    options = moeplan.Options(max_gpus=16, max_ttft=3.0)
    found = moeplan.best("b200", 60.0, options, space=space)
    assert found.config is not None
    assert found.prediction is not None
    assert found.config.gpus <= 16
    assert found.prediction.ttft_ms <= 3000.0
    assert found.prediction.tok_s_per_user >= 60.0


@pytest.mark.parametrize("target", [0.0, -1.0, float("nan"), float("inf"), True, "fast", None])
def test_a_target_that_is_none(target: Any) -> None:
    with pytest.raises(moeplan.InputError, match=r"target: .* finite number above 0"):
        moeplan.best("b200", target)


def test_no_target() -> None:
    with pytest.raises(moeplan.InputError, match="give at least one"):
        moeplan.curve("b200", [])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("isl", 0),
        ("osl", 1),
        ("max_gpus", 1.5),
        ("price", "dear"),
        ("engine", "x"),
        ("max_ttft", 0),
    ],
)
def test_options_are_checked(field: str, value: Any) -> None:
    with pytest.raises(moeplan.InputError, match=field):
        moeplan.best("b200", 60.0, moeplan.Options(**{field: value}))


def test_the_nearest_measurement_is_named_where_the_frontier_says_nothing(space: Space) -> None:
    """H200 at 30 tok/s/user: shipped rows of 64 GPUs reach 988 tok/s/GPU at 47 tok/s/user."""
    found = moeplan.best("h200", 30.0, space=space)
    assert found.measured is None
    near = found.nearest_measured
    assert near is not None
    assert (near.isl, near.osl, near.config.gpus) == (1024, 1024, 64)
    assert near.total_tok_s_per_gpu == pytest.approx(988.49)
    assert near.tok_s_per_user == pytest.approx(1e3 / 21.19891)
    assert near.factors == pytest.approx(
        {"tok_s_per_user": 47.172 / 30.0, "isl": 1, "osl": 1}, 1e-4
    )
    # Other lengths lie eight times apart and still are the nearest.
    long = moeplan.best("h200", 30.0, moeplan.Options(isl=4096, osl=512), space=space)
    assert long.nearest_measured is not None
    assert long.nearest_measured.factors["isl"] == 2.0
    assert long.nearest_measured.factors["osl"] == 2.0


def test_what_was_measured_keeps_to_the_budget() -> None:
    free = moeplan.measured_frontier("b200", 125.0)
    assert free is not None
    most = max(row.config.gpus for row in free.between)
    fewer = moeplan.measured_frontier("b200", 125.0, moeplan.Options(max_gpus=most - 1))
    assert fewer is None or max(row.config.gpus for row in fewer.between) < most


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_ttft": "x"}, "max_ttft: 'x' is not valid; give a number"),
        ({"isl": "1024"}, "isl: '1024' is not valid; give a number, not text"),
        ({"price": True}, "price: True is not valid"),
        ({"within_data": "no"}, "within_data: 'no' is not valid; give true or false"),
        ({"within_data": 1}, "within_data: 1 is not valid; give true or false"),
        ({"model": 3}, "model: 3 is not valid; give text"),
        ({"engine": 3}, "engine: 3 is not valid; give atom, sglang, trtllm, vllm"),
        ({"prefill_sku": 3}, "prefill_sku: 3 is not valid; give text"),
        ({"cluster": 3}, "cluster: 3 is not valid; give the path of a file"),
        ({"calibration": ""}, "calibration: '' is not valid; give the path of a file"),
    ],
)
def test_a_wrong_type_is_refused_in_every_function(options: dict[str, Any], problem: str) -> None:
    wrong = moeplan.Options(**options)
    for ask in (
        lambda: moeplan.best("b200", 60.0, wrong),
        lambda: moeplan.compare(["gb200", "b200"], [60.0], wrong),
        lambda: moeplan.predict("b200", moeplan.Configuration(**USUAL), wrong),
        lambda: moeplan.measured_frontier("b200", 60.0, wrong),
    ):
        with pytest.raises(moeplan.InputError, match=re.escape(problem)):
            ask()


def test_options_that_are_none() -> None:
    nonsense: Any = "abc"
    with pytest.raises(moeplan.InputError, match=r"options: 'abc' is not valid; give an Options"):
        moeplan.best("b200", 60.0, nonsense)


def test_measured_frontier() -> None:
    found = moeplan.measured_frontier("b200", 101.79)
    assert found is not None
    assert found.origin == "measured"
    assert found.total_tok_s_per_gpu == 2832.9
    assert moeplan.measured_frontier("gb200", 286.5) is None
    assert moeplan.measured_frontier("gb200", 10.0) is None
    assert moeplan.measured_frontier("h200", 50.0) is None
    for changed in ({"precision": "fp8"}, {"isl": 8192}, {"engine": "sglang"}):
        assert moeplan.measured_frontier("b200", 101.79, moeplan.Options(**changed)) is None


def test_predict_on_a_cluster_file(configuration: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text("sku: b200\ngpus: 24\nname: rack\n")
    wanted = moeplan.Configuration(**configuration)
    found = moeplan.predict(None, wanted, moeplan.Options(cluster=path))
    assert (found.sku, found.title) == ("b200", "rack")
    path.write_text("sku: b200\ngpus: 16\n")
    with pytest.raises(moeplan.InputError, match="asks for 20 GPUs"):
        moeplan.predict(None, wanted, moeplan.Options(cluster=str(path)))


def test_validate_and_its_calibration(measurements: Mapping[str, Path]) -> None:
    found = moeplan.validate(measurements["inferencex_2026-05-22"])
    assert len(found.rows) == 20


def test_precisions() -> None:
    assert preferred_precision(load_model("deepseek-r1-0528"), load_hardware("gb200")) == "fp4"
    assert preferred_precision(load_model("gpt-oss-120b"), load_hardware("h100")) == "fp4"
    assert preferred_precision(load_model("kimi-k2"), load_hardware("h100")) == "fp8"
    model = load_model("kimi-k2")
    only_fp4 = model.precisions.model_copy(update={"fp8": None, "bf16": None})
    with pytest.raises(moeplan.InputError, match="at no precision that h100 has"):
        preferred_precision(
            model.model_copy(update={"precisions": only_fp4}), load_hardware("h100")
        )


def test_yaml_may_begin_with_a_brace(configuration: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "{" + ", ".join(f"{key}: {value}" for key, value in configuration.items()) + "}"
    )
    assert read_stored(path).configuration == moeplan.Configuration(**configuration)


def test_one_gpu_crosses_no_link() -> None:
    alone = Links(gpus=1, domains=1, bottleneck=None, all_to_all_gb_s=None, latency_us=0.0)
    assert "crosses no link" in links_sentence(alone)


def test_answers_cannot_be_changed_and_can_be_hashed(space: Space) -> None:
    answer, again = (moeplan.best("gb200", 60.0, space=space) for _ in range(2))
    assert answer.prediction is not None
    assert again.prediction is not None
    for mapping in (answer.breakdown_ms, answer.prediction.interval_90):
        assert isinstance(mapping, dict)
        for name, given in (("update", ({"x": 1.0},)), ("pop", ("launch",)), ("clear", ())):
            with pytest.raises(TypeError, match="cannot be changed"):
                getattr(mapping, name)(*given)
    assert hash(answer.prediction) == hash(again.prediction)
    assert copy.deepcopy(answer) == pickle.loads(pickle.dumps(answer)) == answer
