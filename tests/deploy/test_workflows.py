"""The workflows under .github as actionlint reads them: expressions, actions' inputs, and their
scripts through shellcheck. That they fit the repository is checked in tests/contracts."""

import subprocess

import pytest

from tests.deploy.chart import ROOT, tool

pytestmark = pytest.mark.deploy


def actionlint(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [tool("actionlint"), "-shellcheck", tool("shellcheck"), "-pyflakes=", "-no-color",
         "-oneline", *arguments],
        input=text, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize(
    "workflow", sorted((ROOT / ".github/workflows").glob("*.yml")), ids=lambda path: path.stem
)
def test_it_has_no_findings(workflow):
    done = actionlint(str(workflow))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("script", "rule"),
    [("echo ${{ steps.none.outputs.x }}", "[expression]"), ("cd $1 && ls", "SC2086")],
)
def test_it_finds_what_is_wrong_in_a_script(script, rule):
    text = (
        f"on: push\njobs:\n  one:\n    runs-on: ubuntu-24.04\n    steps:\n      - run: {script}\n"
    )
    done = actionlint("-", text=text)
    assert done.returncode == 1
    assert rule in done.stdout
