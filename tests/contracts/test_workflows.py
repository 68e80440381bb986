"""The workflows under .github fit the repository and give away no rights."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def steps(workflow: dict) -> list[dict]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.stem)
def workflow(request) -> dict:
    return yaml.safe_load(request.param.read_text())


def test_there_is_one_for_changes_one_for_new_examples_one_for_wheels_and_one_for_the_image():
    assert [path.stem for path in WORKFLOWS] == ["ci", "fuzz", "image", "release"]


def test_it_may_read_alone_where_a_job_does_not_say_more(workflow):
    assert workflow["permissions"] == {"contents": "read"}


def test_code_of_strangers_is_never_run_with_the_projects_rights(workflow):
    triggers = workflow[True]  # YAML 1.1 reads `on` so
    assert set(triggers) <= {"push", "pull_request", "schedule", "workflow_dispatch"}


def test_no_checkout_leaves_its_token_behind(workflow):
    checkouts = [step for step in steps(workflow) if "checkout" in step.get("uses", "")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_nothing_from_outside_is_pasted_into_a_script(workflow):
    pasted = [step["run"] for step in steps(workflow) if "github.event" in step.get("run", "")]
    assert not pasted


def test_make_has_the_targets():
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    ci = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    wanted = ci["jobs"]["make"]["strategy"]["matrix"]["target"]
    assert wanted
    assert set(wanted) <= targets


def test_the_image_is_built_with_arguments_that_it_has():
    known = set(re.findall(r"^ARG (\w+)=", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    image = yaml.safe_load((ROOT / ".github/workflows/image.yml").read_text())
    builds = [step["with"]["build-args"] for step in steps(image) if "build-push" in
              step.get("uses", "")]  # fmt: skip
    given = [re.findall(r"^(\w+)=", arguments, re.MULTILINE) for arguments in builds]
    assert len(given) == 2
    assert all(set(names) == known for names in given)
    # the base is named here and in the image's own default
    assert f"ARG PYTHON_IMAGE={image['env']['PYTHON_IMAGE']}\n" in (ROOT / "Dockerfile").read_text()
