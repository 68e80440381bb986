"""Other readers over the tape: each prints its ticks, or bars, and all make of them the same."""

import json
import shutil

import pytest

from tests.integration.containers import unavailable
from tests.integration.downstream.checksum import agreed, checksum
from tests.integration.downstream.engines import documented, in_environment, run, user_folder

pytestmark = pytest.mark.downstream


@pytest.fixture(scope="module")
def written(new_downstream):
    downstream = new_downstream()
    first_day, second_day = downstream.days()
    downstream.write(first_day)
    downstream.write_no_ticks()
    downstream.write(second_day)
    return downstream


def printed(downstream, folder, page_section: str, **theirs: str) -> list[dict]:
    """What the lines of the page print, with our addresses; all but the last build the program."""
    lines = documented("docs/downstream.md", page_section)
    for default, ours in {
        "localhost:9094": downstream.bootstrap_servers,
        "http://localhost:8081/apis/ccompat/v7": downstream.registry_url,
        r"^kite\.ticks\.": "^" + downstream.prefix + r"\.ticks\.",
    }.items():
        assert default in lines[-1], f"{page_section}: the last line names {default}"
        lines[-1] = lines[-1].replace(default, ours)
    output = run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(lines)], user_folder(folder), **theirs
    )
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


@pytest.mark.parametrize(
    ("section", "program"), [("## Go", "go"), ("## Rust", "cargo"), ("## Node", "npm")]
)
def test_the_checksum_is_that_of_every_reader(written, tmp_path, section, program):
    if shutil.which(program) is None:
        unavailable(f"{program} is not here")
    received = printed(written, tmp_path, section)
    assert len(received) == len(written.written)
    assert checksum(received) == agreed()


def test_polars_pandas_and_duckdb_have_the_prices_of_every_reader(written, tmp_path):
    # that the three agree is asserted in the example
    make, line = documented("docs/downstream.md", "## Polars, pandas, DuckDB")
    line = (
        line.replace("localhost:9094", written.bootstrap_servers)
        .replace("http://localhost:8081/apis/ccompat/v7", written.registry_url)
        .replace(r"kite\.ticks", written.prefix + r"\.ticks")
    )
    printed = in_environment("frames", user_folder(tmp_path), [make, line])
    bars = [json.loads(line) for line in printed.splitlines()]
    assert bars == [[*bar[:2], *bar[4:8], bar[12]] for bar in agreed()["bars"]]


def test_quixstreams_has_the_checksum_of_every_reader(written, tmp_path):
    make, line = documented("docs/downstream.md", "## quixstreams")
    line = (
        line.replace("localhost:9094", written.bootstrap_servers)
        .replace("http://localhost:8081/apis/ccompat/v7", written.registry_url)
        .replace("--prefix kite", f"--prefix {written.prefix}")
    )
    printed = in_environment("frames", user_folder(tmp_path), [make, line])
    received = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    assert len(received) == len(written.written)
    assert checksum(received) == agreed()
