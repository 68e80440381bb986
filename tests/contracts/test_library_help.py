"""What `help()` tells of the library's public names: fields, None, errors, and no test seams."""

import ast
import dataclasses
import enum
import inspect
import re
import textwrap

import pytest
from pydantic import BaseModel

import connector

SEAMS = {"clock", "random", "opener"}
# a NewType and a union have no help of their own
NAMES = sorted(set(connector.__all__) - {"ChannelId", "TickerMessage"})


def described(doc):
    """The names that a docstring's sections describe, and those it quotes."""
    return set(re.findall(r"^ *(\w+): ", doc, re.MULTILINE)) | set(re.findall(r"`(\w+)`", doc))


def fields_of(kind):
    """What objects of a class have, by the kind of class that it is."""
    if issubclass(kind, enum.Enum):
        return set(kind.__members__)
    if issubclass(kind, BaseModel):
        return set(kind.model_fields)
    if dataclasses.is_dataclass(kind):
        return {field.name for field in dataclasses.fields(kind)}
    if issubclass(kind, tuple):
        return set(kind._fields)
    if kind.__init__ is object.__init__ or getattr(kind, "_is_protocol", False):
        return set()
    code = getattr(kind.__init__, "__code__", None)
    return set(inspect.signature(kind).parameters) if code else set()


def callables_of(name, value):
    """A public function, or the public methods and properties of a class."""
    if not inspect.isclass(value):
        yield name, value
        return
    for owner in value.__mro__:
        if not owner.__module__.startswith("connector"):
            continue
        for attribute, member in vars(owner).items():
            if isinstance(member, staticmethod | classmethod):
                member = member.__func__
            if isinstance(member, property):
                member = member.fget
            if inspect.isfunction(member) and not attribute.startswith("_"):
                yield f"{name}.{attribute}", member


CALLABLES = [
    (full_name, function)
    for name in NAMES
    for full_name, function in callables_of(name, getattr(connector, name))
    if inspect.isfunction(function)
]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_tells_its_fields(name):
    value = getattr(connector, name)
    doc = value.__doc__
    assert doc
    assert len(doc.split()) > 4, doc
    if inspect.isclass(value):
        missing = fields_of(value) - described(doc)
        assert not missing, f"{name}: say what these are: {', '.join(sorted(missing))}"


@pytest.mark.parametrize(("name", "function"), CALLABLES, ids=[name for name, _ in CALLABLES])
def test_every_method_says_what_it_does_when_none_comes_and_what_it_raises(name, function):
    doc = function.__doc__
    assert doc, name
    signature = inspect.signature(function)
    returned = str(signature.return_annotation)
    if returned.endswith("| None"):
        assert "None" in doc or "False" in doc, f"{name}: say when it returns None"
    assert not SEAMS & set(signature.parameters), name
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    raised = {
        node.exc.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and isinstance(node.exc.func, ast.Name)
    }
    assert all(error in doc for error in raised), f"{name}: {raised}"


@pytest.mark.parametrize("name", NAMES)
def test_no_public_signature_has_what_only_tests_need(name):
    value = getattr(connector, name)
    if inspect.isclass(value) and value.__init__ is not object.__init__:
        assert not SEAMS & set(inspect.signature(value.__init__).parameters)


def test_times_and_sizes_carry_their_units():
    loose = {"time", "timestamp", "delay", "timeout", "interval", "size"}
    for name, function in CALLABLES:
        assert not loose & set(inspect.signature(function).parameters), name


def test_both_twins_describe_a_tick():
    from connector.kite.wire import _pure

    assert connector.Tick.__doc__ == _pure.Tick.__doc__
    assert set(connector.Tick.__match_args__) | {"change"} <= described(connector.Tick.__doc__)
