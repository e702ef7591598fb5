"""What is printed where nothing meets the limits, taken and tried as a user would."""

from __future__ import annotations

from itertools import islice

import pytest

from benchmarks.remedies import GOOD, check, unanswered

pytestmark = pytest.mark.many_cases


@pytest.mark.filterwarnings("ignore::presets.errors.InputWarning")
def test_every_remedy_works_and_is_the_nearest() -> None:
    became = [
        (asked, reason, *each)
        for asked, reason in islice(unanswered(seed=4), 4)
        for each in check(asked, reason)
    ]
    assert [each for each in became if each[-1] not in GOOD] == []
    assert len({limit for _, _, limit, what in became if what == "holds"}) >= 3
