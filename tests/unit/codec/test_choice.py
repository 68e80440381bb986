"""Which twin a process gets, and that it is told."""

import importlib.util
import logging
import os
import sys

import pytest

import connector.codec as codec
from connector.codec import _pure
from connector.errors import CodecUnavailableError, SettingsError
from connector.kite.wire import packets, twins

BUILT = importlib.util.find_spec("connector.codec._native") is not None
built = pytest.mark.skipif(not BUILT, reason="the compiled codec is not built")


@pytest.fixture
def unbuilt(monkeypatch):
    # None in sys.modules is Python's own way to make an import fail
    monkeypatch.setitem(sys.modules, "connector.codec._native", None)
    monkeypatch.delattr(codec, "_native", raising=False)


@built
def test_the_compiled_twin_is_loaded_where_it_is_built():
    choice = os.environ.get("KITE_CONNECTOR_CODEC", "auto")
    expected = "pure" if choice == "pure" else "native"
    assert (expected, expected) == (codec.IMPLEMENTATION, packets.IMPLEMENTATION)


@built
@pytest.mark.parametrize("choice", ["native", "auto"])
def test_native(choice):
    name, twin = twins.load(choice, "connector.codec")
    assert name == "native"
    assert twin.__name__ == "connector.codec._native"


def test_pure():
    assert twins.load("pure", "connector.codec") == ("pure", _pure)


def test_auto_says_loudly_that_it_is_slow(unbuilt, caplog):
    with caplog.at_level(logging.WARNING):
        assert twins.load("auto", "connector.codec") == ("pure", _pure)
    assert "slow path" in caplog.text


def test_native_that_is_missing_is_an_error(unbuilt):
    with pytest.raises(CodecUnavailableError, match="set the variable to auto"):
        twins.load("native", "connector.codec")


@pytest.mark.parametrize("choice", ["", "fast", "Native"])
def test_other_words_are_a_wrong_setting(choice):
    with pytest.raises(SettingsError, match="KITE_CONNECTOR_CODEC"):
        twins.load(choice, "connector.codec")
