"""Readers in Go and Node over the tape: each prints its ticks, whose checksum all readers have."""

import json
import shutil

import pytest

from tests.integration.containers import unavailable
from tests.integration.downstream.checksum import agreed, checksum
from tests.integration.downstream.engines import documented, run, user_folder

pytestmark = pytest.mark.downstream


@pytest.fixture(scope="module")
def written(new_downstream):
    downstream = new_downstream()
    for day in downstream.days():
        downstream.write(day)
    return downstream


def printed(downstream, folder, page_section: str, **theirs: str) -> list[dict]:
    """What the lines of the page print, with our addresses; all but the last build the program."""
    lines = documented("docs/downstream.md", page_section)
    for default, ours in {
        "localhost:9092": downstream.bootstrap_servers,
        "http://localhost:8081": downstream.registry_url,
        r"^kite\.ticks\.": "^" + downstream.prefix + r"\.ticks\.",
    }.items():
        assert default in lines[-1], f"{page_section}: the last line names {default}"
        lines[-1] = lines[-1].replace(default, ours)
    output = run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(lines)], user_folder(folder), **theirs
    )
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


@pytest.mark.parametrize(("section", "program"), [("## Go", "go"), ("## Node", "npm")])
def test_the_checksum_is_that_of_every_reader(written, tmp_path, section, program):
    if shutil.which(program) is None:
        unavailable(f"{program} is not here")
    received = printed(written, tmp_path, section)
    assert len(received) == len(written.written)
    assert checksum(received) == agreed()
