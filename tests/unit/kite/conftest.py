import pytest

from tests.support.connection_kit import Kit


@pytest.fixture
async def make():
    kits = []

    def make(*answers, **options):
        kits.append(Kit(*answers, **options))
        return kits[-1]

    yield make
    for kit in kits:
        await kit.connection.close()
