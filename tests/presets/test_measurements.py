import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from presets import (
    DataFileError,
    UnknownNameError,
    aggregated_rows,
    allreduce_rows,
    alltoall_rows,
    engine_settings_rows,
    iso_rows,
    load_columns,
    load_prices,
    measurement_sources,
    published_rows,
    read_measured_rows,
    serving_rows,
    table_file,
)
from presets.measurements import FOLDER
from presets.rows import ServingRow

SHARED = Path(__file__).parents[3] / "shared" / "data"
HEADER = (
    "sku,model,precision,isl,osl,mtp_depth,prefill_workers,prefill_gpus_per_worker,decode_workers,"
    "decode_gpus_per_worker,decode_ep,decode_attention,max_batch,eplb_slots,concurrency,tpot_ms"
)
ROW = "gb200,r1,fp4,1024,1024,3,1,4,4,8,8,tp,8,0,4,3.49"
COLUMNS = HEADER.split(",")


def write(folder: Path, *lines: str) -> Path:
    path = folder / "rows.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def with_cell(column: str, value: str) -> str:
    cells = ROW.split(",")
    cells[COLUMNS.index(column)] = value
    return ",".join(cells)


def test_every_table_has_its_source_and_units() -> None:
    sources = measurement_sources()
    assert set(sources) == {path.name.partition(".csv")[0] for path in FOLDER.glob("*.csv*")}
    for source in sources.values():
        assert source.source.strip()
        assert source.kind == "measured"
        assert source.note.strip()


def test_every_table_is_read_whole() -> None:
    assert len(published_rows()) == 20
    assert len(iso_rows()) == 14
    assert len(serving_rows()) == 202
    assert len(alltoall_rows()) == 2044
    assert len(allreduce_rows()) == 253
    assert len(engine_settings_rows()) == 48
    assert len(aggregated_rows()) == 177


def test_the_tables_are_those_that_were_handed_over() -> None:
    if not SHARED.is_dir():
        pytest.skip("the folder the tables were taken from is not beside the repository")
    collected_here = {FOLDER / "run_settings.csv", FOLDER / "aggregated_serving.csv"}
    for path in {*FOLDER.glob("*.csv")} - collected_here:
        given, own = (
            [*csv.DictReader(file.read_text(encoding="utf-8").splitlines())]
            for file in (SHARED / path.name, path)
        )
        # Rows of other kernels and columns of what recipes say came to them here.
        kept = {tuple(row[name] for name in given[0]) for row in own}
        assert {tuple(row.values()) for row in given} <= kept, path.name
        assert len(own) == len(given) or path.stem == "alltoall_latency"


def test_a_published_row_as_printed() -> None:
    row = published_rows()[6]
    assert (row.sku, row.prefill_workers, row.decode_ep, row.eplb_slots) == ("gb200", 3, 32, 288)
    assert (row.published_prefill, row.published_decode) == ("12 GPU, TP=12", "32 GPU, EP=32")
    assert (row.tok_s_per_user, row.total_tok_s_per_gpu) == (90.99, 7698.0)


def test_published_interactivity_is_that_of_the_tpot() -> None:
    for row in published_rows():
        # The table cuts TPOT to 0.01 ms.
        assert 1000 / row.tok_s_per_user == pytest.approx(row.tpot_ms, abs=0.01)


def test_published_cost_is_that_of_the_price() -> None:
    price = {sku: fact.value for sku, fact in load_prices("2026-04").prices.items()}
    for row in published_rows():
        cost = price[row.sku] / (3600 * row.total_tok_s_per_gpu / 1e6)
        assert row.usd_per_m_total_tokens == pytest.approx(cost, rel=0.01, abs=0.0051)


def test_iso_rows_leave_blank_what_is_unreachable() -> None:
    last = iso_rows()[-1]
    assert (last.tok_s_per_user, last.gb200_tok_s_per_gpu, last.b200_tok_s_per_gpu) == (
        300,
        None,
        67,
    )


def test_serving_rows_keep_what_is_blank_as_none() -> None:
    first, second = serving_rows()[:2]
    assert (first.ttft_ms, first.tpot_ms, first.iteration_ms) == (169.29, 6.1021, None)
    assert (second.tpot_median_ms, second.total_tok_s_per_gpu) == (6.5405, 97.672)
    assert first.tok_s_per_user is None
    assert sum(row.iteration_ms is not None for row in serving_rows()) == 131
    assert sum(row.framework_version is None for row in serving_rows()) == 40


def test_engine_settings_split_concurrencies_and_keep_defaults_as_none() -> None:
    rows = {(row.recipe, row.concurrency): row for row in engine_settings_rows()}
    several = rows["ctx1_gen5_tep8_batch32_eplb0_mtp3", (10, 15, 25, 45, 90, 180)]
    assert several.decode_eplb_slots is None
    assert several.decode_attention_dp is False
    assert several.decode_allreduce == "MNNVL"
    assert rows["ctx1_gen2_dep8_batch64_eplb0_mtp2", (1214,)].decode_kv_fraction == 0.8


def test_columns_agree_with_the_file() -> None:
    columns = load_columns("alltoall_latency")
    with (FOLDER / "alltoall_latency.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(columns) == list(rows[0])
    assert columns["latency_us"].dtype == np.float64
    assert columns["tokens_per_rank"].dtype.kind == "i"
    for name, values in columns.items():
        kind = str if values.dtype.kind == "U" else float
        assert values.tolist() == [kind(row[name]) for row in rows], name


def test_columns_cannot_be_written_and_hold_nan_where_blank() -> None:
    columns = load_columns("measured_serving")
    assert np.isnan(columns["iteration_ms"]).sum() == 71
    assert np.isnan(columns["tok_s_per_user"]).all()
    assert (columns["framework_version"] == "").sum() == 40
    with pytest.raises(ValueError, match="read-only"):
        columns["isl"][0] = 1
    with pytest.raises(UnknownNameError, match="did you mean 'alltoall_latency'"):
        load_columns("alltoall")


def read_serving_rows(path: Path | str) -> tuple[ServingRow, ...]:
    """All rows of a file, with nothing to warn of."""
    found = read_measured_rows(path)
    found.check()
    return tuple(found.rows.values())


def test_a_users_file_in_both_forms(tmp_path: Path) -> None:
    assert read_serving_rows(FOLDER / "measured_serving.csv") == serving_rows()
    published = read_serving_rows(str(FOLDER / "inferencex_2026-05-22.csv"))
    assert [row.tok_s_per_user for row in published] == [
        row.tok_s_per_user for row in published_rows()
    ]
    assert {row.ttft_ms for row in published} == {None}
    (row,) = read_serving_rows(write(tmp_path, HEADER, ROW))
    assert (row.sku, row.decode_attention, row.tpot_ms, row.framework) == (
        "gb200",
        "tp",
        3.49,
        None,
    )


def test_extra_columns_blank_lines_spaces_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    text = f'{HEADER},remark\r\n\r\n{ROW.replace(",", " , ")},"two\nlines, quoted"\r\n,,\r\n'
    path.write_bytes(b"\xef\xbb\xbf" + text.replace(",,\r\n", "").encode())
    (row,) = read_measured_rows(path).rows.values()
    assert row.model == "r1"


@pytest.mark.parametrize("column", COLUMNS[:-1])
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    place = COLUMNS.index(column)
    header, row = (
        ",".join(line.split(",")[:place] + line.split(",")[place + 1 :]) for line in (HEADER, ROW)
    )
    message = f"line 1, column {column}: column {column} is missing; needed: sku, model, precision"
    with pytest.raises(DataFileError, match=message):
        read_serving_rows(write(tmp_path, header, row))


@pytest.mark.parametrize("column", COLUMNS[:-1])
def test_a_blank_cell_of_the_configuration_is_named(tmp_path: Path, column: str) -> None:
    message = f"rows.csv, line 3, column {column}: is blank; it must be filled"
    with pytest.raises(DataFileError, match=message) as caught:
        read_serving_rows(write(tmp_path, HEADER, "", with_cell(column, " ")))
    assert caught.value.line == 3


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("isl", "many", "column isl: 'many' is not valid; give a number, such as 8192, 8,192"),
        ("isl", "1024.5", "column isl: '1024.5' is not valid; it must be a whole number"),
        ("isl", "0", "column isl: '0' is not valid; it must be greater than or equal to 1"),
        ("isl", "-1", "column isl: '-1' is not valid"),
        ("isl", "nan", "column isl: 'nan' is not valid"),
        ("isl", "9" * 5000, "column isl: '999.* is not valid; it must be a whole"),
        ("concurrency", "1e99", "column concurrency: '1e99' is not valid"),
        (
            "mtp_depth",
            "17",
            "column mtp_depth: '17' is not valid; it must be less than or equal to 16",
        ),
        ("tpot_ms", "NaN", "column tpot_ms: 'NaN' is not valid; it must be a finite number"),
        ("tpot_ms", "inf", "column tpot_ms: 'inf' is not valid; it must be a finite number"),
        ("tpot_ms", "0", "column tpot_ms: '0' is not valid; it must be greater than 0"),
        ("tpot_ms", "fast", "column tpot_ms: 'fast' is not valid; give a number, such as 9.6"),
        ("sku", "gb20", "column sku: 'gb20' is no known machine; did you mean 'gb200'"),
        (
            "precision",
            "fp16",
            "column precision: 'fp16' is not valid; it must be 'fp4', 'fp8', 'int4'",
        ),
        (
            "decode_attention",
            "pp",
            "column decode_attention: 'pp' is not valid; it must be 'tp' or ",
        ),
        ("decode_ep", "3", "decode_ep is 3; it must divide decode_gpus_per_worker, 8"),
    ],
)
def test_a_bad_cell_is_named(tmp_path: Path, column: str, value: str, message: str) -> None:
    with pytest.raises(DataFileError, match=f"rows.csv, line 2.*{message}"):
        read_serving_rows(write(tmp_path, HEADER, with_cell(column, value)))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([""], "has no rows under a header"),
        ([HEADER], "has no rows under a header"),
        ([HEADER, "gb200,r1"], "line 2: has 2 cells; the header has 16"),
        ([HEADER, ROW + ",1"], "line 2: has 17 cells; the header has 16"),
        ([HEADER + ",isl", ROW + ",1"], "line 1: column 'isl' stands twice"),
        ([HEADER, "", '"gb200'], "line 3: is not CSV"),
        ([HEADER, "x" * 200_000], "line 2: is not CSV: field larger"),
    ],
)
def test_a_malformed_table_is_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(DataFileError, match=message):
        read_serving_rows(write(tmp_path, *lines))


def test_the_line_is_that_of_the_file_after_quoted_line_breaks(tmp_path: Path) -> None:
    rows = [f'{ROW},"a\nb"', f"{with_cell('isl', 'x')},c"]
    found = read_measured_rows(write(tmp_path, HEADER + ",remark", *rows))
    assert list(found.rows) == [3]
    assert [*found.refused] == [4]
    assert found.refused[4].startswith("column isl: 'x' is not valid")


def test_a_table_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, HEADER, *[ROW] * 5)
    monkeypatch.setattr(table_file, "MAX_ROWS", 5)
    assert len(read_serving_rows(path)) == 5
    monkeypatch.setattr(table_file, "MAX_ROWS", 4)
    with pytest.raises(DataFileError, match="has more than 4 rows"):
        read_serving_rows(path)
    monkeypatch.setattr(table_file, "MAX_BYTES", 50)
    with pytest.raises(DataFileError, match="is longer than 50 bytes"):
        read_serving_rows(path)


@settings(max_examples=150, deadline=None)
@given(column=st.sampled_from(COLUMNS), cell=st.text(max_size=12))
def test_any_cell_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, column: str, cell: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(f"{HEADER}\n{with_cell(column, cell)}\n".encode("utf-8", "replace"))
    try:
        problem = "" if read_serving_rows(path) else "read nothing"
    except DataFileError as error:
        problem = str(error)
    assert problem == "" or problem.startswith(str(path))
    assert "\n" not in problem
