from datetime import date

import numpy as np
import pytest

from costmodel.attention import prompt_tokens_attended, tokens_attended
from costmodel.counts import (
    can_multiply,
    expert_formats,
    machine_arrays,
    model_arrays,
    path_arrays,
)
from costmodel.inputs import FloatArray
from presets import (
    GqaAttention,
    InputError,
    LayerGroup,
    Model,
    MoeFeedForward,
    Precision,
    Precisions,
    UnknownNameError,
    default_cluster,
    hardware_names,
    load_hardware,
    load_model,
)
from tests.models import with_attention
from topology import group_table

R1 = load_model("deepseek-r1-0528")
HEAD = 129280 * 7168


def floats(*values: FloatArray) -> tuple[float, ...]:
    return tuple(map(float, values))


def gqa_model() -> Model:
    bf16 = Precision(
        source="made up",
        date=date(2026, 1, 1),
        kind="assumed",
        experts=16,
        shared_expert=16,
        dense=16,
        attention=16,
        attention_output=16,
        router=16,
        embedding=16,
        lm_head=16,
        draft=16,
        kv_cache=16,
    )
    return R1.model_copy(
        update={
            "name": "made-up",
            "hidden": 1000,
            "vocab": 2000,
            "groups": (
                LayerGroup(
                    count=4,
                    attention=GqaAttention(heads=10, kv_heads=2, head_dim=64),
                    feed_forward=MoeFeedForward(experts=8, top_k=2, intermediate=500),
                ),
            ),
            "draft": None,
            "precisions": Precisions(bf16=bf16),
        }
    )


def test_an_expert_of_r1_is_three_matrices() -> None:
    counts = model_arrays(R1, "fp4")
    assert counts.expert_params == 3 * 7168 * 2048
    assert counts.expert_bytes == 3 * 7168 * 2048 * 4.5 / 8  # 24.8 MB
    assert model_arrays(R1, "fp8").expert_bytes / counts.expert_bytes == pytest.approx(
        8.00195 / 4.5
    )


def test_attention_projections_of_r1() -> None:
    counts = model_arrays(R1, "fp4")
    (attention,), draft = counts.attention, counts.draft_attention
    # Down-projections of query (1536) and of latent and rotary key (512 + 64) are on every rank.
    assert attention.params_whole == 7168 * (1536 + 576)
    # Split over heads: query 1536 to 128 x (128 + 64), key and value 512 to 128 x (128 + 128),
    # output 128 x 128 to 7168.
    query, key_value, output = 1536 * 128 * 192, 512 * 128 * 256, 128 * 128 * 7168
    assert attention.params_split == query + key_value + output
    # All in BF16 but the output, at 4.5 bits.
    assert attention.bytes_whole == 2 * attention.params_whole
    split = 2 * (query + key_value) + output * 4.5 / 8
    assert attention.bytes_split == pytest.approx(split)
    # In the draft layer the output is in BF16 too; 14336 x 7168 weights join it to the embedding.
    assert draft.bytes_split == 2 * attention.params_split
    assert draft.bytes_whole == 2 * attention.params_whole
    assert counts.draft_join_params == 2 * 7168 * 7168


def test_attention_work_and_cache_of_r1() -> None:
    (attention,) = model_arrays(R1, "fp4").attention
    assert floats(attention.layers, attention.heads) == (61, 128)
    assert attention.entry_bytes == 512 + 64  # one byte each in FP8
    assert attention.split == 1
    assert attention.score_value_dim == 576 + 512  # in the latent space
    assert attention.prompt_score_value_dim == 128 + 64 + 128  # unfolded


def test_layers_ends_and_drafts_of_r1() -> None:
    counts = model_arrays(R1, "fp4")
    assert floats(counts.layers, counts.moe_layers, counts.draft_layers) == (61, 58, 1)
    assert floats(counts.head_params, counts.head_bytes, counts.embedding_bytes) == (
        HEAD,
        2 * HEAD,
        2 * HEAD,
    )
    assert counts.dense_params == 3 * 3 * 7168 * 18432
    assert counts.shared_params == 3 * 7168 * 2048 + 256 * 7168
    assert counts.draft_weight_ratio == 16 / 4.5
    assert model_arrays(R1, "fp8").draft_weight_ratio == 1


def test_a_token_of_r1_multiplies_37_billion_weights() -> None:
    # The published 37 B active parameters count the embedding, which multiplies nothing, and the
    # LM head, which at prefill only the last token of an input meets.
    active = model_arrays(R1, "fp4").active_params
    assert active + 2 * HEAD == pytest.approx(37e9, rel=0.02)
    expert, attention = 3 * 7168 * 2048, 7168 * 2112 + 1536 * 24576 + 512 * 32768 + 16384 * 7168
    assert active == 61 * attention + 58 * (9 * expert + 256 * 7168) + 3 * 3 * 7168 * 18432


def test_bytes_on_the_wire_follow_the_precision() -> None:
    fp4, fp8, bf16 = (model_arrays(R1, name) for name in ("fp4", "fp8", "bf16"))
    assert floats(fp4.dispatch_bytes, fp4.combine_bytes) == (7168 * 4.5 / 8, 7168 * 4.5 / 8)
    assert floats(fp8.dispatch_bytes, fp8.combine_bytes) == (7168 * 2, 7168 * 2)
    assert fp8.expert_input_bytes == 7168 * (1 + 4 / 128)
    assert fp4.expert_input_bytes == fp4.dispatch_bytes
    assert floats(bf16.dispatch_bytes, bf16.combine_bytes) == (7168 * 2, 7168 * 2)
    # Draft layers stay in BF16 beside FP4 experts, and in FP8 beside FP8 ones.
    assert floats(fp4.draft_dispatch_bytes, fp4.draft_combine_bytes) == (7168 * 2, 7168 * 2)
    assert fp8.draft_dispatch_bytes == fp8.dispatch_bytes
    assert fp8.draft_combine_bytes == fp8.combine_bytes


def test_tied_embeddings_are_kept_once() -> None:
    counts = model_arrays(R1.model_copy(update={"tied_embeddings": True}), "fp8")
    assert floats(counts.embedding_bytes, counts.head_bytes) == (0, 2 * HEAD)


def test_a_model_with_grouped_queries() -> None:
    counts = model_arrays(gqa_model(), "bf16")
    (attention,) = counts.attention
    # Query and output 1000 x 640 each, key and value 1000 x 128 each; tp splits all of them.
    assert attention.params_whole == 0
    assert attention.params_split == 2 * 640e3 + 2 * 128e3
    assert attention.bytes_split == 2 * attention.params_split
    assert attention.bytes_whole == counts.draft_join_params == 0
    assert attention.entry_bytes == 2 * 2 * 64 * 2  # key and value, 2 heads of 64, BF16
    assert attention.split == 2
    assert attention.score_value_dim == attention.prompt_score_value_dim == 128
    assert counts.moe_layers == counts.layers == 4
    assert floats(counts.dense_params, counts.draft_layers) == (0, 0)
    router = 8 * 1000
    assert counts.shared_params == router
    layer = attention.params_split + 2 * 3 * 1000 * 500 + router
    assert counts.active_params == 4 * layer


def test_query_without_a_latent_takes_one_matrix() -> None:
    plain = R1.attentions[0].model_copy(update={"q_lora_rank": None})
    (attention,) = model_arrays(with_attention(R1, plain), "fp8").attention
    assert attention.params_whole == 7168 * 576
    query = 7168 * 128 * 192
    assert attention.params_split == query + 512 * 128 * 256 + 128 * 128 * 7168


def test_tensor_rates_follow_the_precision_of_each_part() -> None:
    gb200 = load_hardware("gb200")
    peak4, peak8, peak16 = (gb200.flops[name].value for name in ("fp4", "fp8", "bf16"))
    fp4, fp8, bf16 = (machine_arrays(gb200, R1, name) for name in ("fp4", "fp8", "bf16"))
    assert floats(fp4.flops_experts, fp4.flops_dense) == (peak4, peak16)
    assert floats(fp8.flops_experts, fp8.flops_dense) == (peak8, peak8)
    assert floats(bf16.flops_experts, bf16.flops_dense) == (peak16, peak16)
    assert floats(fp4.flops_draft, fp8.flops_draft, bf16.flops_draft) == (peak16, peak8, peak16)
    formats = [expert_formats(gb200, R1, name) for name in ("fp4", "fp8", "bf16")]
    assert formats == [("fp4", "bf16"), ("fp8", "fp8"), ("bf16", "bf16")]


@pytest.mark.parametrize("sku", hardware_names())
def test_attention_products_run_in_fp8_on_blackwell_and_bf16_elsewhere(sku: str) -> None:
    hardware = load_hardware(sku)
    facts = machine_arrays(hardware, R1, "fp8")
    blackwell = hardware.kernel_profile == "blackwell"
    rate = hardware.flops["fp8" if blackwell else "bf16"]
    assert facts.flops_attention == rate.value
    assert facts.hbm_rate == hardware.hbm_rate.value
    assert facts.hbm_bytes == hardware.hbm_bytes.value


def test_attention_over_a_bf16_cache_runs_in_bf16() -> None:
    gb200 = load_hardware("gb200")
    facts = machine_arrays(gb200, gqa_model(), "bf16")
    assert facts.flops_attention == gb200.flops["bf16"].value


@pytest.mark.parametrize("sku", ["h100", "h200"])
def test_fp4_on_hopper_is_refused(sku: str) -> None:
    with pytest.raises(
        InputError, match=f"^precision 'fp4': {sku} has no FP4 rate; valid: fp8, bf16$"
    ):
        machine_arrays(load_hardware(sku), R1, "fp4")


def test_precision_that_a_model_lacks_is_refused() -> None:
    with pytest.raises(InputError, match="made-up is not offered at fp4; valid: bf16"):
        model_arrays(gqa_model(), "fp4")
    with pytest.raises(UnknownNameError, match="fp44"):
        model_arrays(R1, "fp44")


def test_path_arrays_hold_what_the_topology_says() -> None:
    path = group_table(default_cluster("b200", 16), [16])[16]
    arrays = path_arrays(path)
    assert arrays.domains == 2
    assert arrays.seconds_per_pair_byte == 8 / 50e9  # 8 of 15 peers lie behind the NIC
    assert floats(arrays.nvlink_rate, arrays.nic_rate) == (900e9, 50e9)
    assert arrays.domain_latency == path.domain_latency < path.latency


def test_mxfp4_experts_multiply_in_what_the_machine_has() -> None:
    gpt_oss = load_model("gpt-oss-120b")
    for sku, rate in (("b200", "fp8"), ("mi355x", "fp8"), ("h100", "bf16")):
        hardware = load_hardware(sku)
        facts = machine_arrays(hardware, gpt_oss, "fp4")
        assert float(facts.flops_experts) == hardware.flops[rate].value
        assert expert_formats(hardware, gpt_oss, "fp4") == (rate, "bf16")
        assert can_multiply(hardware, gpt_oss.precision("fp4"))
    counts = model_arrays(gpt_oss, "fp4")
    assert float(counts.expert_bytes) == 3 * 2880 * 2880 * 4.25 / 8  # memory keeps them narrow
    assert not can_multiply(load_hardware("h100"), load_model("kimi-k2").precision("fp4"))


def test_attention_over_a_prompt_averages_over_its_positions() -> None:
    windowed, full = model_arrays(load_model("gpt-oss-120b"), "fp4").attention
    tokens = np.asarray(1000.0)
    positions = np.arange(1, 1001)
    seen = 2 * np.minimum(positions, 128).mean()  # what the last would see at this mean
    assert prompt_tokens_attended(windowed, tokens) == pytest.approx(seen, rel=5e-3)
    assert prompt_tokens_attended(full, tokens) == 1000
    short = np.asarray(100.0)
    assert prompt_tokens_attended(windowed, short) == tokens_attended(windowed, short) == 100
