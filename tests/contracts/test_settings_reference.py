"""docs/settings.md is what `kite-connector settings` prints."""

from pathlib import Path

from connector.settings.reference import markdown

PAGE = Path(__file__).parents[2] / "docs/settings.md"


def test_the_reference_of_settings_is_current():
    assert PAGE.read_text() == markdown(), "run `make docs`"
