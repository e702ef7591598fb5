import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presets import (
    DataFileError,
    InfeasibleError,
    InputError,
    MoeplanError,
    UnknownNameError,
    unknown_name,
)
from presets.errors import LONGEST_MESSAGE, MissingPackageError, ShadowedError, escaped, shown


def test_the_tree_is_as_drawn() -> None:
    assert InputError.__bases__ == (MoeplanError, ValueError)
    assert UnknownNameError.__bases__ == (InputError,)
    assert DataFileError.__bases__ == (InputError,)
    assert MissingPackageError.__bases__ == (InputError, ImportError)
    assert InfeasibleError.__bases__ == (MoeplanError,)
    assert ShadowedError.__bases__ == (MoeplanError, ImportError)
    assert not issubclass(InfeasibleError, ValueError)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (DataFileError("is empty"), "is empty"),
        (DataFileError("is empty", Path("a.csv")), "a.csv: is empty"),
        (
            DataFileError("is blank", "a.csv", line=3, column="isl"),
            "a.csv, line 3, column isl: is blank",
        ),
        (DataFileError("is -1", "a.yaml", key="gpus"), "a.yaml, key gpus: is -1"),
    ],
)
def test_data_file_error_says_where(error: DataFileError, text: str) -> None:
    assert str(error) == text


def test_data_file_error_survives_another_process() -> None:
    error = DataFileError("is blank", "a.csv", line=3, column="isl")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert (again.path, again.line, again.column, again.key) == ("a.csv", 3, "isl", None)


def test_unknown_name_offers_the_closest_whatever_the_case() -> None:
    assert str(unknown_name("hardware", "GB2OO", ["b200", "gb200"])) == (
        "unknown hardware 'GB2OO'; did you mean 'gb200'? Valid: b200, gb200"
    )


def test_unknown_name_lists_the_valid_names_in_order() -> None:
    assert str(unknown_name("hardware", 7, ["gb200", "b200"])) == (
        "unknown hardware 7; valid: b200, gb200"
    )


def test_a_message_stays_short_and_on_one_line() -> None:
    text = str(unknown_name("hardware", "x\n" * 100_000, ["b200"]))
    assert "\n" not in text
    assert len(text) < 120
    assert shown("a") == "'a'"


@given(st.text(max_size=3000), st.text(max_size=500), st.text(max_size=100))
def test_no_text_of_a_user_can_steer_a_terminal_or_fill_it(text: str, path: str, key: str) -> None:
    for error in (InputError(text), DataFileError(text, path, key=key, column=key)):
        assert str(error).isprintable()
        assert len(str(error)) <= LONGEST_MESSAGE
    assert escaped(escaped(text)) == escaped(text)


def test_a_long_message_keeps_its_beginning_and_its_end() -> None:
    text = str(DataFileError("x" * 4000 + "; give less", "a.yaml", key="name"))
    assert text.startswith("a.yaml, key name: ")
    assert text.endswith("; give less")
    assert len(text) == LONGEST_MESSAGE


def test_a_number_too_long_to_print_is_named_all_the_same() -> None:
    assert shown(10**5000) == "a number too long to print"
