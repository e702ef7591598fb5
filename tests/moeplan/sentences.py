"""What every refusal looks like."""

from __future__ import annotations

from tests.samples import Run


def assert_one_sentence(run: Run, part: str) -> None:
    err = run.err
    assert run.status == 2, err
    assert run.out == ""
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert part in err
