"""What stands in several places at each release says the same everywhere."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_newest_section_of_the_changelog_is_this_version_with_its_date() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", each) for each in headings)
    assert headings[0].startswith(f"[{PROJECT['version']}] - ")
    assert [each[-10:] for each in headings] == sorted((e[-10:] for e in headings), reverse=True)
