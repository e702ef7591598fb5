"""How sure ratios are: what two deployments share cancels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodel import Configuration, Scenario, predict, shipped_calibration
from costmodel.ratios import Known, ratio_widths
from costmodel.results import Case
from presets import default_cluster, load_model

SHIPPED = shipped_calibration()
SCENARIO = Scenario(model=load_model("deepseek-r1-0528"), precision="fp4", isl=1024, osl=1024)


def known(sku: str, batch: int = 64, price: float | None = None, wide: float = 1.0) -> Known:
    cluster = default_cluster(sku, 72).model_copy(update={"price_usd_per_hour": price})
    configuration = Configuration(
        prefill_workers=1,
        prefill_gpus_per_worker=4,
        prefill_attention="dp",
        decode_workers=1,
        decode_gpus_per_worker=8,
        decode_ep=8,
        decode_attention="dp",
        max_batch=batch,
        mtp_depth=1,
        concurrency=8 * batch,
    )
    predicted = predict([configuration], SCENARIO, cluster, SHIPPED.calibration)[0].prediction
    low, high = predicted.interval_90["total_tok_s_per_gpu"]
    half = wide * math.log(high / low) / 2.0
    return Known(Case(configuration, SCENARIO, cluster), half, SHIPPED)


def width(one: Known, other: Known) -> float:
    return float(ratio_widths([one, other])[0, 1])


def test_a_deployment_over_itself_is_sure_at_any_price() -> None:
    assert width(known("gb200"), known("gb200")) == 0.0
    assert width(known("gb200", price=1.0), known("gb200", price=9.0)) == 0.0


def test_what_two_machines_share_cancels() -> None:
    """Their common constants move both alike; what is left is more than none."""
    one, other = known("gb200"), known("b200")
    assert 0.0 < width(one, other) < 0.95 * math.hypot(one.half_width, other.half_width)


def test_errors_of_two_fits_are_independent_and_of_no_one_machine() -> None:
    one = known("gb200")
    name = next(name for name, each in SHIPPED.constants.items() if each.standard_error)
    moved = SHIPPED.constants[name].model_copy(
        update={"value": 1.01 * SHIPPED.constants[name].value}
    )
    other = one._replace(constants=SHIPPED._replace(constants={**SHIPPED.constants, name: moved}))
    independent = math.hypot(one.half_width, other.half_width)
    assert width(one, other) == pytest.approx(independent)


def test_the_same_question_has_the_same_answer() -> None:
    some = [known("gb200"), known("b200"), known("gb200", batch=16)]
    found = ratio_widths(some)
    assert np.array_equal(found, ratio_widths(some))
    assert np.array_equal(found, found.T)
    assert ratio_widths([]).shape == (0, 0)


@settings(max_examples=20, deadline=None)
@given(wide=st.floats(1.0, 20.0), more=st.floats(1.0, 3.0), batch=st.sampled_from([8, 64, 200]))
def test_a_ratio_is_no_surer_where_a_machine_is_known_less(
    wide: float, more: float, batch: int
) -> None:
    one, other = known("gb200", wide=wide), known("b200", batch)
    before = width(one, other)
    assert width(one._replace(half_width=more * one.half_width), other) >= before - 1e-12
    assert before <= one.half_width + other.half_width + 1e-12
