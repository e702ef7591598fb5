"""Measured rows from users' tables and from exports of other programs, by maps of columns."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from presets import DataFileError, InputError, InputWarning, MeasuredRows, read_measured_rows
from presets.column_maps import DERIVED, read_column_map, shipped_maps
from presets.folders import DATA
from presets.rows import ServingRow

DASHBOARD = """\
Model,ISL,OSL,Hardware,Hardware Key,Framework,Precision,TP,Concurrency,Date,\
Throughput/Chip (tok/s),Mean TTFT (s),Median TTFT (s),Mean TPOT (s),Median TPOT (s),Disaggregated,\
Num Prefill Chips,Num Decode Chips,Spec Decoding,EP,DP Attention,Is Multinode,Run URL
DeepSeek-R1-0528,1024,1024,GB200 NVL72 (Dynamo TRT),gb200_dynamo-trt,dynamo-trt,fp4,32,2253,\
2026-03-23,7698,0.9,0.6,0.0110,0.01099,true,12,32,mtp,32,true,true,
DeepSeek-R1-0528,1024,1024,B200,b200_trt,trt,fp8,8,64,2026-03-23,700,0.2,0.2,0.02,0.02,false,,,none,8,\
false,false,
"""
"""Columns and units of the CSV export of the InferenceX dashboard, with rows of that form."""

API_ROW = {
    "hardware": "gb300", "framework": "dynamo-trt", "model": "dsr1", "precision": "fp8",
    "spec_method": "none", "disagg": True, "prefill_tp": 4, "prefill_ep": 4,
    "prefill_dp_attention": True, "prefill_num_workers": 1, "decode_tp": 8, "decode_ep": 8,
    "decode_dp_attention": False, "decode_num_workers": 4, "num_prefill_gpu": 4,
    "num_decode_gpu": 32, "isl": 1024, "osl": 1024, "conc": 24,
    "metrics": {"median_tpot": 0.0085, "tput_per_gpu": 150.0},
}  # fmt: skip
"""Keys of a row of the API of the InferenceX dashboard."""

AIPERF_CSV = """\
Metric,avg,min,max,p50
Time to First Token (ms),"1,146.31",249.48,"3,485.23",640.07
Inter Token Latency (ms),30.35,27.59,35.60,30.13

Metric,Value
Output Token Throughput (tokens/sec),261.25
Total Token Throughput (tokens/sec),"2,400.00"
"""
"""The two parts of profile_export_aiperf.csv."""

AIPERF_JSON = {
    "time_to_first_token": {"unit": "ms", "avg": 195.84, "p50": 175.05},
    "inter_token_latency": {"unit": "ms", "avg": 35.2, "p50": 34.73},
    "input_config": {"loadgen": {"concurrency": 64}},
}

DEPLOYED = """\
[columns]
sku = { value = "b200" }
model = { value = "deepseek-r1-0528" }
precision = { value = "fp4" }
isl = 1024
osl = 1024
mtp_depth = 1
prefill_workers = 1
prefill_gpus_per_worker = 4
decode_workers = 1
decode_gpus_per_worker = 8
decode_ep = 8
decode_attention = { value = "dp" }
eplb_slots = 0
"""


def write(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_row_of_the_api_is_read(tmp_path: Path) -> None:
    found = read_measured_rows(write(tmp_path, "api.json", [API_ROW]))
    (row,) = found.rows.values()
    assert (row.sku, row.model, row.framework) == ("gb300", "deepseek-r1-0528", "trtllm")
    assert (row.prefill_workers, row.prefill_gpus_per_worker, row.prefill_attention) == (1, 4, "dp")
    assert (row.decode_workers, row.decode_gpus_per_worker, row.decode_attention) == (4, 8, "tp")
    assert (row.tpot_median_ms, row.tpot_ms, row.total_tok_s_per_gpu) == (8.5, None, 150.0)
    assert (row.max_batch, row.eplb_slots, row.mtp_depth) == (6, 0, 0)
    assert "max_batch is not in it and taken so large that no user waits" in found.notes[0]
    assert set(found.ignored) == {"prefill_tp", "prefill_ep", "decode_tp"}


def test_what_an_export_does_not_say_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, "export.csv", DASHBOARD)
    found = read_measured_rows(path)
    assert found.rows == {}
    problem = found.refused[2]
    assert "column mtp_depth: is not there; 'Spec Decoding' says mtp, not how deep" in problem
    assert "give prefill_workers or prefill_gpus_per_worker in --columns" in problem
    assert "column decode_workers: is not there" in found.refused[3]
    assert "sku from 'Hardware Key'" in found.notes[0]

    more = write(tmp_path, "more.toml", "[columns]\nmtp_depth = 1\nprefill_gpus_per_worker = 4\n")
    (row,) = read_measured_rows(path, more).rows.values()
    assert (row.sku, row.prefill_workers, row.prefill_gpus_per_worker) == ("gb200", 3, 4)
    assert (row.decode_workers, row.decode_gpus_per_worker, row.decode_ep) == (1, 32, 32)
    assert (row.ttft_ms, row.tpot_ms, row.tpot_median_ms) == (900.0, 11.0, 10.99)
    assert (row.max_batch, str(row.date)) == (71, "2026-03-23")


def test_results_of_aiperf_with_what_was_deployed(tmp_path: Path) -> None:
    deployed = write(tmp_path, "mine.toml", DEPLOYED)
    users = write(tmp_path, "users.toml", DEPLOYED + "concurrency = 64\n")
    (row,) = read_measured_rows(write(tmp_path, "a.json", AIPERF_JSON), deployed).rows.values()
    assert (row.concurrency, row.max_batch) == (64, 8)
    assert (row.ttft_ms, row.tpot_median_ms) == (195.84, 34.73)
    (row,) = read_measured_rows(write(tmp_path, "a.csv", AIPERF_CSV), users).rows.values()
    assert (row.ttft_ms, row.ttft_median_ms, row.tpot_ms) == (1146.31, 640.07, 30.35)
    assert row.total_tok_s_per_gpu == 200.0


def test_a_map_of_ones_own_is_enough(tmp_path: Path) -> None:
    own = 'concurrency = "users"\ntpot_ms = { column = "t", unit = "s" }\nmax_batch = 8\n'
    rows = write(tmp_path, "rows.csv", "users,t,remark\n64,0.0096,x\n")
    found = read_measured_rows(rows, write(tmp_path, "map.toml", DEPLOYED + own))
    (row,) = found.rows.values()
    assert (row.concurrency, row.tpot_ms) == (64, 9.6)
    assert found.ignored == {"remark": None}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[columns]\ntpot = 'a'",
            "key columns.tpot: is no column of measured rows; did you mean 'tpot",
        ),
        (
            "[columns]\nisl = {unit = 's'}",
            "columns.isl: must have a column of the export or a value",
        ),
        ("[columns]\nisl = {colum = 'a'}", "colum: is not a known key"),
        ("[column]\nisl = 'a'", "key column: is not a known key; did you mean 'columns'"),
        ("isl", "is not TOML"),
    ],
)
def test_a_bad_map_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataFileError, match=message):
        read_column_map(write(tmp_path, "map.toml", text))


def test_shipped_maps_are_sourced_and_of_our_columns() -> None:
    assert len(shipped_maps()) == len(list((DATA / "columns").glob("*.toml")))
    for each in shipped_maps():
        assert each.provenance is not None
        assert each.recognised_by
        assert set(each.missing) <= set(each.columns) | set(ServingRow.model_fields)
        assert set(each.columns) <= {*ServingRow.model_fields, *DERIVED}


def test_a_wide_header_is_refused_at_once(tmp_path: Path) -> None:
    header = ",".join(f"column{number}" for number in range(40_000))
    assert len(header) > 400_000
    start = time.process_time()
    with pytest.raises(DataFileError, match="has 40000 columns; at most 1000 are read"):
        read_measured_rows(write(tmp_path, "rows.csv", f"{header}\n1\n"))
    assert time.process_time() - start < 2.0


def test_a_point_among_decimal_commas_is_refused(tmp_path: Path) -> None:
    text = DASHBOARD.replace(",", ";").replace("0.0110", "0,011").replace("7698", "7.698")
    found = read_measured_rows(write(tmp_path, "rows.csv", text))
    assert "'7.698' has a point where other cells have decimal commas" in found.refused[2]


def test_at_most_twenty_faults_are_listed(tmp_path: Path) -> None:
    found = read_measured_rows(write(tmp_path, "rows.json", [API_ROW, *[1] * 30]))
    assert len(found.rows) == 1
    assert len(found.faults()) == 21
    assert found.faults()[-1] == "and 10 more"
    with pytest.warns(InputWarning) as caught:
        found.check()
    assert "30 of 31 rows are refused" in str(caught[-1].message)


def rows_or_refusal(path: Path) -> MeasuredRows | None:
    """Rows of a file; None where it is refused as a whole, in one line that names it."""
    try:
        return read_measured_rows(path)
    except InputError as error:
        if not str(error).startswith(str(path)):
            raise AssertionError(str(error)) from error
        return None


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(deadline=None, max_examples=200)
@given(key=st.sampled_from(sorted(API_ROW)), value=VALUES)
def test_any_row_of_json_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: object
) -> None:
    path = write(tmp_path_factory.getbasetemp(), "any.json", [API_ROW | {key: value}])
    found = rows_or_refusal(path)
    if found is None:
        return
    assert len(found.rows) + len(found.refused) == 1


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_any_export_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(DASHBOARD)))
    other = data.draw(st.text(max_size=6))
    text = DASHBOARD[:place] + other + DASHBOARD[place + data.draw(st.integers(0, 6)) :]
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(text.encode("utf-8", "replace"))
    found = rows_or_refusal(path)
    if found is None:
        return
    assert found.rows or found.refused


POINTS = """\
sku,model,precision,engine,engine_version,stack,date,serving,isl,osl,draft,draft_depth,prefill_workers,\
prefill_gpus_per_worker,prefill_attention,decode_workers,decode_gpus_per_worker,decode_ep,\
decode_attention,max_batch,eplb_slots,concurrency,tpot_median_ms,requests_in_decode
b200,deepseek-r1-0528,fp4,trtllm,1.3.0rc14,trt,2026-05-19,aggregated,1024,1024,none,0,0,0,,1,4,1,tp,4,,\
4,7.6067,3.8012
b200,deepseek-r1-0528,fp4,trtllm,1.3.0rc14,trt,2026-05-19,aggregated,1024,1024,none,0,0,0,,1,8,8,dp,,,\
100,20.5,
gb200,deepseek-r1-0528,fp4,trtllm,0.8.1,dynamo-trt,2026-03-23,disaggregated,1024,1024,mtp,1,3,4,dp,1,\
32,32,dp,64,288,2253,10.99,
b200,deepseek-r1-0528,fp4,trtllm,,trt,,aggregated,1024,1024,mtp,,0,0,,1,4,1,tp,4,,4,7.6,
b200,deepseek-r1-0528,fp4,trtllm,,trt,,aggregated,1024,1024,none,0,2,4,,1,4,1,tp,4,,4,7.6,
b200,deepseek-r1-0528,fp4,trtllm,,trt,,disaggregated,1024,1024,none,0,0,0,,1,4,1,tp,4,,4,7.6,
"""
"""Columns of a table of serving points, with rows of that form."""


def test_serving_points_of_one_pool_and_of_two(tmp_path: Path) -> None:
    found = read_measured_rows(write(tmp_path, "points.csv", POINTS))
    one, unlimited, two = found.rows.values()
    assert (one.serving, one.prefill_workers, one.framework) == ("aggregated", 0, "trtllm")
    assert (one.framework_version, one.mtp_depth, one.eplb_slots) == ("1.3.0rc14", 0, 0)
    assert one.requests_in_decode == 3.8012
    assert unlimited.max_batch == 13  # of 100 users over 8 ranks
    assert (two.serving, two.prefill_workers, two.mtp_depth) == ("disaggregated", 3, 1)
    assert "draft_depth is blank" in found.refused[5]
    assert "prefill_workers is 2; it must be 0 where serving is aggregated" in found.refused[6]
    assert "prefill_workers is 0; it must be at least 1" in found.refused[7]


def test_a_table_of_one_pool_needs_no_columns_of_prefill(tmp_path: Path) -> None:
    header = (
        "sku,model,precision,isl,osl,mtp_depth,serving,decode_workers,decode_gpus_per_worker,"
        "decode_ep,decode_attention,max_batch,eplb_slots,concurrency,tpot_ms"
    )
    text = f"{header}\nb200,m,fp4,1024,1024,0,aggregated,1,8,8,dp,16,0,64,20\n"
    (row,) = read_measured_rows(write(tmp_path, "one.csv", text)).rows.values()
    assert (row.prefill_workers, row.prefill_gpus_per_worker) == (0, 0)
    without = text.replace("aggregated", "disaggregated")
    with pytest.raises(DataFileError, match="prefill_workers: is blank"):
        read_measured_rows(write(tmp_path, "two.csv", without)).check()
