"""Programs of users, as mypy and pyright see them, against the wheel as it is installed.

The wheel is built of what git knows and unpacked beside nothing but its requirements: what is
checked is what a user gets, without a plugin. basedpyright is pyright in a wheel with its Node.
"""

import ast
import json
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

import connector
import connector.testing

ROOT = Path(__file__).parents[2]
EVERY_NAME = ROOT / "tests" / "support" / "typed_program.py"
PAGES = [ROOT / "README.md", ROOT / "docs" / "library.md"]
SETTINGS = {
    "typeCheckingMode": "strict",
    "include": ["."],
    "reportUnusedVariable": "none",
    "reportUnusedImport": "none",
    # of basedpyright's own making, not pyright's
    "failOnWarnings": False,
}
GIVEN = {
    "api_key": "str", "access_token": "str", "key": "str", "token": "str", "key2": "str",
    "tokens": "list[int]",
}  # fmt: skip
"""What the pages take for granted."""


def blocks(page):
    """The programs of a page, and its fragments as functions; each with the names it imports."""
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)):
        if "asyncio.run(" in code and "async def main" in code:
            yield f"{page.stem}_{number}", code
            continue
        lines = code.rstrip().splitlines()
        imports = [line for line in lines if line.startswith(("import ", "from "))]
        body = [f"    {line}" for line in lines if line not in imports]
        imported = set(re.findall(r"\w+", " ".join(imports)))
        for home in ("connector", "connector.testing"):
            names = vars(sys.modules[home])["__all__"]
            used = sorted(
                name for name in names
                if re.search(rf"\b{name}\b", code) and name not in imported
            )  # fmt: skip
            imports += [f"from {home} import {', '.join(used)}"] if used else []
            imported |= set(used)
        if "asyncio." in code:
            imports.append("import asyncio")
        given = ", ".join(f"{name}: {kind}" for name, kind in GIVEN.items())
        head = f"async def fragment({given}) -> None:"
        body = body or ["    pass"]
        yield f"{page.stem}_{number}", "\n".join([*imports, "", "", head, *body, ""])


def installed(folder):
    """A virtual environment with the wheel, whose requirements are those of this one."""
    sources = folder / "sources"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard",
         "connector", "schemas", "pyproject.toml", "setup.py", "README.md", "LICENSE"],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).exists():
            (sources / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, sources / name)
    code = "import setuptools.build_meta as build; build.build_wheel('..')"
    subprocess.run(
        [sys.executable, "-c", code], cwd=sources, check=True, capture_output=True,
        env={"KITE_CONNECTOR_BUILD": "pure", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    shutil.rmtree(sources)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", symlinks=True)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    zipfile.ZipFile(wheel).extractall(site)
    requirements = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "requirements.pth").write_text(f"{requirements}\n")
    return folder / "venv" / "bin" / "python"


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """A folder of programs, the Python that they are checked with, and the checkers at work."""
    folder = tmp_path_factory.mktemp("typing")
    python = installed(folder)
    programs = folder / "programs"
    shutil.copytree(ROOT / "examples" / "python", programs, ignore=shutil.ignore_patterns("__*"))
    shutil.copy(EVERY_NAME, programs)
    for page in PAGES:
        for name, code in blocks(page):
            (programs / f"{name}.py").write_text(code)
    for path in programs.glob("*.py"):
        if "matplotlib" in (code := path.read_text()):
            # half of whose types are unknown
            path.write_text(f"# pyright: basic\n{code}")
    (programs / "pyrightconfig.json").write_text(json.dumps(SETTINGS))
    mypy = started(
        programs, "mypy", "--strict", "--config-file=", "--python-executable", str(python),
        "--cache-dir", str(ROOT / ".mypy_cache" / "typing"),
        *sorted(path.name for path in programs.glob("*.py")),
    )  # fmt: skip
    pyright = started(programs, "basedpyright", "--pythonpath", str(python), "--outputjson")
    yield SimpleNamespace(programs=programs, python=python, mypy=mypy, pyright=pyright)
    for process in (mypy, pyright):
        process.kill()
        process.wait()


def started(programs, module, *arguments):
    """A checker that is under way: the two take the two cores."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments], cwd=programs, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_the_program_uses_every_public_name():
    names = {
        alias.name
        for node in ast.walk(ast.parse(EVERY_NAME.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "connector"
        for alias in node.names
    }
    assert names == set(connector.__all__)


def test_mypy_finds_no_fault(checked):
    output, errors = checked.mypy.communicate()
    assert checked.mypy.returncode == 0, output + errors


def test_pyright_finds_no_fault(checked):
    output, _ = checked.pyright.communicate()
    seen = json.loads(output)
    faults = [
        f"{Path(one['file']).name}:{one['range']['start']['line'] + 1}: {one['message']}"
        for one in seen["generalDiagnostics"]
        if one["severity"] == "error"
    ]
    assert not faults, "\n".join(faults)
    assert seen["summary"]["filesAnalyzed"] == len(list(checked.programs.glob("*.py")))


def test_they_see_the_wheel_and_not_these_sources(checked):
    code = "import connector; print(connector.__file__)"
    seen = subprocess.run(
        [checked.python, "-c", code], cwd="/", capture_output=True, text=True, check=True
    ).stdout
    assert seen.startswith(str(checked.python.parents[1]))
