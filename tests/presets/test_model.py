import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from presets import (
    Fact,
    GqaAttention,
    InputError,
    Model,
    Provenance,
    UnknownNameError,
    active_parameters,
    attention_parameters,
    load_model,
    model_names,
    total_parameters,
)
from presets.folders import DATA


@pytest.mark.parametrize("name", model_names())
def test_parameters_are_within_a_percent_of_the_published_total(name: str) -> None:
    model = load_model(name)
    assert model.published_parameters is not None
    published = model.published_parameters
    counted = total_parameters(model, draft="with draft layers" in (published.note or ""))
    assert counted == pytest.approx(published.value, rel=0.01)


CONFIGS = Path(__file__).parent / "data" / "configs.json"


@pytest.mark.parametrize("name", sorted({*model_names()} & {*json.loads(CONFIGS.read_text())}))
def test_a_preset_is_what_its_config_says(name: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(CONFIGS.read_text())[name]))
    read, preset = load_model(path), load_model(name)
    assert (read.groups, read.draft) == (preset.groups, preset.draft)
    assert (read.hidden, read.vocab) == (preset.hidden, preset.vocab)


@pytest.mark.parametrize(
    "name", [name for name in model_names() if load_model(name).published_active]
)
def test_a_token_multiplies_about_as_much_as_is_published(name: str) -> None:
    # Published figures count the embedding and the LM head or not, and are rounded to a billion.
    model = load_model(name)
    assert model.published_active is not None
    head = model.vocab * model.hidden
    least, most = active_parameters(model) - head, active_parameters(model) + head
    assert 0.99 * least - 5e8 <= model.published_active.value <= 1.01 * most + 5e8


@pytest.mark.parametrize("name", model_names())
def test_every_group_of_figures_has_its_source(name: str) -> None:
    model = load_model(name)
    assert model.name == name
    precisions = [model.precision(name) for name in model.precision_names()]
    assert len(precisions) >= 2
    assert model.published_parameters is not None
    groups: list[Provenance | Fact] = [model.provenance, model.published_parameters, *precisions]
    for group in groups:
        assert group.source.strip()
        assert group.kind in ("datasheet", "measured", "assumed")
        assert group.date.year >= 2024


def test_r1_has_671_billion_and_685_with_the_draft_layer() -> None:
    model = load_model("deepseek-r1-0528")
    assert total_parameters(model) == 671_025_397_760
    # The checkpoint stores the embedding and the LM head once more beside the draft layer.
    copies = 2 * 129_280 * 7168
    assert total_parameters(model, draft=True) + copies == pytest.approx(685e9, rel=0.002)


def test_r1_attention_by_hand() -> None:
    # q_a, q_b, kv_a, kv_b, o as the checkpoint stores them.
    by_hand = 7168 * 1536 + 1536 * 24_576 + 7168 * 576 + 512 * 32_768 + 16_384 * 7168
    assert attention_parameters(load_model("deepseek-r1-0528").attentions[0], 7168) == by_hand


def test_gqa_attention_by_hand() -> None:
    # q and o of 64 heads, k and v of 4 heads, each 128 long.
    by_hand = 2 * 4096 * 64 * 128 + 2 * 4096 * 4 * 128
    assert attention_parameters(load_model("qwen3-235b-a22b").attentions[0], 4096) == by_hand


def test_attention_without_a_query_rank() -> None:
    (attention,) = load_model("deepseek-r1-0528").attentions
    plain = attention.model_copy(update={"q_lora_rank": None})
    factored, whole = 7168 * 1536 + 1536 * 24_576, 7168 * 24_576
    more = attention_parameters(plain, 7168) - attention_parameters(attention, 7168)
    assert more == whole - factored


def test_tied_embeddings_count_once() -> None:
    model = load_model("kimi-k2")
    tied = model.model_copy(update={"tied_embeddings": True})
    assert total_parameters(model) - total_parameters(tied) == 163_840 * 7168


def test_r1_fp4_checkpoint_has_the_size_on_disk() -> None:
    model = load_model("deepseek-r1-0528")
    bits = model.precision("fp4")
    expert = 3 * 7168 * 2048
    output = 128 * 128 * 7168
    attention = attention_parameters(model.attentions[0], model.hidden) - output
    draft_layer = 257 * expert + attention + output + 256 * 7168 + 2 * 7168**2
    stored = (
        58 * 256 * expert * bits.experts
        + 58 * expert * bits.shared_expert
        + 3 * 3 * 7168 * 18_432 * bits.dense
        + 61 * (attention * bits.attention + output * bits.attention_output)
        + 58 * 256 * 7168 * bits.router
        + 2 * 129_280 * 7168 * bits.lm_head  # embedding and head
        + (draft_layer + 2 * 129_280 * 7168) * bits.draft
    )
    # nvidia/DeepSeek-R1-0528-NVFP4-v2 takes 413 GB.
    assert stored / 8 == pytest.approx(413e9, rel=0.005)


def test_fp4_keeps_attention_wide_and_fp8_does_not() -> None:
    model = load_model("deepseek-r1-0528")
    fp4, fp8, bf16 = (model.precision(name) for name in ("fp4", "fp8", "bf16"))
    assert (fp4.experts, fp4.attention, fp4.attention_output, fp4.draft) == (4.5, 16, 4.5, 16)
    assert fp8.experts == fp8.attention == fp8.draft == pytest.approx(8 + 32 / 128**2, abs=1e-5)
    assert (fp4.kv_cache, fp8.kv_cache, bf16.kv_cache) == (8, 8, 16)
    assert fp4.lm_head == fp8.lm_head == bf16.experts == 16


def test_a_precision_that_does_not_exist_or_is_not_offered() -> None:
    model = load_model("gpt-oss-120b")
    assert model.precision_names() == ("fp4", "bf16")
    with pytest.raises(InputError, match="gpt-oss-120b is not offered at fp8; valid: fp4, bf16"):
        model.precision("fp8")
    with pytest.raises(UnknownNameError, match="unknown precision 'fp16'; did you mean"):
        model.precision("fp16")


def test_model_names_are_listed_and_offered() -> None:
    assert model_names() == (
        "deepseek-r1",
        "deepseek-r1-0528",
        "deepseek-v3.1",
        "deepseek-v3.2",
        "deepseek-v4-pro",
        "glm-4.5",
        "glm-4.7",
        "glm-5",
        "glm-5.2",
        "gpt-oss-120b",
        "kimi-k2",
        "kimi-k2-thinking",
        "kimi-k2.5",
        "minimax-m2.5",
        "minimax-m3",
        "qwen3-235b-a22b",
        "qwen3.5-397b-a17b",
    )
    with pytest.raises(UnknownNameError, match="did you mean 'deepseek-r1-0528'"):
        load_model("deepseek-r1-05")
    assert load_model("kimi-k2") is load_model("kimi-k2")


def r1_content() -> dict[str, Any]:
    return tomllib.loads((DATA / "models" / "deepseek-r1-0528.toml").read_text())


DENSE = {"count": 3, "feed_forward": {"kind": "dense", "intermediate": 10}}
EXPERTS = {"kind": "moe", "experts": 8, "top_k": 2, "intermediate": 10}
GROUPED = {"kind": "gqa", "heads": 4, "kv_heads": 2, "head_dim": 8}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": []}, "at least 1 item"),
        ({"groups": [DENSE]}, "has no layer with experts"),
        ({"groups": [{"count": 1, "feed_forward": EXPERTS}]}, "groups: none has attention"),
        (
            {
                "groups": [
                    {"count": 1, "attention": GROUPED, "feed_forward": EXPERTS},
                    {"count": 1, "feed_forward": EXPERTS | {"top_k": 3}},
                ]
            },
            "has 2 kinds of experts; all layers with experts must have the same",
        ),
        ({"groups": [{"count": 1}]}, "needs attention, feed_forward or both"),
        ({"groups": [DENSE | {"count": 0}]}, "greater than or equal to 1"),
        (
            {"groups": [{"count": 1, "feed_forward": EXPERTS | {"top_k": 9}}]},
            "top_k 9 must be at most experts 8",
        ),
        (
            {"groups": [{"count": 1, "feed_forward": EXPERTS | {"experts": 10**9}}]},
            "less than or equal to",
        ),
        ({"groups": [{"count": 1, "attention": {"kind": "linear"}}]}, "kind"),
        ({"activation": "relu"}, "Extra inputs"),
    ],
)
def test_a_model_whose_parts_disagree_is_refused(changes: dict[str, Any], message: str) -> None:
    assert Model.model_validate(r1_content()).experts == 256
    with pytest.raises(ValidationError, match=message):
        Model.model_validate(r1_content() | changes)


def test_layers_that_are_one_part_count_half() -> None:
    model = Model.model_validate(
        r1_content()
        | {
            "groups": [
                {"count": 4, "attention": GROUPED},
                {"count": 3, "feed_forward": EXPERTS},
                {"count": 2, "attention": GROUPED, "feed_forward": EXPERTS},
            ]
        }
    )
    assert (model.layers, model.parts, model.moe_layers) == (9, 11, 5)
    assert list(model.attention_layers().values()) == [6]
    assert (model.heads, model.kv_heads) == (4, 2)


def test_kv_heads_divide_heads() -> None:
    assert GqaAttention(heads=64, kv_heads=8, head_dim=64).kind == "gqa"
    with pytest.raises(ValidationError, match="kv_heads 7 must divide heads 64"):
        GqaAttention(heads=64, kv_heads=7, head_dim=64)


def test_models_can_be_keys_of_a_cache() -> None:
    assert {load_model("kimi-k2"): 1}[load_model("kimi-k2")] == 1
