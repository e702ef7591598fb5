"""Deviations of engines, chips and kinds of attention, fitted to the public corpus."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from costmodel.calibration_file import shipped_calibration
from costmodel.corpus import Corpus, corpus_of, fit_corpus, folds_of_structures
from costmodel.corpus_deviations import WAITS, deviations_in, shared_constants
from costmodel.deployments import traits_of
from costmodel.deviations import Traits
from costmodel.resolve import resolve
from costmodel.results import Scenario
from presets import corpus_rows, default_cluster, load_model

SHARED = Traits("trtllm", "hopper", "fp8", "fp8", attention="mla")


@pytest.fixture(scope="module")
def some() -> Corpus:
    """Every 40th row."""
    return corpus_of(corpus_rows()[::40])


def test_deviations_are_named_where_no_shared_constant_speaks() -> None:
    assert deviations_in([SHARED]) == {}
    found = deviations_in([SHARED._replace(engine="vllm")])
    assert "layer_time[engine=vllm]" in found
    assert all("engine=vllm" in name for name in found)


@pytest.mark.parametrize(
    ("sku", "precision"),
    [("h100", "fp8"), ("h200", "fp8"), *product(("b200", "gb200"), ("fp4", "fp8"))],
)
def test_the_corpus_moves_nothing_that_the_shared_constants_were_fitted_to(
    sku: str, precision: str
) -> None:
    file, scenario = shipped_calibration(), Scenario(model=load_model("deepseek-r1"))
    traits = traits_of(
        scenario.model_copy(update={"precision": precision}), default_cluster(sku, 72)
    )
    assert resolve(file.calibration, traits) == resolve(shared_constants(file).calibration, traits)


def test_an_engine_is_more_than_a_label() -> None:
    file, cluster = shipped_calibration(), default_cluster("b200", 8)
    scenario = Scenario(model=load_model("minimax-m2.5"), precision="fp8")
    launches = {
        engine: resolve(
            file.calibration, traits_of(scenario.model_copy(update={"engine": engine}), cluster)
        ).layer_time
        for engine in ("trtllm", "sglang", "vllm")
    }
    assert len(set(launches.values())) == 3


def test_a_fit_brings_rows_nearer_and_leaves_the_shared_constants() -> None:
    start = shared_constants(shipped_calibration())
    rows = [row for row in corpus_rows() if (row.framework, row.sku) == ("vllm", "h200")]
    few = corpus_of(rows[::8])
    fit = fit_corpus(start, few)
    before, after = (
        np.abs(few.errors(each.calibration))[few.fitted].mean() for each in (start, fit)
    )
    assert after < 0.9 * before
    assert shared_constants(fit).constants == start.constants


def test_shipped_deviations_explain_the_corpus(some: Corpus) -> None:
    errors = np.abs(some.errors(shipped_calibration().calibration))[some.fitted]
    assert np.median(errors) < 0.13
    assert errors.mean() < 0.18


def test_rows_of_one_deployment_are_in_one_fold(some: Corpus) -> None:
    folds, structures = folds_of_structures(some), some.structures
    assert sorted(np.concatenate(folds).tolist()) == list(range(len(structures)))
    for one, other in combinations(folds, 2):
        assert not np.intersect1d(structures[one], structures[other]).size


def test_what_an_engine_takes_for_drafts_is_a_time_and_no_factor() -> None:
    found = deviations_in([SHARED._replace(engine="vllm")])
    assert found["draft_pass_time[engine=vllm]"].unit == "s"
    assert found["draft_request_time[engine=vllm]"].value < 1e-3
    assert found["draft_pass_time[engine=vllm,kernel_profile=hopper]"].value == 1.0
    assert found["draft_factor[engine=vllm]"].value == 1.0


def test_rows_of_equal_lengths_keep_littles_law_at_these() -> None:
    rows = [row for row in corpus_rows() if row.shortest == 1.0 and not row.suspect]
    assert len(rows) > 150
    some = corpus_of(rows)
    seen, lengths = some.seen, some.deployments.workload
    cycle = seen.ttft_mean + (lengths.osl - 1.0) * seen.tpot_mean
    gpus = some.deployments.fleet.gpus(some.deployments.workers)
    by_law = some.deployments.concurrency / cycle * (lengths.isl + lengths.osl) / gpus
    ratio = by_law / seen.tok_s_per_gpu
    assert np.nanmedian(ratio) == pytest.approx(1.0, abs=0.005)
    assert np.nanquantile(np.abs(ratio - 1.0), 0.9) < 0.01


def test_equal_lengths_are_those_of_the_row() -> None:
    some = corpus_of([row for row in corpus_rows() if row.shortest == 1.0][:1])
    load = some.deployments.workload
    assert (load.input_tokens, load.output_tokens) == (load.isl, load.osl)
    assert load.context == pytest.approx(load.isl + load.osl / 2.0)


def test_a_hand_over_between_pools_may_take_seconds() -> None:
    found = deviations_in([SHARED._replace(engine="vllm")], WAITS)
    assert found["first_token_time[engine=vllm]"].high == 64.0
    assert found["mixed_steps[engine=vllm]"].high == 8.0
