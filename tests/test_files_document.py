"""docs/files.md names every column and key of the files that users write, with its range."""

import json
import re
import tomllib
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from typer.testing import CliRunner

import moeplan
from costmodel.calibration import Constant, Coverage
from costmodel.calibration_file import shipped_calibration
from costmodel.correlation import Correlation
from costmodel.results import Configuration, Scenario
from moeplan.cli import make_app
from moeplan.config_file import read_stored
from optimizer import Space
from presets import (
    ClusterPools,
    Hardware,
    InputError,
    InputWarning,
    cluster_faults,
    load_cluster,
    load_machine,
    load_model,
    read_cluster,
    read_measured_rows,
)
from presets.architectures import load_architectures
from presets.cluster import OVERRIDES, ClusterSpec
from presets.column_maps import DERIVED, ColumnMap, Source, read_column_map
from presets.errors import LONGEST_MESSAGE
from presets.hf_config import read_hf_config
from presets.rows import ServingRow
from presets.scale_out import ScaleOut

DOCUMENT = Path(__file__).parents[1] / "docs" / "files.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
SECTIONS = {part.split("\n")[0]: part for part in TEXT.split("\n## ")}
EXAMPLE = re.compile(r"^```(csv|yaml|toml|json)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BOUNDS = ("minimum", "maximum")


def lines_of(section: str) -> dict[str, list[str]]:
    """Cells of the lines of tables that begin with a key, by key."""
    found = re.findall(r"^\| `(\w+)` \| (.*) \|$", SECTIONS[section], re.MULTILINE)
    assert len({key for key, _ in found}) == len(found), "a key stands twice"
    return {key: cells.split(" | ") for key, cells in found}


def bounds_of(schema: Mapping[str, Any]) -> set[float]:
    """Least and largest value of a key."""
    return {part[name] for part in schema.get("anyOf", [schema]) for name in BOUNDS if name in part}


def records(section: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Keys of a section with the record that checks each the strictest."""
    if section == "Measured rows":
        for key in ServingRow.model_fields:
            strict = next((r for r in (Configuration, Scenario) if key in r.model_fields), None)
            yield key, ServingRow if strict is None or key == "model" else strict
    if section == "Configuration":
        yield from ((key, Configuration) for key in Configuration.model_fields)
    if section == "Cluster":
        yield from ((key, ClusterSpec) for key in ClusterSpec.model_fields)
        yield from ((key, ScaleOut) for key in ScaleOut.model_fields)


FIELDS = [
    (section, key, record)
    for section in ("Measured rows", "Configuration", "Cluster")
    for key, record in records(section)
]


@pytest.mark.parametrize(("section", "key", "record"), FIELDS)
def test_a_key_stands_with_its_range_and_default(
    section: str, key: str, record: type[BaseModel]
) -> None:
    *_, reach, default = lines_of(section)[key]
    schema = record.model_json_schema()["properties"][key]
    for bound in bounds_of(schema) - {1e9, 1e12}:  # those only keep figures finite
        assert f"{bound:,.10g}" in reach.split(" to "), reach
    for value in schema.get("enum", []):
        assert f"`{value}`" in reach
    needed = ServingRow if section == "Measured rows" else record
    field = needed.model_fields[key]
    assert (default == "needed") == field.is_required()
    if isinstance(field.default, str):
        assert default == f"`{field.default}`"
    elif isinstance(field.default, int | float):
        assert default == f"{field.default:g}"


@pytest.mark.parametrize("section", ["Measured rows", "Configuration", "Cluster"])
def test_no_other_key_stands_there(section: str) -> None:
    assert set(lines_of(section)) == {key for key, _ in records(section)}


def test_keys_of_a_calibration_stand_there() -> None:
    assert set(lines_of("Calibration")) == {*Constant.model_fields, *Coverage.model_fields}
    defaults = {key: cells[-1] for key, cells in lines_of("Calibration").items()}
    for key, field in Coverage.model_fields.items():
        assert (defaults[key] == "needed") == field.is_required()
    for key in Correlation.model_fields:
        assert f"`{key}`" in SECTIONS["Calibration"]


def keys_in(spec: object) -> Iterator[str]:
    """Keys of a config.json that what is said of a quantity, or a table of such, names."""
    if isinstance(spec, dict):
        for name, value in spec.items():
            yield from () if name in ("kind", "shared") else keys_in(value)
    elif isinstance(spec, str):
        factors = (each.partition("?")[0] for each in re.split(r"[|*/]", spec))
        yield from (part for each in factors if not each.isdigit() for part in each.split("."))


def test_keys_of_a_model_stand_there() -> None:
    named = set(re.findall(r"`(\w+)`", SECTIONS["Model"])) | set(json.loads(example("Model")))
    known = load_architectures()
    read = {key for name, kind in known.kinds.items() if name != "modules" for key in keys_in(kind)}
    for each in known.architectures.values():
        rules = (each.dense.first, each.dense.listed, each.dense.step, each.dense.indices)
        specs = [*each.attention.values(), each.moe, *rules, each.layers.key, each.layers.interval]
        read |= {*each.model_types} | {part for key in each.only for part in key.split(".")}
        read |= {key for spec in specs for key in keys_in(spec)}
    assert read - named == set()


def example(section: str) -> str:
    found = EXAMPLE.search(SECTIONS[section])
    assert found
    return found[2]


def test_the_example_of_rows_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(example("Measured rows"), encoding="utf-8")
    statistics = moeplan.validate(path).statistics()
    assert statistics["tpot"]["mape"] is not None
    assert statistics["tpot"]["mape"] < 0.5


def test_the_example_of_a_configuration_is_predicted(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(example("Configuration"), encoding="utf-8")
    assert moeplan.predict("gb200", read_stored(path).configuration).prediction.origin == "modelled"


def test_the_example_of_a_cluster_has_every_key(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(example("Cluster"), encoding="utf-8")
    cluster = load_cluster(path)
    assert cluster.model_fields_set == set(ClusterSpec.model_fields) - {"machine"} > set(OVERRIDES)
    assert cluster.scale_out.model_fields_set == set(ScaleOut.model_fields)


def test_the_example_of_a_worn_cluster_is_planned(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    whole = path.with_name("whole.yaml")
    worn = EXAMPLE.findall(SECTIONS["Cluster"])[1][1]
    path.write_text(worn, encoding="utf-8")
    whole.write_text(worn[: worn.index("failed")], encoding="utf-8")
    # Wide workers, as a model needs that does not fit a server.
    space = Space(decode_gpus=(16, 32), prefill_gpus=(4, 8), decode_workers=(1, 2, 3))
    found, unhurt = (
        moeplan.best(None, 20.0, moeplan.Options(cluster=str(each), max_gpus=64), space=space)
        for each in (path, whole)
    )
    assert found.config is not None
    assert found.prediction is not None
    assert unhurt.prediction is not None
    used = [
        gpu for domain in found.placement for worker in domain.workers for gpu in worker.gpu_numbers
    ]
    assert len(used) == len(set(used)) == found.config.gpus
    assert 17 not in used
    assert max(used) < 48  # GPUs from 48 on hang on the leaf switch that failed
    # A worker of 16 takes whole servers; the third has seven GPUs.
    wide = [
        gpu
        for domain in found.placement
        for worker in domain.workers
        if worker.of_gpus > 8
        for gpu in worker.gpu_numbers
    ]
    assert not set(wide) & set(range(16, 24))
    assert found.prediction.total_tok_s_per_gpu <= unhurt.prediction.total_tok_s_per_gpu


def test_the_example_of_pools_is_planned(tmp_path: Path) -> None:
    path = tmp_path / "two-pools.yaml"
    path.write_text(EXAMPLE.findall(SECTIONS["Cluster"])[2][1], encoding="utf-8")
    assert cluster_faults(path) == []
    worn = EXAMPLE.findall(SECTIONS["Cluster"])[1][1]
    pools = read_cluster(path)
    assert isinstance(pools, ClusterPools)
    assert f"failed: [{', '.join(pools.pools['servers'].failed)}]" in worn
    space = Space(decode_gpus=(8, 16, 32), prefill_gpus=(4,), decode_workers=(1, 2))
    options = moeplan.Options(cluster=pools, pool="rack", prefill_pool="servers")
    found = moeplan.best(None, 40.0, options, space=space)
    assert found.config is not None
    assert (found.sku, found.prefill_sku) == ("gb200", "b200")
    assert (found.price_usd_per_hour, found.prefill_price_usd_per_hour) == (2.1, 1.8)
    used = {
        sku: [
            gpu
            for domain in found.placement
            if domain.sku == sku
            for worker in domain.workers
            for gpu in worker.gpu_numbers
        ]
        for sku in ("gb200", "b200")
    }
    assert len(used["gb200"]) == found.config.decode_gpus <= 60
    assert len(set(used["b200"])) == found.config.prefill_gpus
    assert not {17, *range(48, 64)} & set(used["b200"])
    # One pool alone costs more, or as much.
    prices = [found.prediction.usd_per_m_total_tokens] if found.prediction else []
    for pool in pools.pools:
        alone = moeplan.best(
            None, 40.0, replace(options, pool=pool, prefill_pool=pool), space=space
        )
        assert alone.prediction is not None
        assert alone.prefill_sku is None
        prices.append(alone.prediction.usd_per_m_total_tokens)
    assert len(set(prices)) == 3


def test_the_examples_of_a_machine_have_every_key_and_are_planned(tmp_path: Path) -> None:
    path, cluster = tmp_path / "lab.toml", tmp_path / "cluster.yaml"
    path.write_text(example("Machine"), encoding="utf-8")
    machine = load_machine(path)
    said = tomllib.loads(example("Machine"))
    assert {*said, *said["facts"]} == {*Hardware.model_fields, "like", "facts"}
    assert set(lines_of("Machine")) == {*Hardware.model_fields, "like"}
    assert machine.hbm_rate.value == 4e12
    cluster.write_text(EXAMPLE.findall(SECTIONS["Machine"])[1][1], encoding="utf-8")
    inline = load_cluster(cluster).hardware()
    assert (inline.hbm_bytes.value, inline.flops) == (machine.hbm_bytes.value, machine.flops)
    for options in (moeplan.Options(machine=path), moeplan.Options(cluster=cluster)):
        answer = moeplan.best(None, 20.0, replace(options, max_gpus=16))
        assert answer.sku == "lab"
        assert answer.prediction is not None
        assert answer.prediction.origin == "extrapolated"


def test_the_example_of_a_constant_is_complete() -> None:
    content = tomllib.loads(example("Calibration"))
    constant = Constant.model_validate(content["constants"]["step_time"])
    assert constant.model_fields_set == set(Constant.model_fields)
    assert constant.unit == shipped_calibration().constants["step_time"].unit


def test_the_example_of_a_map_has_every_key(tmp_path: Path) -> None:
    path = tmp_path / "map.toml"
    path.write_text(example("Map of columns"), encoding="utf-8")
    assert set(read_column_map(path).columns) <= {*ServingRow.model_fields, *DERIVED}
    text = SECTIONS["Map of columns"]
    for key in (*Source.model_fields, *ColumnMap.model_fields, *DERIVED):
        assert key == "provenance" or f"`{key}`" in text or f"`[{key}]`" in text


def test_the_example_of_a_model_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(example("Model"), encoding="utf-8")
    model = read_hf_config(path)
    assert model.groups == load_model("deepseek-r1-0528").groups
    assert set(json.loads(example("Model"))) - {"model_type"} <= set(lines_of("Model"))


@pytest.mark.parametrize(
    "command", [["validate"], ["calibrate"], ["predict"], ["best"], ["recipe"]]
)
def test_help_names_the_document(command: list[str]) -> None:
    shown = CliRunner().invoke(make_app(), [*command, "--help"])
    assert "docs/files.md" in shown.output


READERS: dict[str, Callable[[Path], object]] = {
    "Measured rows": read_measured_rows,
    "Map of columns": read_column_map,
    "Configuration": read_stored,
    "Cluster": load_cluster,
    "Machine": load_machine,
    "Model": read_hf_config,
}
PIECES = st.sampled_from(
    ["1e999", "-1", ".nan", "'", '"', "{", "]", ":", "\n", "\x1b[31m", "\x00", "9" * 400, "1:1:1",
     "&a", "*a", "null", "8k", "400Gb/s", "$3", "\\", "#", ",", ";", "a.b.c", "=", "\u2028", ""]
)  # fmt: skip


@pytest.mark.parametrize("section", READERS)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_an_example_with_a_slip_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, section: str, data: st.DataObject
) -> None:
    text = example(section)
    for _ in range(data.draw(st.integers(1, 4))):
        place, cut = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 8))
        text = text[:place] + data.draw(PIECES) + text[place + cut :]
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(text, encoding="utf-8")
    problem = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        try:
            READERS[section](path)
        except InputError as error:
            problem = str(error)
    assert problem == "" or problem.isprintable()
    assert len(problem) <= LONGEST_MESSAGE
