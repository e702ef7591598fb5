import numpy as np
import pytest

from costmodel.calibration import Calibration
from costmodel.counts import machine_arrays, model_arrays
from costmodel.inputs import MachineArrays, ModelArrays, WorkerArrays
from costmodel.memory import batch_limit, prefill_limit, request_bytes, weight_bytes
from costmodel.results import Scenario
from costmodel.workload import Workload
from presets import load_hardware, load_model

R1 = load_model("deepseek-r1-0528")


def test_weights_of_the_tiny_model_under_dp(model: ModelArrays, dp_workers: WorkerArrays) -> None:
    # Experts: 4 layers x 16 x 0.5 MB over 4 GPUs = 8 MB. Attention: 5 layers x 8 M x 2 B = 80 MB.
    # Shared 4 x 1 MB, one dense layer 4 MB; head and embedding 20 MB each over 4 GPUs.
    assert weight_bytes(model, dp_workers) == pytest.approx(8e6 + 80e6 + 8e6 + 10e6)


def test_weights_of_the_tiny_model_under_tp(model: ModelArrays, tp_workers: WorkerArrays) -> None:
    # Attention: 5 x (2 M + 6 M / 4) x 2 B = 35 MB; shared and dense over 4: 2 MB.
    assert weight_bytes(model, tp_workers) == pytest.approx(8e6 + 35e6 + 2e6 + 10e6)


def test_r1_fp4_on_eight_gpus_with_attention_dp(dp_workers: WorkerArrays) -> None:
    expert = 3 * 7168 * 2048 * 4.5 / 8
    routed = 58 * 256 * expert / 8
    output = 128 * 128 * 7168
    other = 7168 * (576 + 1536) + 1536 * 128 * 192 + 512 * 128 * 256
    attention = 61 * (other * 2 + output * 4.5 / 8)
    router = 256 * 7168 * 2
    rest = 58 * (expert + router) + 3 * 3 * 7168 * 18432 * 4.5 / 8
    ends = 2 * 129280 * 7168 * 2 / 8
    workers = dp_workers._replace(gpus=np.asarray(8.0), ep=np.asarray(8.0))
    weights = weight_bytes(model_arrays(R1, "fp4"), workers)
    assert weights == pytest.approx(routed + attention + rest + ends, rel=1e-9)
    assert 55e9 < weights < 70e9  # 671 G parameters at 4.5 bits over 8 GPUs are 47 GB


def test_drafts_take_memory(model: ModelArrays, dp_workers: WorkerArrays) -> None:
    drafting = dp_workers._replace(mtp_depth=np.asarray(1.0))
    # One more layer whose experts have four times the bits: 16 x 2 MB over 4, 4 MB of shared ones,
    # attention, 16 MB, as in any layer, and 2 MB that join it to the embedding. The checkpoint has
    # one, however deep the drafts.
    more = weight_bytes(model, drafting) - weight_bytes(model, dp_workers)
    assert more == pytest.approx(8e6 + 4e6 + 16e6 + 2e6)
    deep = dp_workers._replace(mtp_depth=np.asarray(3.0))
    assert weight_bytes(model, deep) == weight_bytes(model, drafting)


def test_drafts_keep_a_cache_of_their_own(
    model: ModelArrays, dp_workers: WorkerArrays, workload: Workload
) -> None:
    drafting = dp_workers._replace(mtp_depth=np.asarray(1.0))
    # 1800 tokens x 6 layers x 50 B.
    assert request_bytes(model, drafting, workload) == 540e3


def test_drafts_of_r1_beside_fp4_weights_are_kept_in_bf16(dp_workers: WorkerArrays) -> None:
    counts = model_arrays(R1, "fp4")
    plain = dp_workers._replace(gpus=np.asarray(8.0), ep=np.asarray(8.0))
    drafting = plain._replace(mtp_depth=np.asarray(1.0))
    more = weight_bytes(counts, drafting) - weight_bytes(counts, plain)
    # 256 experts over 8 GPUs are 2.8 GB, beside the shared one, attention and what joins it to the
    # embedding.
    expert, attention = 3 * 7168 * 2048, 7168 * 2112 + 1536 * 24576 + 512 * 32768 + 16384 * 7168
    whole = 256 * expert / 8 + expert + attention + 2 * 7168**2
    assert more == pytest.approx(2 * whole, rel=0.01)


def test_eplb_slots_hold_copies(model: ModelArrays, dp_workers: WorkerArrays) -> None:
    # 20 slots for 16 experts: 4 copies in each of 4 layers, 0.5 MB each, over 4 GPUs.
    slots = dp_workers._replace(eplb_slots=np.asarray(20.0))
    assert weight_bytes(model, slots) - weight_bytes(model, dp_workers) == pytest.approx(2e6)


def test_cache_of_a_request(
    model: ModelArrays, dp_workers: WorkerArrays, tp_workers: WorkerArrays, workload: Workload
) -> None:
    # 1800 tokens x 5 layers x 50 B; an MLA cache cannot be split, one of 2 KV heads in two.
    assert request_bytes(model, dp_workers, workload) == 450e3
    assert request_bytes(model, tp_workers, workload) == 450e3
    gqa = model._replace(attention=(model.attention[0]._replace(split=np.asarray(2.0)),))
    assert request_bytes(gqa, dp_workers, workload) == 450e3
    assert request_bytes(gqa, tp_workers, workload) == 225e3


def test_limit_is_what_is_left_over_a_request(
    machine: MachineArrays,
    model: ModelArrays,
    dp_workers: WorkerArrays,
    workload: Workload,
    plain: Calibration,
) -> None:
    # 100 GB less 10 GB reserved less 0.106 GB of weights, half of it for the cache.
    limit = batch_limit(machine, model, dp_workers, workload, plain)
    assert limit == pytest.approx((100e9 - 10e9 - 0.106e9) * 0.5 / 450e3)


def test_prefill_keeps_inputs_only(
    machine: MachineArrays,
    model: ModelArrays,
    workload: Workload,
    plain: Calibration,
) -> None:
    # The same weights under attention dp without drafts; 900 tokens of input and 0.9 of output.
    limit = prefill_limit(machine, model, np.asarray(4.0), workload, plain)
    assert limit == pytest.approx((100e9 - 10e9 - 0.106e9) * 0.5 / (900.9 * 5 * 50))
    small = machine._replace(hbm_bytes=np.asarray(10.1e9))
    assert prefill_limit(small, model, np.asarray(4.0), workload, plain) == 0


def test_shared_prefill_splits_weights(
    machine: MachineArrays, model: ModelArrays, workload: Workload, plain: Calibration
) -> None:
    own, shared = (
        prefill_limit(machine, model, np.asarray(4.0), workload, plain, dp) for dp in (True, False)
    )
    # 3/4 of the split projections of 5 layers, of the shared experts and of the dense layer less.
    saved = 0.75 * (5 * 6e6 * 2 + 4 * 1e6 + 4e6)
    assert shared - own == pytest.approx(saved * 0.5 / (900.9 * 5 * 50))


def test_limit_is_zero_where_the_weights_do_not_fit(
    machine: MachineArrays,
    model: ModelArrays,
    dp_workers: WorkerArrays,
    workload: Workload,
    plain: Calibration,
) -> None:
    small = machine._replace(hbm_bytes=np.asarray(10.1e9))
    assert batch_limit(small, model, dp_workers, workload, plain) == 0


def test_limit_shrinks_with_context_and_grows_with_gpus(
    dp_workers: WorkerArrays, plain: Calibration
) -> None:
    hardware = load_hardware("h200")
    counts, facts = model_arrays(R1, "fp8"), machine_arrays(hardware, R1, "fp8")
    gpus = np.array([[8.0], [16.0], [32.0]])
    workers = dp_workers._replace(gpus=gpus, ep=gpus)
    lengths = Workload(np.array([1024.0, 8192.0, 65536.0]), np.asarray(1024.0))
    limit = batch_limit(facts, counts, workers, lengths, plain)
    assert limit.shape == (3, 3)
    assert np.all(np.diff(limit, axis=1) < 0)
    assert np.all(np.diff(limit, axis=0) > 0)


def test_memory_that_grows_with_the_cache_holds_more_requests(
    model: ModelArrays, dp_workers: WorkerArrays, workload: Workload
) -> None:
    growing = workload._replace(as_written=np.asarray(True))
    # 900 tokens in, and 0.452 of 1000 out as a request is seen midway, of 1800: 5 layers of 50 B.
    assert request_bytes(model, dp_workers, workload) == 450e3
    assert request_bytes(model, dp_workers, growing) == pytest.approx(
        250 * (900 + 451.85), rel=1e-4
    )


@pytest.mark.parametrize(("engine", "grows"), [("trtllm", False), ("vllm", True), ("own", False)])
def test_an_engine_says_how_it_gives_memory(engine: str, grows: bool) -> None:
    assert Scenario(model=R1, engine=engine).workload.as_written == grows
