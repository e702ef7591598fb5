"""Deviations of constants, joined for one worker and for many."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from costmodel.calibration import Calibration, calibration_of, constants_of
from costmodel.calibration_file import (
    format_calibration,
    load_calibration,
    read_calibration,
    shipped_calibration,
)
from costmodel.deployments import case_of, deployments_of, run, traits_of
from costmodel.deviations import Traits, deviation_of, kinds_of
from costmodel.resolve import of_workers, resolve
from costmodel.results import Scenario
from presets import (
    DataFileError,
    default_cluster,
    hardware_names,
    load_hardware,
    load_model,
    model_names,
    serving_rows,
)
from presets.folders import engine_names

SHIPPED = shipped_calibration()
FP4 = Traits("trtllm", "blackwell", "fp4", "bf16")
FP8 = Traits("sglang", "blackwell", "fp8", "fp8", "trtllm")
HOPPER = Traits("vllm", "hopper", "fp8", "fp8")


def but(calibration: Calibration, **deviations: float) -> Calibration:
    """A calibration with more deviations."""
    return calibration_of(constants_of(calibration) | deviations, calibration.coverage)


def test_factors_of_all_that_hold_count(plain: Calibration) -> None:
    more = but(
        plain,
        **{
            "layer_time[engine=vllm]": 3.0,
            "layer_time[engine=vllm,kernel_profile=hopper]": 0.5,
            "dispatch.latency[engine=sglang]": 2.0,
        },
    )
    assert resolve(more, HOPPER).layer_time == pytest.approx(10e-6 * 2.0 * 3.0 * 0.5)
    assert resolve(more, FP8).layer_time == pytest.approx(10e-6 * 1.5)
    assert resolve(more, FP4).layer_time == 10e-6
    assert resolve(more, FP8).dispatch.latency == 2.0 * plain.dispatch.latency
    assert resolve(more, FP8).dispatch.latency_per_doubling == plain.dispatch.latency_per_doubling
    assert resolve(more, FP4).dispatch == plain.dispatch


def test_what_is_nothing_elsewhere(plain: Calibration) -> None:
    assert [resolve(plain, each).split_tile_time for each in (FP4, FP8)] == [1e-9, 0.0]
    assert [resolve(plain, each).deepep_latency for each in (FP4, HOPPER)] == [8e-6, 0.0]
    shipped = load_calibration()
    assert [resolve(shipped, each).early_release > 1.0 for each in (FP4, HOPPER)] == [True, False]
    twice = but(plain, **{"split_tile_time[format=fp4,engine=trtllm]": 2.0})
    assert resolve(twice, FP4).split_tile_time == 2e-9


def test_drafts_have_the_constants_of_their_own_format(plain: Calibration) -> None:
    draft = resolve(plain, FP4).draft
    assert draft is not None
    assert draft.expert_efficiency == pytest.approx(0.4)
    assert draft.split_tile_time == 0.0


def test_many_workers_are_as_each_alone(plain: Calibration) -> None:
    traits = [HOPPER, FP4, FP8, FP4, HOPPER]
    many = resolve(plain, kinds_of(traits))
    for place, each in enumerate(traits):
        alone, one = resolve(plain, each), of_workers(many, np.array([place]), len(traits))
        for name, value in constants_of(alone).items():
            found = constants_of(one)[name]
            assert np.broadcast_to(found, 1)[0] == value, name
    assert many.hbm_efficiency == plain.hbm_efficiency  # no deviation: a number
    assert resolve(plain, kinds_of([FP4, FP4])) == resolve(plain, FP4)


def test_many_calibrations_at_once(plain: Calibration) -> None:
    columns = {name: np.full((3, 1), value) for name, value in constants_of(plain).items()}
    columns["layer_time[kernel_profile=hopper]"] *= [[1.0], [2.0], [3.0]]
    many = resolve(calibration_of(columns, plain.coverage), kinds_of([HOPPER, FP4]))
    times = np.array([[20e-6, 10e-6], [40e-6, 10e-6], [60e-6, 10e-6]])
    np.testing.assert_allclose(many.layer_time, times)
    assert np.asarray(many.hbm_efficiency).shape == (3, 1)


def test_rows_of_several_machines_are_predicted_as_each_alone() -> None:
    first = {(row.sku, row.precision, row.decode_attention): row for row in serving_rows()}
    cases = [case_of(row) for row in first.values()]
    calibration = load_calibration()
    together = run(deployments_of(cases), calibration).tpot_mean
    alone = [run(deployments_of([case]), calibration).tpot_mean[0] for case in cases]
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_every_shipped_deviation_holds_of_something() -> None:
    profiles = {load_hardware(name).kernel_profile for name in hardware_names()}
    valid = {"kernel_profile": profiles, "engine": {*engine_names()}}
    valid |= {"format": {"fp4", "fp8", "bf16"}, "kernel": {"trtllm"}}
    valid["attention"] = {
        traits_of(Scenario(model=load_model(name)), default_cluster("b200", 8)).attention
        for name in model_names()
    }
    for deviation in SHIPPED.calibration.deviations:
        for axis, value in deviation.where:
            assert value in valid[axis], deviation.name


@pytest.mark.parametrize(
    "name",
    [
        "layer_time[]",
        "layer_time[sku=b200]",
        "layer_time[engine=]",
        "layer_time[engine=vllm,]",
        "layer_time[engine=vllm",
        "layer_time[engine=v llm]",
        "layer_time[engine=" + "x" * 300 + "]",
    ],
)
def test_other_names_are_no_deviations(tmp_path: Path, name: str) -> None:
    assert deviation_of(name, 1.0) is None
    path = tmp_path / "mine.toml"
    text = format_calibration(SHIPPED)
    path.write_text(text.replace("layer_time[kernel_profile=hopper]", name))
    with pytest.raises(DataFileError, match="is no deviation; write layer_time"):
        read_calibration(path)


def test_a_user_s_file_may_have_deviations_of_its_own(tmp_path: Path) -> None:
    one = SHIPPED.constants["layer_time[kernel_profile=hopper]"]
    own = {"layer_time[kernel_profile=made_up]": one.model_copy(update={"value": 3.0})}
    path = tmp_path / "mine.toml"
    path.write_text(format_calibration(SHIPPED._replace(constants=SHIPPED.constants | own)))
    read = read_calibration(path)
    made_up = FP4._replace(kernel_profile="made_up")
    assert resolve(read.calibration, made_up).layer_time == pytest.approx(
        3.0 * SHIPPED.calibration.layer_time
    )
    names = list(read.constants)
    assert names.index(next(iter(own))) > names.index("layer_time")
    path.write_text(format_calibration(SHIPPED).replace("layer_time[", "layer_tim["))
    with pytest.raises(DataFileError, match="did you mean 'layer_time'"):
        read_calibration(path)
