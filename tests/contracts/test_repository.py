"""What must hold of the repository as a whole."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
MAX_LINES = 600

# modules whose behaviour is tested elsewhere; each with where
TESTED_ELSEWHERE = {
    "connector/kite/feed/framing.py": "tests/unit/kite/feed/test_frame_reader.py",
    "connector/kite/feed/_pure.py": "tests/unit/kite/feed/test_frame_reader.py",
    "connector/kite/feed/handler.py": "a Protocol without code",
    "connector/kite/feed/stats.py": "data without code; tests/unit/kite/client/test_stats.py",
    "connector/kite/wire/layout.py": "tests/unit/kite/wire/test_packets.py",
    "connector/kite/wire/_pure.py": "tests/property/test_tick_twins.py",
    "connector/kite/wire/twins.py": "tests/unit/codec/test_choice.py",
    "connector/kafka/topic_producer.py": "tests/unit/kafka/test_isolating.py",
    "connector/kafka/producer_state.py": "data without code; tests/unit/kafka/test_producer.py",
    "connector/kite/feed/events.py": "data without code; test_event_reporter.py",
    "connector/cluster/intake.py": "a protocol; tests/loopback/test_cluster.py has one",
    "connector/service/slot_owner.py": "a protocol; test_static_slots.py has one",
    "connector/control/parsing.py": "tests/unit/control/test_commands.py",
    "connector/cli/ctl_plan.py": "tests/loopback/test_ctl.py",
    "connector/service/process.py": "tests/loopback/test_cli.py: signals and exit codes",
    "connector/cli/asyncapi.py": "tests/contracts/test_asyncapi.py",
    "connector/__main__.py": "tests/unit/cli/test_program.py runs it",
    "connector/cli/__main__.py": "tests/loopback/test_cli.py runs it",
}


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *patterns], cwd=ROOT, capture_output=True, check=True
    )
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


def test_every_module_has_a_test_of_its_own():
    missing = []
    for module in tracked("connector/*.py", "connector/**/*.py"):
        name = module.relative_to(ROOT)
        if module.name == "__init__.py" or str(name) in TESTED_ELSEWHERE:
            continue
        stem = module.stem.lstrip("_")
        folder = name.parent.relative_to("connector")
        places = [
            ROOT / "tests/unit" / folder / f"test_{stem}.py",
            ROOT / f"tests/loopback/test_{stem}.py",
            ROOT / f"tests/loopback/test_{folder.name}_{stem}.py",
        ]
        if not any(place.exists() for place in places):
            missing.append(f"{name}: no {places[0].relative_to(ROOT)}")
    assert not missing, "\n".join(missing)


def test_a_module_lives_in_a_package_that_is_a_part_of_the_product():
    assert {path.name for path in tracked("connector/*.py") if path.parent.name == "connector"} == {
        "__init__.py", "__main__.py", "errors.py", "files.py", "redaction.py",
    }  # fmt: skip


def test_the_list_of_exceptions_is_current():
    assert all((ROOT / name).exists() for name in TESTED_ELSEWHERE)


def test_the_design_names_modules_that_there_are():
    text = (ROOT / "docs/design.md").read_text()
    named = set(re.findall(r"`([\w/]+\.pyx?)`|`([a-z_]+(?:/[a-z_]+)+)`", text))
    there = {f"/{path.relative_to(ROOT)}" for path in tracked()}
    there |= {str(Path(path).with_suffix("")) for path in there}
    there |= {str(folder) for path in there for folder in Path(path).parents}
    missing = [one for one in map("".join, named) if not any(p.endswith(f"/{one}") for p in there)]
    assert len(named) > 50
    assert not missing


def test_no_admin_client_asks_a_groups_coordinator_in_the_service():
    """librdkafka may end the process meanwhile (connector/kafka/group_members.py)."""
    asks = re.compile(r"\.(\w+_consumer_groups?_offsets|(?:describe|delete)_consumer_groups)\(")
    found = {
        str(module.relative_to(ROOT))
        for module in tracked("connector/*.py", "connector/**/*.py", "connector/**/*.pyx")
        if asks.search(module.read_text())
    }
    assert found == {"connector/kafka/describe_group.py"}


def test_modules_stay_short():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in tracked("*.py", "*.pyx")
        if (lines := len(path.read_text().splitlines())) > MAX_LINES
    }
    assert not long


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        # put together here, so that this file does not name what it looks for
        (
            "a package registry",
            r"pypi\.org|pythonhosted|registry\.npmjs|repo1?\.maven\.|proxy\.golang",
        ),
        ("an index option", "--(extra-)?" + "index-url"),
        ("a home folder", r"(^|[\s\"'=(])/(root|home)/[a-z]"),
    ],
)
def test_files_name_no(what, pattern):
    found = []
    for path in tracked():
        if path == Path(__file__).resolve() or not path.is_file():
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [
            f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
            for number, line in enumerate(text.splitlines(), 1)
            if re.search(pattern, line)
        ]
    assert not found, f"{what} is named:\n" + "\n".join(found)


def locked_requirements():
    """What each file of requirements/ is made of, as the Makefile's `lock` has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    run = project["project"]["dependencies"]
    return {
        "run": run,
        "dev": run + project["project"]["optional-dependencies"]["dev"],
        "build": project["build-system"]["requires"],
        **project["dependency-groups"],
    }


@pytest.mark.parametrize("name", sorted(locked_requirements()))
def test_a_lock_has_what_is_asked_for(name):
    # a floor that was raised since, or that two packages cannot agree on
    lock = (ROOT / "requirements" / f"{name}.txt").read_text()
    pins = dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", lock, re.MULTILINE))
    for wanted in map(Requirement, locked_requirements()[name]):
        assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)]), wanted


def test_every_lock_is_made_of_something():
    locks = {file.stem for file in tracked("requirements/*.txt")}
    assert locks == locked_requirements().keys()
