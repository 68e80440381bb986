import importlib

import pytest


@pytest.fixture(params=["native", "pure"], scope="module")
def module(request):
    """The module of each twin, for all examples of a test."""
    try:
        return importlib.import_module(f"connector.codec.rows._{request.param}")
    except ImportError:
        pytest.skip("the compiled codec is not built")
