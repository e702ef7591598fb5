from contextlib import nullcontext
from typing import Any, Literal

import numpy as np
import pytest

from costmodel.calibration import Calibration
from costmodel.checks import check_shape
from costmodel.results import Scenario
from optimizer import Limits, Problem, Shape, Space, allowed_shapes, broken_rule
from optimizer.prefill import prefill_options
from optimizer.space import (
    RULES,
    all_shapes,
    batch_grid,
    engine_starts,
    prefill_shapes,
    servers_whole,
)
from optimizer.spans import spans_of
from presets import ClusterSpec, InputError, default_cluster, load_model, model_names
from tests.models import with_attention
from tests.samples import changed

RACK = default_cluster("gb200", 72)
HURRIED = Limits(1.0, max_ttft=1.0)
"""Servers of 4 GPUs in one NVLink domain."""

ISLANDS = default_cluster("b200", 72)
"""Servers of 8 GPUs, each an NVLink domain."""

LARGE = default_cluster("b200", 1024)


@pytest.mark.parametrize(
    ("shape", "rule"),
    [
        (Shape(128, 128, "dp", 0, 0), "cluster"),  # 72 GPUs
        (Shape(6, 6, "dp", 0, 0), "servers"),  # one server and half of the next
        (Shape(72, 72, "dp", 0, 0), "experts"),  # 256 / 72
        (Shape(64, 64, "dp", 0, 288), "experts"),  # 288 / 64
        (Shape(8, 3, "dp", 0, 0), "experts"),  # 8 / 3
        (Shape(12, 4, "dp", 0, 0), "engine"),  # 2048 / (3 parts x 32)
        (Shape(72, 1, "dp", 0, 0), "engine"),
        (Shape(72, 72, "tp", 0, 288), "heads"),  # 128 / 72
        (Shape(64, 64, "tp", 0, 320), "copies"),
        (Shape(8, 8, "dp", 0, 288), "copies"),
        (Shape(64, 1, "dp", 0, 288), "copies"),  # a wide worker, but not a wide EP
        (Shape(64, 8, "dp", 0, 288), "copies"),
    ],
)
def test_engine_rules_name_what_they_cut(scenario: Scenario, shape: Shape, rule: str) -> None:
    broken = broken_rule(shape, scenario, RACK)
    assert broken is not None
    assert broken.name == rule
    assert broken.reason


SHARED = ("experts", "heads")
"""Rules that hold for a configuration of one's own as well."""


@pytest.mark.parametrize("model", model_names())
def test_the_search_allows_what_a_prediction_takes(model: str) -> None:
    served = Scenario(model=load_model(model), engine="sglang")
    space = Space(
        decode_gpus=(1, 2, 4, 6, 8, 12, 24, 48, 72), narrow_ep=(1, 2, 3, 4, 8), mtp_depths=(0,)
    )
    for shape in all_shapes(space, served):
        asked = changed(
            decode_gpus_per_worker=shape.gpus,
            decode_ep=shape.ep,
            decode_attention=shape.attention,
            mtp_depth=0,
            eplb_slots=shape.eplb_slots,
        )
        broken = [rule for rule in RULES if not rule.holds(shape, served, ISLANDS)]
        refused = any(rule.name in SHARED for rule in broken)
        with pytest.raises(InputError) if refused else nullcontext():
            check_shape(asked, served.model, LARGE)


@pytest.mark.parametrize(
    "shape",
    [
        Shape(8, 1, "dp", 0, 0),
        Shape(8, 1, "tp", 3, 0),
        Shape(64, 1, "tp", 0, 0),
        Shape(2, 2, "dp", 0, 0),
        Shape(16, 4, "dp", 1, 0),
        Shape(64, 16, "dp", 0, 288),  # EP 16 in four parts
        Shape(36, 36, "dp", 0, 288),  # nine servers, eight slots a GPU
    ],
)
def test_what_breaks_no_rule(scenario: Scenario, shape: Shape) -> None:
    assert broken_rule(shape, scenario, RACK) is None


def test_a_worker_takes_part_of_a_server_or_whole_ones(scenario: Scenario) -> None:
    def allowed(gpus: int, cluster: ClusterSpec) -> bool:
        return servers_whole(Shape(gpus, gpus, "dp", 0, 0), scenario, cluster)

    assert [gpus for gpus in range(1, 25) if allowed(gpus, RACK)] == [1, 2, 3, 4, 8, 12, 16, 20, 24]
    assert [gpus for gpus in range(1, 25) if allowed(gpus, ISLANDS)] == [*range(1, 9), 16, 24]


@pytest.mark.parametrize(
    ("precision", "widest"),
    [("fp4", 64), ("fp8", 16)],  # 2048 / 32 and 2048 / 128 blocks
)
def test_split_experts_keep_whole_blocks(
    scenario: Scenario, precision: Literal["fp4", "fp8"], widest: int
) -> None:
    """Each part of an expert has whole blocks of weights that share a scale."""
    served = scenario.model_copy(update={"precision": precision})
    whole = {
        parts for parts in range(1, 73) if engine_starts(Shape(parts, 1, "dp", 0, 0), served, RACK)
    }
    assert whole == {parts for parts in range(1, 73) if widest % parts == 0}
    # What counts is the parts of an expert, not the GPUs.
    assert engine_starts(Shape(72, 72, "dp", 0, 0), served, RACK)
    assert not engine_starts(Shape(72, 24, "dp", 0, 0), served, RACK)
    shapes = allowed_shapes(Space(), served, RACK)
    assert max(shape.gpus for shape in shapes if shape.ep == 1) == widest


def test_weights_without_scales_may_be_split_anywhere(scenario: Scenario) -> None:
    served = scenario.model_copy(update={"precision": "bf16"})
    whole = [
        parts for parts in range(1, 73) if engine_starts(Shape(parts, 1, "dp", 0, 0), served, RACK)
    ]
    assert whole == [1, 2, 4, 8, 16, 32, 64]  # powers of two that divide 2048


def test_experts_are_split_inside_one_domain_only(scenario: Scenario) -> None:
    """Islands of 8: 16 GPUs may share out their experts, but not split them."""
    broken = broken_rule(Shape(16, 1, "dp", 0, 0), scenario, ISLANDS)
    assert broken is not None
    assert broken.name == "split"
    assert "NVLink" in broken.reason
    assert broken_rule(Shape(16, 8, "dp", 0, 0), scenario, ISLANDS) == broken
    assert broken_rule(Shape(16, 16, "dp", 0, 0), scenario, ISLANDS) is None
    assert broken_rule(Shape(8, 1, "dp", 0, 0), scenario, ISLANDS) is None
    assert broken_rule(Shape(16, 1, "dp", 0, 0), scenario, RACK) is None
    wider = ISLANDS.model_copy(update={"gpus_per_domain": 16})
    assert broken_rule(Shape(16, 1, "dp", 0, 0), scenario, wider) is None


def test_narrow_ep_is_tried_besides_that_of_all_gpus(scenario: Scenario) -> None:
    def tried(*narrow: int) -> set[tuple[int, int]]:
        space = Space(decode_gpus=(1, 4, 8), narrow_ep=narrow)
        shapes = all_shapes(space, scenario)
        assert shapes == sorted(set(shapes))
        return {(shape.gpus, shape.ep) for shape in shapes}

    wide = {(1, 1), (4, 4), (8, 8)}
    assert tried() == wide
    assert tried(1) == wide | {(4, 1), (8, 1)}
    assert tried(4, 1) == wide | {(4, 1), (8, 1), (8, 4)}
    assert tried(8) == tried(16) == wide  # no wider than the worker, and no EP twice


def test_drafts_need_draft_layers(scenario: Scenario) -> None:
    plain = scenario.model_copy(update={"model": scenario.model.model_copy(update={"draft": None})})
    broken = broken_rule(Shape(8, 8, "dp", 1, 0), plain, RACK)
    assert broken is not None
    assert broken.name == "drafts"
    assert {shape.mtp_depth for shape in allowed_shapes(Space(), plain, RACK)} == {0}


def test_shapes_of_the_full_space(scenario: Scenario) -> None:
    shapes = allowed_shapes(Space(), scenario, RACK)
    kinds = {(shape.gpus, shape.ep, shape.attention, shape.eplb_slots) for shape in shapes}
    powers = (1, 2, 4, 8, 16, 32, 64)
    plain = {(gpus, gpus, mode, 0) for gpus in powers for mode in ("tp", "dp")}
    split = {(gpus, 1, mode, 0) for gpus in powers for mode in ("tp", "dp")}
    # 9/8 of 256 experts, up to the next multiple of EP; 12 GPUs are too few for copies.
    slots = {16: 288, 24: 288, 32: 288, 36: 288, 40: 320, 48: 288, 56: 336, 64: 320, 72: 288}
    copies = {(gpus, gpus, "dp", most) for gpus, most in slots.items()}
    assert kinds == plain | split | copies
    assert len(shapes) == 4 * len(kinds)  # draft depths
    assert shapes == sorted(shapes)


def test_shapes_of_the_full_space_on_islands(scenario: Scenario) -> None:
    """Servers of 8: experts are split inside one, and larger workers take whole ones."""
    shapes = allowed_shapes(Space(), scenario, ISLANDS)
    kinds = {(shape.gpus, shape.ep, shape.attention, shape.eplb_slots) for shape in shapes}
    powers = (1, 2, 4, 8, 16, 32, 64)
    plain = {(gpus, gpus, mode, 0) for gpus in powers for mode in ("tp", "dp")}
    split = {(gpus, 1, mode, 0) for gpus in (1, 2, 4, 8) for mode in ("tp", "dp")}
    slots = {16: 288, 24: 288, 32: 288, 40: 320, 48: 288, 56: 336, 64: 320, 72: 288}
    copies = {(gpus, gpus, "dp", most) for gpus, most in slots.items()}
    assert kinds == plain | split | copies
    assert len(shapes) == 4 * len(kinds)


@pytest.mark.parametrize(
    "fields",
    [
        {"decode_gpus": ()},
        {"decode_workers": (1, 1)},
        {"prefill_gpus": (0, 1)},
        {"prefill_workers": (1.5,)},
        {"narrow_ep": (0,)},
        {"narrow_ep": (1, 1)},
        {"narrow_ep": (1.5,)},
        {"mtp_depths": (17,)},
        {"attention": ("ep",)},
        {"prefill_attention": ()},
        {"prefill_attention": ("dp", "ep")},
        {"largest_batch": 0},
        {"batch_ratio": 1.0},
    ],
)
def test_grids_are_checked(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(fields))):
        Space(**fields)


def test_batch_grid_is_as_fine_as_integers_allow() -> None:
    grid = batch_grid(Space())
    assert grid[0] == 1
    assert grid[-1] == Space().largest_batch
    steps = np.diff(grid)
    assert np.all((steps == 1) | (grid[1:] <= grid[:-1] * Space().batch_ratio))


@pytest.mark.parametrize("sku", ["gb200", "b200"])
def test_neighbouring_tpots_differ_by_less_than_3_percent(
    sku: str, scenario: Scenario, calibration: Calibration
) -> None:
    """Where they do not, the batches are neighbouring integers, and small: nothing lies between.

    A larger batch always takes longer.
    """
    cluster = default_cluster(sku, 72)
    spans = spans_of(Problem(scenario, cluster, Limits(1.0), calibration, Space()))
    for row, most in enumerate(spans.most.tolist()):
        batch = np.append(spans.grid[spans.grid < most], most)
        assert len(batch) == spans.count[row]
        tpot = spans.rate(np.full(len(batch), row), batch.astype(np.float64)).tpot
        coarse = np.diff(tpot) >= 0.03 * tpot[:-1]
        assert np.all(np.diff(tpot) > 0)
        assert np.all(np.diff(batch)[coarse] == 1)
        assert np.all(batch[1:][coarse] <= 34)


def test_prefill_workers_must_hold_the_weights(
    scenario: Scenario, calibration: Calibration
) -> None:
    """R1 in FP4 takes some 400 GB: three GPUs of 180 GB or more."""
    options = prefill_options(Problem(scenario, RACK, Limits(1.0), calibration, Space()))
    assert options.gpus.tolist() == [4, 4, 8, 8]


def test_shared_prefill_needs_company_and_heads_that_divide(scenario: Scenario) -> None:
    found = prefill_shapes(Space(), (8, 1, 2), scenario, RACK)
    named = [(shape.gpus, shape.attention) for shape in found]
    assert named == [(1, "dp"), (2, "dp"), (2, "tp"), (8, "dp"), (8, "tp")]
    odd = scenario.model.attentions[0].model_copy(update={"heads": 12})
    few = scenario.model_copy(update={"model": with_attention(scenario.model, odd)})
    named = [(s.gpus, s.attention) for s in prefill_shapes(Space(), (4, 8), few, RACK)]
    assert named == [(4, "dp"), (4, "tp"), (8, "dp")]
    only = Space(prefill_attention=("tp",))
    assert [s.attention for s in prefill_shapes(only, (1, 4), scenario, RACK)] == ["tp"]


def test_shared_prefill_is_an_option_where_it_answers_sooner(
    scenario: Scenario, calibration: Calibration
) -> None:
    options = prefill_options(Problem(scenario, RACK, Limits(1.0), calibration))
    assert options.gpus.tolist() == [4, 4, 8, 8]
    assert options.attention_dp.tolist() == [True, False, True, False]
    assert np.all(options.prefill.latency[1::2] < options.prefill.latency[::2])
    assert np.all(options.prefill.capacity[1::2] < options.prefill.capacity[::2])
    # Over slow links it neither takes more requests nor answers sooner.
    slow = RACK.model_copy(update={"nvlink_gb_s": 20.0})
    options = prefill_options(Problem(scenario, slow, Limits(1.0), calibration))
    assert options.attention_dp.all()
    only = Space(prefill_attention=("tp",))
    options = prefill_options(Problem(scenario, slow, Limits(1.0), calibration, only))
    assert not options.attention_dp.any()


def test_no_prefill_worker_fits(scenario: Scenario, calibration: Calibration) -> None:
    small = RACK.model_copy(update={"hbm_gb": 15.0})
    with pytest.raises(InputError, match="no prefill worker of the space has memory"):
        prefill_options(
            Problem(scenario, small, Limits(1.0), calibration, Space(prefill_gpus=(1,)))
        )


def test_weights_too_large_for_the_space_take_the_next_size(
    scenario: Scenario, calibration: Calibration
) -> None:
    options = prefill_options(
        Problem(scenario, RACK, Limits(1.0), calibration, Space(prefill_gpus=(1, 2)))
    )
    assert options.gpus.tolist() == [4, 4]


def test_no_decode_worker_fits(scenario: Scenario, calibration: Calibration) -> None:
    long = scenario.model_copy(update={"isl": 1_000_000, "osl": 1_000_000})
    small = RACK.model_copy(update={"hbm_gb": 120.0})
    with pytest.raises(InputError, match="no decode worker of the space has memory"):
        spans_of(Problem(long, small, Limits(1.0), calibration, Space(decode_gpus=(4,))))


def test_no_decode_worker_is_allowed(scenario: Scenario, calibration: Calibration) -> None:
    with pytest.raises(InputError, match="no decode worker of the space runs"):
        spans_of(
            Problem(
                scenario,
                RACK,
                Limits(1.0),
                calibration,
                Space(decode_gpus=(72,), attention=("tp",)),
            )
        )


def test_no_batch_exceeds_the_memory(scenario: Scenario, calibration: Calibration) -> None:
    tight = RACK.model_copy(update={"hbm_gb": 90.0})
    roomy = spans_of(Problem(scenario, RACK, Limits(1.0), calibration, Space(decode_gpus=(8,))))
    spans = spans_of(Problem(scenario, tight, Limits(1.0), calibration, Space(decode_gpus=(8,))))
    assert roomy.most.max() == Space().largest_batch
    assert spans.count.sum() < roomy.count.sum()
    assert np.all((spans.most >= 1) & (spans.most < Space().largest_batch))
