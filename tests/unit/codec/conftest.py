import importlib

import pytest

from tests.support.ticks import SCHEMA_IDS, TOPICS


@pytest.fixture(params=["native", "pure"])
def module(request):
    """The module of each twin: what is tested here holds for both."""
    try:
        return importlib.import_module(f"connector.codec._{request.param}")
    except ImportError:
        pytest.skip("the compiled codec is not built")


@pytest.fixture
def twin(module):
    return module.Transcoder


@pytest.fixture
def identity_of(module):
    return module.identity_of


@pytest.fixture
def transcoder(twin):
    made = twin(TOPICS, SCHEMA_IDS, 2)
    made.open_session(1_700_000_000_123)
    return made
