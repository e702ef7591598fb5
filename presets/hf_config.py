"""A model from the config.json that Hugging Face keeps beside its weights."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from presets.errors import DataFileError, closest_hint, escaped, shown
from presets.facts import Provenance
from presets.files import read_text, validated
from presets.model import Model, Precision, Precisions

MAX_BYTES = 1_000_000
"""Longest config.json that is read. [B]"""

LARGEST = 10_000_000
"""Largest count that a key may hold. [1]"""


class _Keys:
    """The keys of one config.json, each checked as it is read."""

    def __init__(self, content: dict[str, Any], path: Path) -> None:
        self._content, self._path = content, path

    def fail(self, key: str, problem: str) -> DataFileError:
        return DataFileError(problem, self._path, key=key)

    def count(self, key: str, low: int = 1, default: int | None = None) -> int:
        """Whole number of `low` or more; a missing or null key takes the default."""
        value = self._content.get(key)
        valid = f"it must be a whole number from {low} to {LARGEST}"
        if value is None:
            if default is None:
                state = "is null" if key in self._content else "is missing"
                raise self.fail(key, f"{state}; {valid}")
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= LARGEST:
            raise self.fail(key, f"is {shown(value)}; {valid}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self._content.get(key, default)
        if not isinstance(value, bool):
            raise self.fail(key, f"is {shown(value)}; it must be true or false")
        return value

    def optional_count(self, key: str) -> int | None:
        return None if self._content.get(key) is None else self.count(key)

    def words(self, key: str) -> list[str]:
        """List of text; empty where the key is missing or null."""
        value = self._content.get(key) or []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.fail(key, f"is {shown(value)}; it must be a list of text")
        return value

    def text(self, key: str, default: str) -> str:
        value = self._content.get(key)
        return value if isinstance(value, str) and value.strip() else default

    def must_be(self, key: str, valid: object, why: str) -> None:
        """Refuse a key that is there and says something that is not modelled."""
        if key in self._content and self._content[key] not in (valid, None):
            value = shown(self._content[key])
            raise self.fail(key, f"is {value}; only {shown(valid)} is modelled: {why}")


def read_hf_config(path: Path) -> Model:
    """Read a Hugging Face config.json.

    Precisions are those of common checkpoints, of kind "assumed".

    Parameters
    ----------
    path : Path
        The file, of at most `MAX_BYTES`.

    Raises
    ------
    DataFileError
        Where the file is no such file, or a key is missing or bad; the text names the key.
    """
    content = _parsed(path)
    family = content.get("model_type")
    if not isinstance(family, str) or family not in _FAMILIES:
        state = f"is {shown(family)}" if "model_type" in content else "is missing"
        hint = closest_hint(family, _FAMILIES)
        raise DataFileError(f"{state}; {hint}", path, key="model_type")
    keys = _Keys(content, path)
    architecture = _FAMILIES[family](keys)
    # A folder may be called anything, and its name is printed.
    name = escaped(keys.text("_name_or_path", path.parent.name or path.stem))
    fields = architecture | {
        "name": name,
        "title": name,
        "hf_id": name,
        "provenance": Provenance(source=escaped(str(path)), date=date.today(), kind="datasheet"),
        "layers": keys.count("num_hidden_layers"),
        "hidden": keys.count("hidden_size"),
        "vocab": keys.count("vocab_size"),
        "top_k": keys.count("num_experts_per_tok"),
        "draft_layers": keys.count("num_nextn_predict_layers", low=0, default=0),
        "tied_embeddings": keys.flag("tie_word_embeddings", default=False),
        "precisions": _common_precisions(_quantised_by(content) == "mxfp4"),
    }
    return validated(Model, fields, path)


def _parsed(path: Path) -> dict[str, Any]:
    """Content of a JSON file that holds one object."""
    try:
        content = json.loads(read_text(path, MAX_BYTES), parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise DataFileError(f"is not JSON: {error.msg}", path, line=error.lineno) from None
    except DataFileError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataFileError(f"is not JSON: {error}", path) from None
    if not isinstance(content, dict):
        raise DataFileError("must hold one JSON object", path)
    return content


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _mla(keys: _Keys) -> dict[str, Any]:
    """Fields of the DeepSeek family."""
    attention = {
        "kind": "mla",
        "heads": keys.count("num_attention_heads"),
        "q_lora_rank": keys.optional_count("q_lora_rank"),
        "kv_lora_rank": keys.count("kv_lora_rank"),
        "qk_nope_dim": keys.count("qk_nope_head_dim"),
        "qk_rope_dim": keys.count("qk_rope_head_dim"),
        "v_dim": keys.count("v_head_dim"),
    }
    return {"attention": attention} | _first_layers_dense(keys)


def _glm(keys: _Keys) -> dict[str, Any]:
    """Fields of GLM: experts as DeepSeek has them, grouped-query attention."""
    return {"attention": _gqa(keys)} | _first_layers_dense(keys)


def _qwen(keys: _Keys) -> dict[str, Any]:
    """Fields of Qwen: every layer has experts, none is shared."""
    keys.must_be("decoder_sparse_step", 1, "every layer has experts")
    keys.must_be("mlp_only_layers", [], "every layer has experts")
    keys.must_be("use_sliding_window", False, "every layer sees all tokens")
    experts = keys.count("num_experts")
    return _all_layers_sparse(_gqa(keys), experts, keys.count("moe_intermediate_size"))


def _mixtral(keys: _Keys) -> dict[str, Any]:
    """Fields of Mixtral, which calls the experts local and has all layers windowed or none."""
    return _local_experts(keys, keys.count("num_hidden_layers"))


def _gpt_oss(keys: _Keys) -> dict[str, Any]:
    """Fields of gpt-oss: every second layer has a window, the first among them."""
    kinds = keys.words("layer_types")
    usual = -(-keys.count("num_hidden_layers") // 2)
    windowed = sum(kind == "sliding_attention" for kind in kinds)
    return _local_experts(keys, windowed if kinds else usual)


def _local_experts(keys: _Keys, windowed_layers: int) -> dict[str, Any]:
    attention, window = _gqa(keys), keys.optional_count("sliding_window")
    if window is not None and windowed_layers:
        attention |= {"window": window, "windowed_layers": windowed_layers}
    experts = keys.count("num_local_experts")
    return _all_layers_sparse(attention, experts, keys.count("intermediate_size"))


def _gqa(keys: _Keys) -> dict[str, Any]:
    heads = keys.count("num_attention_heads")
    return {
        "kind": "gqa",
        "heads": heads,
        "kv_heads": keys.count("num_key_value_heads"),
        "head_dim": keys.count("head_dim", default=keys.count("hidden_size") // heads),
    }


def _first_layers_dense(keys: _Keys) -> dict[str, Any]:
    keys.must_be("moe_layer_freq", 1, "every layer after the first has experts")
    dense = keys.count("first_k_dense_replace", low=0, default=0)
    shared = keys.count("n_shared_experts", low=0, default=0)
    width = keys.count("moe_intermediate_size")
    return {
        "dense_layers": dense,
        "dense_intermediate": keys.count("intermediate_size") if dense else 0,
        "experts": keys.count("n_routed_experts"),
        "expert_intermediate": width,
        "shared_experts": shared,
        "shared_intermediate": width if shared else 0,
    }


def _all_layers_sparse(attention: dict[str, Any], experts: int, width: int) -> dict[str, Any]:
    return {
        "attention": attention,
        "dense_layers": 0,
        "dense_intermediate": 0,
        "experts": experts,
        "expert_intermediate": width,
        "shared_experts": 0,
        "shared_intermediate": 0,
    }


def _quantised_by(content: dict[str, Any]) -> object:
    """Name of the method that the checkpoint was quantised by, if one is given."""
    given = content.get("quantization_config")
    return given.get("quant_method") if isinstance(given, dict) else None


def _common_precisions(mxfp4: bool) -> Precisions:
    """NVFP4 as NVIDIA lays it out for DeepSeek R1, FP8 in blocks of 128 x 128, and BF16.

    A checkpoint in MXFP4 has only its experts in that, which multiply MXFP8 where FP4 would do.
    """
    nvfp4 = _layout("NVFP4, one FP8 scale per 16 weights", 4.5, attention=16, draft=16, cache=8)
    narrow = _layout("MXFP4, one 8-bit scale per 32 weights", 16, cache=8).model_copy(
        update={"experts": 4.25, "expert_input": 8.25}
    )
    return Precisions(
        fp4=narrow if mxfp4 else nvfp4,
        fp8=_layout("FP8, one 32-bit scale per 128 x 128", 8.00195, cache=8),
        bf16=_layout("BF16 throughout", 16, cache=16),
    )


def _layout(
    note: str, linear: float, *, cache: float, attention: float = 0, draft: float = 0
) -> Precision:
    """Lay out one precision: `linear` where nothing else is said, BF16 around the layers."""
    return Precision(
        source="Layout of common checkpoints, whichever the config.json is of",
        date=date(2026, 11, 23),
        kind="assumed",
        note=note,
        experts=linear,
        shared_expert=linear,
        dense=linear,
        attention=attention or linear,
        attention_output=linear,
        router=16,
        embedding=16,
        lm_head=16,
        draft=draft or linear,
        kv_cache=cache,
    )


_FAMILIES: dict[str, Callable[[_Keys], dict[str, Any]]] = {
    "deepseek_v2": _mla,
    "deepseek_v3": _mla,
    "glm4_moe": _glm,
    "gpt_oss": _gpt_oss,
    "kimi_k2": _mla,
    "mixtral": _mixtral,
    "qwen3_moe": _qwen,
}
