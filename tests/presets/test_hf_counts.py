"""Counts of public models, from what matters of their config.json, against the published ones."""

import csv
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from costmodel.attention import kept_of_model
from costmodel.counts import model_arrays
from presets import Model, active_parameters, load_model, total_parameters

DATA = Path(__file__).parent / "data"
CONFIGS = json.loads((DATA / "configs.json").read_text(encoding="utf-8"))
PUBLIC = Path(__file__).parents[3] / "shared" / "data" / "configs"
"""A folder of whole files, where there is one beside the repository."""


class Published(NamedTuple):
    """What is published of a model; units are those of the last digit that is."""

    total: float
    total_unit: float
    vision: float  # what the total counts of another model beside it
    active: float
    active_unit: float
    active_counts: str  # besides the layers: "none", the LM "head", or "both" with the embedding
    kv_bytes_per_token_fp8: float | None


def published() -> dict[str, Published]:
    with (DATA / "published_counts.csv").open(encoding="utf-8", newline="") as file:
        return {
            row["model"]: Published(
                float(row["total"]),
                float(row["total_unit"]),
                float(row["vision"]),
                float(row["active"] or "nan"),
                float(row["active_unit"] or "nan"),
                row["active_counts"],
                float(row["kv_bytes_per_token_fp8"]) if row["kv_bytes_per_token_fp8"] else None,
            )
            for row in csv.DictReader(file)
        }


def read(name: str, folder: Path) -> Model:
    path = folder / "config.json"
    path.write_text(json.dumps(CONFIGS[name]), encoding="utf-8")
    return load_model(path)


def test_every_file_has_its_counts() -> None:
    assert set(CONFIGS) == set(published())


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_counts_are_those_published(name: str, tmp_path: Path) -> None:
    model, known = read(name, tmp_path), published()[name]
    # Within 1 %, or what rounding to the last published digit leaves open.
    allowed = max(0.01 * known.total, 0.5 * known.total_unit)
    assert total_parameters(model) + known.vision == pytest.approx(known.total, abs=allowed)
    if np.isnan(known.active):
        return
    ends = {"none": -1, "head": 0, "both": 1 - model.tied_embeddings}[known.active_counts]
    active = active_parameters(model) + ends * model.vocab * model.hidden
    allowed = max(0.01 * known.active, 0.55 * known.active_unit)
    assert active == pytest.approx(known.active, abs=allowed)


KEPT = {name: each.kv_bytes_per_token_fp8 for name, each in published().items()}


@pytest.mark.parametrize("name", sorted(name for name, kept in KEPT.items() if kept))
def test_bytes_that_a_token_more_keeps_in_fp8(name: str, tmp_path: Path) -> None:
    model = read(name, tmp_path)
    precision = "fp8" if "fp8" in model.precision_names() else "fp4"  # whose cache is in FP8
    counts = model_arrays(model, precision)
    kept = [kept_of_model(counts, np.asarray(tokens)) for tokens in (1e4, 1e4 + 1)]
    assert kept[1] - kept[0] == pytest.approx(KEPT[name])


def test_a_window_a_state_and_a_compressed_past_keep_what_they_may(tmp_path: Path) -> None:
    def kept(name: str, precision: str, tokens: float) -> float:
        return float(
            kept_of_model(model_arrays(read(name, tmp_path), precision), np.asarray(tokens))
        )

    # gpt-oss: 18 layers keep 128 tokens, 18 all, of 2 x 8 heads of 64 in FP8.
    assert kept("gpt-oss-120b", "fp4", 1000.0) == 18 * (128 + 1000) * 1024
    # Qwen3.5 397B: 45 states of 64 heads of 128 x 128 in 32 bits, and 3 tokens of 12,288 channels.
    state = 45 * (64 * 128 * 128 * 4 + 3 * 12288 * 2)
    assert kept("qwen3.5-397b-a17b", "fp8", 1.0) == state + 15360
    # DeepSeek V4 Pro is published with 9.62 GiB for a million tokens in BF16, and the keys of its
    # index in BF16 too, where engines keep them in FP8.
    counts = model_arrays(read("deepseek-v4-pro", tmp_path), "bf16")
    index = sum(float(group.layers * group.index_bytes / group.ratio) for group in counts.attention)
    tokens = 2.0**20
    total = float(kept_of_model(counts, np.asarray(tokens)))
    assert (total + tokens * index * (16 / 8.25 - 1)) / 2**30 == pytest.approx(9.62, abs=0.01)
    # Nemotron 3 Super: 8 of its 88 layers keep 2 x 2 heads of 128.
    more = kept("nemotron3-super", "fp8", 2.0) - kept("nemotron3-super", "fp8", 1.0)
    assert more == 8 * 2 * 2 * 128


@pytest.mark.parametrize("path", sorted(PUBLIC.glob("*.json")), ids=lambda path: path.stem)
def test_whole_public_files_are_read_alike(path: Path, tmp_path: Path) -> None:
    model = load_model(path)
    assert model.moe_layers > 0
    same = CONFIGS.get(path.stem)
    if same:
        assert model.groups == read(path.stem, tmp_path).groups


def test_public_files_are_there() -> None:
    if not PUBLIC.is_dir():
        pytest.skip(f"no folder {PUBLIC} of whole config.json files")
