"""A leader alone, without members: answers commands over the embedded broker."""

import contextlib
import threading

from connector.control.leader import Leader
from connector.control.state import Layout
from connector.control.transactions import ControlLog
from tests.support.replicas import TOPICS, settings


@contextlib.contextmanager
def leader(kafka, master, slots=(0, 1, 2), capacity=3000, name="test", topics=TOPICS):
    tree = settings(kafka.bootstrap_servers, "ws://127.0.0.1:1")
    leads = Leader(
        lambda: ControlLog(tree.kafka, topics, name),
        Layout(slots, capacity, None, (("main", slots[:-1]), ("second", slots[-1:]))),
        lambda: master,
        wanted={},
        max_bytes=1_000_000,
    )
    thread = threading.Thread(target=leads.run)
    thread.start()
    try:
        yield leads
    finally:
        leads.stop()
        thread.join()
