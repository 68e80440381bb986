"""What a machine can check of the words: docs/design.md has the list, and what they are for."""

import ast
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from connector.control.commands import CommandBase
from connector.control.records import SubscriptionRecord
from connector.control.reply import Reply, SlotStatus, StatusPayload
from connector.kite.config import ConnectionConfig, KiteManagerConfig
from connector.service import metrics
from connector.settings.section import Section
from connector.simulator.config import SimulatedAccount, SimulatorConfig
from connector.simulator.faults import FaultSpec

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "connector").rglob("*.py"))
COMPATIBLE = "connector/compat/"
"""Has the names and the log lines of Kite's official client."""
LOG_CALLS = {"debug", "info", "warning", "error", "exception", "critical"}
EVENT = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)+")
BARE = re.compile(r"(Of|By|On|For|In|To|From|Until|Between) ")
DURATION = re.compile(
    r"(^|_)(timeout|delay|interval|wait|patience|pause|age|backoff|duration|threshold|period|grace"
    r"|lag|latency|retention)s?$"
)
"""Last words of names that count time, where no unit stands behind them."""


def docstrings(path):
    """(qualified name, whether it is public, text) of each docstring, attributes' too."""
    tree = ast.parse(path.read_text("utf-8"))
    found = [("<module>", True, ast.get_docstring(tree))]

    def look(node, prefix, public):
        for one, after in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(one, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                name = f"{prefix}{one.name}"
                found.append((name, public and one.name[0] != "_", ast.get_docstring(one)))
                if isinstance(one, ast.ClassDef) or one.name == "__init__":
                    look(one, f"{name}.", (public and one.name[0] != "_") or one.name == "__init__")
            elif isinstance(one, ast.Assign | ast.AnnAssign) and isinstance(after, ast.Expr):
                target = ast.unparse(one.targets[0] if isinstance(one, ast.Assign) else one.target)
                name = target.removeprefix("self.")
                text = after.value.value if isinstance(after.value, ast.Constant) else None
                found.append((f"{prefix}{name}", public and name[0] != "_", text))

    look(tree, "", True)
    return [(name, public, text) for name, public, text in found if isinstance(text, str)]


def models(base):
    yield base
    for each in base.__subclasses__():
        yield from models(each)


DESCRIBED = {
    model.__name__: model
    for root in (
        Section, ConnectionConfig, KiteManagerConfig, SimulatorConfig, SimulatedAccount, FaultSpec,
        CommandBase, Reply, StatusPayload, SlotStatus, SubscriptionRecord,
    )
    for model in models(root)
}  # fmt: skip


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_public_docstring_is_a_sentence_that_stands_alone(path):
    short = [
        f"{name}: {text}"
        for name, public, text in docstrings(path)
        if public
        and (len(text.split()) < 4 or BARE.match(text) or re.match(r"(?!librdkafka)[a-z]", text))
    ]
    assert not short, "less than a sentence:\n" + "\n".join(short)


@pytest.mark.parametrize("name", sorted(DESCRIBED))
def test_a_field_describes_itself_in_a_whole_sentence(name):
    wrong = []
    for field, info in DESCRIBED[name].model_fields.items():
        text = info.description
        if text is None and not issubclass(DESCRIBED[name], Section | SimulatorConfig):
            continue  # what has a name that says it
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            continue  # a section, whose docstring describes it
        if not text or not text.endswith(".") or BARE.match(text) or len(text.split()) < 4:
            wrong.append(f"{field}: {text}")
    assert not wrong, "\n".join(wrong)


def test_a_metric_describes_itself_in_a_whole_sentence():
    tree = ast.parse(Path(metrics.__file__).read_text("utf-8"))
    helps = [
        call.args[1]
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id in {"_counter", "_counters", "_gauge", "_gauges", "_histogram"}
    ]
    texts = [ast.literal_eval(text) for text in helps if isinstance(text, ast.Constant)]
    texts += [text for _, _, text in metrics._OF_A_CONNECTION]
    assert len(texts) > 25
    wrong = [t for t in texts if not t.endswith(".") or BARE.match(t) or len(t.split()) < 3]
    assert not wrong, "\n".join(wrong)


def test_a_duration_has_its_unit_in_its_name():
    wrong = [
        f"{model}.{field}"
        for model, fields in DESCRIBED.items()
        for field, info in fields.model_fields.items()
        if DURATION.search(field) and info.annotation in (int, float)
    ]
    for path in SOURCES:
        wrong += [
            f"{path.relative_to(ROOT)}:{node.lineno} {node.arg}"
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.arg)
            and node.annotation is not None
            and ast.unparse(node.annotation) in {"float", "int", "float | None", "int | None"}
            and DURATION.search(node.arg)
            and path.name != "diagnosis.py"  # confluent_kafka's own signature of poll
            and COMPATIBLE not in path.as_posix()
        ]
    assert not wrong, "no unit in the name:\n" + "\n".join(wrong)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_log_event_is_a_name_that_can_be_searched_for(path):
    wrong = []
    if COMPATIBLE in path.as_posix():
        return
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not (isinstance(node, ast.Call) and node.args):
            continue
        called, event = ast.unparse(node.func), node.args[0]
        logger, _, name = called.rpartition(".")
        if (
            (name == "log" if not logger else name in LOG_CALLS)
            and re.search(r"log(ger)?\b|get_logger|edge_log", called)
            and "logging" not in called  # the library's, for programs without structlog
            and isinstance(event, ast.Constant)
            and not EVENT.fullmatch(str(event.value))
        ):
            wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} {event.value!r}")
    assert not wrong, "no snake_case names:\n" + "\n".join(wrong)


def test_a_class_has_its_name_alone():
    places = {}
    for path in SOURCES:
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(path.relative_to(ROOT).as_posix())
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
