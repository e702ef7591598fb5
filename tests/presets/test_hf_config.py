import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from presets import DataFileError, GqaAttention, MlaAttention, UnknownNameError, load_model
from presets.hf_config import MAX_BYTES
from presets.model import Model
from tests.presets.hf_configs import DEEPSEEK, GLM, GPT_OSS, KIMI, QWEN, write

SAME_AS_PRESET = set(Model.model_fields) - {
    "name",
    "title",
    "hf_id",
    "provenance",
    "draft_models",  # of checkpoints of their own
    "published_parameters",
    "published_active",
    "checkpoint",
    "precisions",
}


@pytest.mark.parametrize(
    ("content", "preset"),
    [
        (DEEPSEEK, "deepseek-r1-0528"),
        (DEEPSEEK, "deepseek-v3.1"),
        (QWEN, "qwen3-235b-a22b"),
        (GPT_OSS, "gpt-oss-120b"),
        (GLM, "glm-4.5"),
        (KIMI, "kimi-k2"),
    ],
)
def test_a_config_gives_the_architecture_of_the_preset(
    tmp_path: Path, content: dict[str, Any], preset: str
) -> None:
    read = load_model(write(tmp_path, content))
    assert read.model_dump(include=SAME_AS_PRESET) == load_model(preset).model_dump(
        include=SAME_AS_PRESET
    )


def test_a_config_is_offered_at_all_precisions_as_assumed(tmp_path: Path) -> None:
    model = load_model(str(write(tmp_path, DEEPSEEK)))
    assert model.precision_names() == ("fp4", "fp8", "bf16")
    assert model.published_parameters is None
    for name in model.precision_names():
        assert model.precision(name).kind == "assumed"
        like = load_model("deepseek-r1-0528").precision(name)
        groups = set(type(like).model_fields) - {"source", "date", "kind", "note"}
        assert model.precision(name).model_dump(include=groups) == like.model_dump(include=groups)


def test_a_folder_and_a_missing_rank_and_head_length(tmp_path: Path) -> None:
    write(tmp_path, DEEPSEEK | {"q_lora_rank": None, "n_shared_experts": None})
    model = load_model(tmp_path)
    (attention,) = model.attentions
    assert isinstance(attention, MlaAttention)
    assert attention.q_lora_rank is None
    assert model.moe.shared_intermediate == 0
    assert model.name == tmp_path.name
    mixtral = {key: value for key, value in GPT_OSS.items() if key != "head_dim"}
    write(tmp_path, mixtral | {"model_type": "mixtral", "_name_or_path": "mine"})
    model = load_model(tmp_path)
    assert isinstance(model.attentions[0], GqaAttention)
    assert model.attentions[0].head_dim == 2880 // 64
    assert model.name == "mine"


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    assert load_model(write(tmp_path, DEEPSEEK)).layers == 61
    assert load_model(write(tmp_path, DEEPSEEK | {"num_hidden_layers": 60})).layers == 60


REQUIRED = sorted(
    set(DEEPSEEK)
    - {"architectures", "num_key_value_heads", "q_lora_rank", "first_k_dense_replace"}
    - {"moe_layer_freq", "n_shared_experts", "num_nextn_predict_layers", "tie_word_embeddings"}
)


@pytest.mark.parametrize("key", REQUIRED)
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    path = write(tmp_path, {name: value for name, value in DEEPSEEK.items() if name != key})
    with pytest.raises(DataFileError, match=f"config.json, key {key}: is missing; ") as caught:
        load_model(path)
    assert caught.value.key == key


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": 0}, "key hidden_size: is 0; it must be a whole number from 1 to 10000000"),
        ({"hidden_size": -7168}, "key hidden_size: is -7168; "),
        ({"hidden_size": 10**12}, "key hidden_size: is 1000000000000; "),
        ({"hidden_size": 7168.5}, "key hidden_size: is 7168.5; "),
        ({"hidden_size": "7168"}, "key hidden_size: is '7168'; "),
        ({"hidden_size": True}, "key hidden_size: is True; "),
        ({"hidden_size": None}, "key hidden_size: is null; "),
        ({"q_lora_rank": []}, r"key q_lora_rank: is \[\]; "),
        ({"num_nextn_predict_layers": -1}, "key num_nextn_predict_layers: is -1; .* from 0 to"),
        ({"tie_word_embeddings": "no"}, "key tie_word_embeddings: is 'no'; .* true or false"),
        ({"moe_layer_freq": 2}, "key moe_layer_freq: is 2; only 1 is modelled"),
        (
            {"model_type": "deepseek_v9"},
            "key model_type: is 'deepseek_v9', which is not modelled; valid: deepseek_ref, ",
        ),
        ({"model_type": 3}, "key model_type: is 3, which is not modelled; valid: deepseek_ref, "),
        ({"num_hidden_layers": 100_000}, "key num_hidden_layers: is 100000; .* from 1 to 1000"),
        (
            {"num_experts_per_tok": 300},
            "key num_experts_per_tok: num_experts_per_tok 300 must be at most n_routed_experts 256",
        ),
    ],
)
def test_a_bad_key_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataFileError, match=message):
        load_model(write(tmp_path, DEEPSEEK | change))


def test_dense_layers_in_between_are_found(tmp_path: Path) -> None:
    assert load_model(write(tmp_path, QWEN | {"mlp_only_layers": [5, 7]})).moe_layers == 92
    assert load_model(write(tmp_path, QWEN | {"decoder_sparse_step": 2})).moe_layers == 47
    with pytest.raises(DataFileError, match=r"key mlp_only_layers: holds 'x'; it must hold layers"):
        load_model(write(tmp_path, QWEN | {"mlp_only_layers": ["x"]}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,\n"b" 2}', "config.json, line 2: is not JSON"),
        ("", "is not JSON"),
        ("[1]", "must hold one JSON object"),
        ('{"hidden_size": NaN}', "NaN is not a JSON number"),
        ('{"hidden_size": -Infinity}', "key model_type: is missing; valid: "),
        ('{"hidden_size": ' + "9" * 5000 + "}", "is not JSON"),
        ("[" * 200_000, "is not JSON"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataFileError, match=message):
        load_model(write(tmp_path, text))


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    many = [f"model.layers.{index % 61}.part.{index}.proj" for index in range(50_000)]
    scheme = {"quant_method": "fp8", "modules_to_not_convert": many}
    path = write(tmp_path, DEEPSEEK | {"quantization_config": scheme})
    assert path.stat().st_size > 1_500_000
    assert load_model(path).checkpoint == "fp8"
    path.write_text(" " * (MAX_BYTES + 1))
    with pytest.raises(DataFileError, match=f"is longer than {MAX_BYTES} bytes"):
        load_model(path)


def test_infinity_is_a_number_of_keys_that_are_not_read(tmp_path: Path) -> None:
    text = json.dumps(DEEPSEEK | {"time_step_limit": [0.0, float("inf")]})
    assert "Infinity" in text
    assert load_model(write(tmp_path, text)).layers == 61
    text = json.dumps(DEEPSEEK | {"hidden_size": float("inf")})
    with pytest.raises(DataFileError, match="key hidden_size: is inf; it must be a whole number"):
        load_model(write(tmp_path, text))


def test_a_language_model_stands_in_a_table_of_its_own(tmp_path: Path) -> None:
    nested = {"model_type": "kimi_k25", "text_config": KIMI, "tie_word_embeddings": False}
    assert load_model(write(tmp_path, nested)).groups == load_model("kimi-k2").groups
    nested["text_config"] = KIMI | {"model_type": "unheard_of"}
    with pytest.raises(DataFileError, match="key model_type: is 'kimi_k25', which is not modelled"):
        load_model(write(tmp_path, nested))


def test_no_refusal_hints_at_another_architecture(tmp_path: Path) -> None:
    with pytest.raises(DataFileError) as caught:
        load_model(write(tmp_path, DEEPSEEK | {"model_type": "deepseek_v33"}))
    assert "did you mean" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="cannot be read: No such file"):
        load_model(tmp_path / "config.json")
    with pytest.raises(UnknownNameError, match="path to a config"):
        load_model("no-such-model")


JSON_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just([])
)


@settings(max_examples=200, deadline=None)
@given(key=st.sampled_from(sorted(DEEPSEEK)), value=JSON_VALUES)
def test_any_value_of_a_key_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: object
) -> None:
    path = write(tmp_path_factory.getbasetemp(), DEEPSEEK | {key: value})
    try:
        problem = "" if load_model(path).layers else "read nothing"
    except DataFileError as error:
        problem = str(error)
    assert problem == "" or problem.startswith(str(path))
    assert "\n" not in problem


CONFIGS = json.loads((Path(__file__).parent / "data" / "configs.json").read_text(encoding="utf-8"))
"""What matters of the config.json of a model of each architecture, and more."""


def keys_of(content: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for key, value in content.items():
        yield (key,)
        if isinstance(value, dict):
            yield from ((key, *inner) for inner in keys_of(value))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_architecture_fails_on_any_value_of_a_key(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = copy.deepcopy(CONFIGS[data.draw(st.sampled_from(sorted(CONFIGS)))])
    *outer, last = data.draw(st.sampled_from(list(keys_of(content))))
    table = content
    for key in outer:
        table = table[key]
    others = st.sampled_from([{}, [0] * 2000, [1] * 60, [[1]], "M*E", 2, 7, float("inf")])
    table[last] = data.draw(JSON_VALUES | others)
    path = write(tmp_path_factory.getbasetemp(), content)
    try:
        model = load_model(path)
        problem = "" if all(map(model.precision, model.precision_names())) else "offered at none"
    except DataFileError as error:
        problem = str(error)
    assert problem == "" or problem.startswith(str(path))
    assert "\n" not in problem
    assert "groups." not in problem  # keys of the file, not of the record


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "qwen3-235b-a22b",
            {"num_key_value_heads": 7},
            "key num_key_value_heads: num_key_value_heads 7 must divide num_attention_heads 64",
        ),
        ("mixtral-8x7b", {"hidden_size": 10}, "key head_dim: 0 is not valid; it must be greater"),
        ("nemotron3-nano", {"hybrid_override_pattern": "MX"}, "has 2 entries for 52 layers"),
        ("nemotron3-nano", {"hybrid_override_pattern": "X" * 52}, "holds 'X'; only M, E, "),
        ("deepseek-v4-pro", {"compress_ratios": None}, "key compress_ratios: is missing; it must"),
        (
            "qwen3-235b-a22b",
            {"decoder_sparse_step": 100},
            "has no layer with experts; only mixture",
        ),
        ("minimax-m3", {"moe_layer_freq": 1}, "key moe_layer_freq: is 1; it must be a list"),
    ],
)
def test_what_an_architecture_does_not_allow_is_named(
    tmp_path: Path, name: str, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(DataFileError, match=re.escape(message)):
        load_model(write(tmp_path, CONFIGS[name] | changes))


def bits_of(model: Model, name: str) -> dict[str, object]:
    return model.precision(name).model_dump(exclude={"source", "date", "kind", "note"})


def test_mxfp4_checkpoints_are_laid_out_as_the_preset(tmp_path: Path) -> None:
    read = load_model(write(tmp_path, GPT_OSS))
    assert bits_of(read, "fp4") == bits_of(load_model("gpt-oss-120b"), "fp4")
    plain = load_model(write(tmp_path, GPT_OSS | {"quantization_config": None}))
    assert plain.precision("fp4").experts == 4.5
    assert plain.precision("fp4").expert_input is None


@pytest.mark.parametrize(
    ("changes", "windowed"),
    [
        ({}, 18),
        ({"layer_types": None}, 18),
        ({"layer_types": None, "num_hidden_layers": 5}, 3),
        ({"layer_types": ["full_attention"] * 36}, 0),
        ({"sliding_window": None}, 0),
        ({"model_type": "mixtral", "sliding_window": 4096}, 36),
    ],
)
def test_windowed_layers_are_counted(
    tmp_path: Path, changes: dict[str, object], windowed: int
) -> None:
    layers = load_model(write(tmp_path, GPT_OSS | changes)).attention_layers()
    with_window = (
        count
        for each, count in layers.items()
        if isinstance(each, GqaAttention) and each.window is not None
    )
    assert sum(with_window) == windowed


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GPT_OSS | {"layer_types": 3}, "key layer_types: is 3; it must be a list"),
        (
            GPT_OSS | {"layer_types": "sliding_attention"},
            "key layer_types: has 17 entries for 36 layers",
        ),
        (GPT_OSS | {"layer_types": [1] * 36}, "key layer_types: holds 1; only sliding_attention"),
        (GPT_OSS | {"sliding_window": -1}, "key sliding_window: is -1; "),
        (QWEN | {"use_sliding_window": True}, "key use_sliding_window: is True; only False is"),
    ],
)
def test_bad_windows_are_named(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    with pytest.raises(DataFileError, match=message) as caught:
        load_model(write(tmp_path, content))
    assert "\n" not in str(caught.value)
