import pytest

from connector.kite.feed import socket as socket_module
from tests.support.frame_readers import name_of, twins


@pytest.fixture(params=twins(), ids=name_of)
def frame_reader(request, monkeypatch):
    """The class of each twin, in use by every socket: what is tested so holds for both."""
    monkeypatch.setattr(socket_module, "FrameReader", request.param)
    return request.param
