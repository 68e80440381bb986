"""An object may be made over another outside than the real one."""

from connector.kite.client.outside import Surroundings, made_with
from connector.testing import FakeClock


class Reaching:
    _outside = Surroundings()

    def __init__(self, name, *, loud=False):
        self.name, self.loud = name, loud
        self.clock = self._outside.clock


def test_the_constructor_finds_what_it_was_made_with():
    clock = FakeClock()
    made = made_with(Surroundings(clock=clock), Reaching, "one", loud=True)
    assert (made.name, made.loud, made.clock) == ("one", True, clock)
    assert Reaching("two").clock is Reaching._outside.clock is not clock
