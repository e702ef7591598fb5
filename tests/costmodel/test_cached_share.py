"""Input whose KV is reused: no prefill work, its memory."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodel.calibration_file import load_calibration
from costmodel.deployments import deployments_of, memory_limit, network_of, run
from costmodel.results import Case, Configuration, Scenario
from presets import default_cluster, load_model

CALIBRATION = load_calibration()
MODELS = ("deepseek-r1-0528", "deepseek-v3.2", "gpt-oss-120b", "qwen3.5-397b-a17b")


def case(
    share: float,
    model: str = "deepseek-r1-0528",
    isl: int = 8192,
    attention: str = "dp",
    *,
    sku: str = "b200",
    prefill_workers: int = 1,
    users: int = 256,
) -> Case:
    scenario = Scenario(
        model=load_model(model), precision="fp4", isl=isl, osl=1024, cached_share=share
    )
    configuration = Configuration.model_validate(
        {
            "prefill_workers": prefill_workers,
            "prefill_gpus_per_worker": 4,
            "prefill_attention": attention,
            "decode_workers": 2,
            "decode_gpus_per_worker": 8,
            "decode_ep": 8,
            "decode_attention": "dp",
            "max_batch": 64,
            "mtp_depth": 0,
            "concurrency": users,
        }
    )
    return Case(configuration, scenario, default_cluster(sku, 72))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(MODELS),
    st.lists(st.floats(0.0, 0.999), min_size=2, max_size=2).map(sorted),
    st.integers(16, 200_000),
    st.sampled_from(["dp", "tp"]),
    st.integers(0, 4),
    st.integers(1, 5000),
)
def test_more_cached_input_never_serves_less_or_later(
    model: str, shares: list[float], isl: int, attention: str, workers: int, users: int
) -> None:
    cases = [
        case(share, model, isl, attention, prefill_workers=workers, users=users) for share in shares
    ]
    found = run(deployments_of(cases), CALIBRATION)
    less, more = found.total_tok_s_per_gpu.tolist()
    assert more >= less * (1 - 1e-6)
    later, sooner = found.ttft_mean.tolist()
    assert sooner <= later * (1 + 1e-6)


def test_nearly_all_cached_is_nearly_no_work() -> None:
    networks = [
        network_of(deployments_of([case(share)]), CALIBRATION).prefill for share in (0.0, 0.999_999)
    ]
    whole, none = (float(network.seconds_per_token[0]) for network in networks)
    assert none < 1e-5 * whole


@pytest.mark.parametrize("model", MODELS)
def test_work_is_that_of_the_whole_less_that_of_the_cached_part(model: str) -> None:
    def seconds(isl: int, share: float = 0.0) -> float:
        deployments = deployments_of([case(share, model, isl)])
        per_token = network_of(deployments, CALIBRATION).prefill.seconds_per_token
        return float(per_token[0] * deployments.workload.input_tokens[0])

    assert seconds(8192, 0.75) == pytest.approx(seconds(8192) - seconds(6144), rel=1e-6)


def test_memory_is_that_of_the_whole_input() -> None:
    none, most = (memory_limit(deployments_of([case(share)]), CALIBRATION) for share in (0.0, 0.9))
    assert none.tolist() == most.tolist()
