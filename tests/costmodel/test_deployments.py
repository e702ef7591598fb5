import numpy as np
import pytest

from costmodel.calibration import Calibration
from costmodel.counts import path_arrays
from costmodel.deployments import case_of, deployments_of, memory_limit, network_of, run
from costmodel.results import Case, Configuration, Scenario
from presets import InputError, default_cluster, load_model, serving_rows
from topology import group_table

ROWS = serving_rows()


def test_a_row_becomes_a_case() -> None:
    row = ROWS[0]
    case = case_of(row)
    for name in Configuration.model_fields:
        assert getattr(case.configuration, name) == getattr(row, name), name
    assert (case.scenario.isl, case.scenario.osl) == (row.isl, row.osl)
    assert case.scenario.precision == row.precision
    assert case.cluster.sku == row.sku
    assert case.cluster.gpus >= case.configuration.gpus


@pytest.mark.parametrize("sku", ["b200", "gb200", "h100"])
def test_cases_become_columns(sku: str) -> None:
    rows = [row for row in ROWS if row.sku == sku][:5]
    found = deployments_of([case_of(row) for row in rows])
    assert found.workers.gpus.tolist() == [row.decode_gpus_per_worker for row in rows]
    assert found.workers.ep.tolist() == [row.decode_ep for row in rows]
    assert found.workers.attention_dp.tolist() == [row.decode_attention == "dp" for row in rows]
    assert found.fleet.prefill_gpus_per_worker.tolist() == [
        row.prefill_gpus_per_worker for row in rows
    ]
    assert found.max_batch.tolist() == [row.max_batch for row in rows]
    assert found.concurrency.tolist() == [row.concurrency for row in rows]
    for index, row in enumerate(rows):
        cluster = default_cluster(sku, max(144, row.decode_gpus_per_worker))
        cluster = cluster.model_copy(update={"nic_gb_s": row.nic_gb_s})
        paths = path_arrays(
            group_table(cluster, [row.decode_gpus_per_worker])[row.decode_gpus_per_worker]
        )
        assert found.paths.seconds_per_pair_byte[index] == paths.seconds_per_pair_byte
        assert found.paths.domains[index] == paths.domains


def test_prefill_and_decode_workers_have_paths_of_their_own(plain: Calibration) -> None:
    rows = [r for r in ROWS if r.prefill_gpus_per_worker != r.decode_gpus_per_worker][:3]
    found = deployments_of([case_of(row) for row in rows])
    assert np.all(found.paths.seconds_per_pair_byte != found.prefill_paths.seconds_per_pair_byte)
    network = network_of(found, plain)
    assert network.paths is found.paths
    assert network.prefill.capacity.shape == (3,)


@pytest.mark.parametrize("change", [{"mtp_depth": 5}, {"osl": 1}, {"isl": 2_000_000}])
def test_rows_outside_the_model_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        case_of(ROWS[0].model_copy(update=change))


def test_one_gpu_takes_as_long_under_either_attention(plain: Calibration) -> None:
    scenario = Scenario(model=load_model("deepseek-r1-0528"))
    alone = case_of(ROWS[0]).configuration.model_copy(
        update={"decode_workers": 1, "decode_gpus_per_worker": 1, "decode_ep": 1, "concurrency": 8}
    )
    cluster = default_cluster("gb200", 72)
    modes = [alone.model_copy(update={"decode_attention": mode}) for mode in ("dp", "tp")]
    times = run(deployments_of([Case(mode, scenario, cluster) for mode in modes]), plain)
    dp, tp = times.steady.decode.step.total
    assert dp == pytest.approx(tp)


def test_context_in_flight_follows_the_lengths() -> None:
    found = deployments_of([case_of(row) for row in ROWS])
    assert np.array_equal(found.workers.context, found.workload.context)


def test_a_batch_that_does_not_fit_is_cut(plain: Calibration) -> None:
    row = next(row for row in ROWS if row.sku == "h100" and row.max_batch > 1)
    row = row.model_copy(update={"max_batch": 100_000, "concurrency": 900_000})
    found = deployments_of([case_of(row)])
    limit = float(memory_limit(found, plain)[0])
    batch = float(run(found, plain).steady.decode.requests[0])
    assert 1 <= batch <= max(limit, 1.0) * (1 + 1e-9)
    assert batch < 100_000


def test_a_worker_larger_than_its_cluster_is_refused() -> None:
    scenario = Scenario(model=load_model("deepseek-r1-0528"))
    configuration = case_of(ROWS[0]).configuration.model_copy(
        update={"decode_gpus_per_worker": 64, "decode_ep": 64}
    )
    with pytest.raises(InputError):
        deployments_of([Case(configuration, scenario, default_cluster("b200", 32))])
