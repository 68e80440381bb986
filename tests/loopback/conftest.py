import pytest

from tests.support.replicas import Steering, broker


@pytest.fixture
def kafka():
    """A broker inside this process, with the topics of a small cluster."""
    with broker() as running:
        yield running


@pytest.fixture
def steering(kafka):
    steers = Steering(kafka.bootstrap_servers)
    yield steers
    steers.close()
