from connector.cluster.layout import layout, partitions, slots_by_account
from connector.settings.models import AccountSettings, Settings


def accounts(*connections):
    return tuple(
        AccountSettings(name=f"a{n}", api_key=f"key{n}", connections=count)
        for n, count in enumerate(connections)
    )


def test_each_account_has_three_numbers_of_its_own():
    assert slots_by_account(accounts(3)) == {0: 0, 1: 0, 2: 0}
    assert slots_by_account(accounts(3, 3)) == {0: 0, 1: 0, 2: 0, 3: 1, 4: 1, 5: 1}
    assert partitions(accounts(3, 3)) == 6


def test_fewer_connections_renumber_nobody():
    assert slots_by_account(accounts(1, 2)) == {0: 0, 3: 1, 4: 1}
    assert partitions(accounts(1, 2)) == 6


def test_the_leaders_layout():
    settings = Settings(accounts=accounts(2), connection={"max_symbols_per_connection": 5})
    assert layout(settings) == ((0, 1), 5, None, (("a0", (0, 1)),))
