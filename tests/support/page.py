"""What the page shows, as a test says."""

from connector.cluster.view import Seen
from connector.kite.web.instruments import InstrumentMaster


class View:
    """What the cluster has written, as a test says."""

    def __init__(self):
        self.seen = Seen(loaded=True)
        self.looks = 0
        self.closed = False

    def look(self):
        self.looks += 1
        return self.seen

    def close(self):
        self.closed = True


class Owner:
    leads = False

    def __init__(self):
        self.silent = {}

    def names(self):
        return InstrumentMaster()

    def subscriptions(self):
        return None

    def unserved(self):
        return ()

    def silent_tokens(self, slot):
        return self.silent.get(slot)
