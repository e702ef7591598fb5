"""The search prices workers where they stand, side by side."""

from dataclasses import replace

import numpy as np
import pytest

from costmodel.calibration import Calibration
from costmodel.predictions import predict
from costmodel.results import Configuration, Scenario
from optimizer import Limits, Problem, Space, best
from optimizer.links import links_of
from presets import ClusterSpec, ScaleOut, default_cluster
from presets.pools import Serving
from tests.optimizer.evaluated import everything
from topology import worker_paths

SPACE = Space(
    prefill_workers=(1, 2),
    prefill_gpus=(4, 8, 16),
    decode_workers=(1, 2, 3),
    decode_gpus=(8, 24, 48),
    mtp_depths=(0, 2),
    largest_batch=128,
    batch_ratio=1.5,
)


TWO = ((48, 2), (8, 2))


def islands(oversubscription: float) -> ClusterSpec:
    fabric = ScaleOut(gpus_per_leaf=32, oversubscription=oversubscription)
    return ClusterSpec(sku="b200", gpus=128, scale_out=fabric)


def problem(cluster: ClusterSpec, scenario: Scenario, calibration: Calibration) -> Problem:
    return Problem(scenario, cluster, Limits(20.0, max_gpus=128), calibration, SPACE)


def two_of_48() -> Configuration:
    return Configuration(
        prefill_workers=2,
        prefill_gpus_per_worker=8,
        decode_workers=2,
        decode_gpus_per_worker=48,
        decode_ep=48,
        decode_attention="dp",
        max_batch=64,
        concurrency=6144,
        mtp_depth=0,
        eplb_slots=288,
    )


@pytest.mark.parametrize(("oversubscription", "slower"), [(2.0, 1.6), (4.0, 2.0)])
def test_two_workers_on_one_leaf_are_priced_together(
    oversubscription: float, slower: float, scenario: Scenario, calibration: Calibration
) -> None:
    # Of two workers of 48 GPUs on leaves of 32 each has 16 on the second leaf.
    cluster = islands(oversubscription)
    (alone,), (together, _) = worker_paths(cluster, ((48, 1),)), worker_paths(cluster, TWO)
    assert together.seconds_per_pair_byte == pytest.approx(slower * alone.seconds_per_pair_byte)
    assert together.worst_link == "leaf 1 to spine 0"
    two = two_of_48()
    one = two.model_copy(update={"decode_workers": 1, "concurrency": 3072, "prefill_workers": 1})
    pair, single = predict([two, one], scenario, cluster, calibration)
    exchanged = [each.breakdown_ms["dispatch"] for each in (pair, single)]
    assert 1.0 + 0.5 * (slower - 1.0) < exchanged[0] / exchanged[1] <= slower
    assert pair.prediction.tok_s_per_user < single.prediction.tok_s_per_user


@pytest.mark.parametrize("serving", ["disaggregated", "aggregated"])
def test_the_search_promises_what_placed_workers_give(
    serving: Serving, scenario: Scenario, calibration: Calibration
) -> None:
    cluster = islands(4.0)
    asked = replace(problem(cluster, scenario, calibration), serving=serving)
    links = links_of(asked)
    assert links is not None
    assert len(links.decode[48]) > 1
    found = everything(asked)
    spans, good = found.candidates.spans, found.evaluated.throughput > 0.0
    rows = found.evaluated.row[good]
    assert len({spans.shapes[place].links for place in spans.place[rows].tolist()}) > 1
    predicted = found.predicted()
    given = [each.prediction.total_tok_s_per_gpu * each.configuration.gpus for each in predicted]
    assert np.allclose(given, found.evaluated.throughput[good], rtol=1e-6)


def test_the_best_changes_with_what_workers_share(
    scenario: Scenario, calibration: Calibration
) -> None:
    space = replace(SPACE, decode_gpus=(40, 48), largest_batch=256)
    answers = [
        best(replace(problem(islands(over), scenario, calibration), space=space))
        for over in (1.0, 8.0)
    ]
    free, shared = (each.winner.predicted for each in answers if each.winner)
    assert free.configuration != shared.configuration
    # What was best without is worth less than what the search found.
    again = predict([free.configuration], scenario, islands(8.0), calibration)[0].prediction
    assert (
        again.tok_s_per_user < 20.0
        or again.total_tok_s_per_gpu < shared.prediction.total_tok_s_per_gpu
    )


def test_a_fabric_without_oversubscription_has_links_by_size_alone(
    scenario: Scenario, calibration: Calibration
) -> None:
    assert links_of(problem(default_cluster("b200", 72), scenario, calibration)) is None
