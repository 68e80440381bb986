"""A feed without a network: an opener whose sockets tests work by hand, and that keeps count."""

import asyncio
import json

from connector.kite.wire.models import Mode
from tests.support import packets

MODES = {8: Mode.LTP, 28: Mode.QUOTE, 32: Mode.FULL, 44: Mode.QUOTE, 184: Mode.FULL}


def packet(token, mode):
    """A packet of a tradable instrument in a mode."""
    return {Mode.LTP: packets.ltp, Mode.QUOTE: packets.quote, Mode.FULL: packets.full}[mode](token)


def modes_of(frame):
    """(token, mode) of each packet."""
    found, start = [], 2
    for _ in range(int.from_bytes(frame[:2])):
        size = int.from_bytes(frame[start : start + 2])
        found.append((int.from_bytes(frame[start + 2 : start + 6]), MODES[size]))
        start += 2 + size
    return found


class FakeSocket:
    """One open socket; `subscriptions` is what the feed would hold after the requests sent."""

    def __init__(self, listener):
        self.listener = listener
        self.requests = []
        self.pings = 0
        self.paused = True
        self.pauses = 0
        self.resumes = 0
        self.closed = False
        self.aborted = False
        self.may_close = asyncio.Event()
        self.may_close.set()
        self.subscriptions = {}

    # FeedSocket

    def send(self, text):
        request = json.loads(text)
        self.requests.append((request["a"], request["v"]))
        match request["a"]:
            case "subscribe":
                for token in request["v"]:
                    self.subscriptions.setdefault(token, Mode.QUOTE)
                assert len(self.subscriptions) <= 3000
            case "unsubscribe":
                for token in request["v"]:
                    self.subscriptions.pop(token, None)
            case "mode":
                mode, tokens = request["v"]
                for token in tokens:
                    if token in self.subscriptions:
                        self.subscriptions[token] = Mode(mode)

    def ping(self):
        self.pings += 1

    def pause(self):
        self.paused = True
        self.pauses += 1

    def resume(self):
        self.paused = False
        self.resumes += 1

    async def close(self):
        if not self.closed:
            self.closed = True
            self.listener.socket_lost(1000, "")
        await self.may_close.wait()

    def abort(self):
        self.aborted = True

    # the feed's side

    def deliver(self, *frame_packets):
        self.listener.binary_received(packets.frame(*frame_packets))

    def heartbeat(self):
        self.listener.binary_received(b"\0")

    def text(self, message):
        self.listener.text_received(message if isinstance(message, str) else json.dumps(message))

    def confirm(self):
        """A packet of each subscription, in its mode."""
        self.deliver(*(packet(token, mode) for token, mode in self.subscriptions.items()))

    def drop(self, code=None, reason="closed without a word"):
        self.listener.socket_lost(code, reason)


class FakeFeed:
    """Use as `opener`. `answers` are errors to raise, in order; then everything succeeds."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.sockets = []
        self.tries = []
        self.never = False

    async def __call__(self, root, api_key, access_token, listener, timeout_seconds):
        self.tries.append((api_key.get_secret_value(), access_token.get_secret_value()))
        if self.never:
            await asyncio.get_running_loop().create_future()
        if self.answers:
            answer = self.answers.pop(0)
            if answer is not None:
                raise answer
        socket = FakeSocket(listener)
        self.sockets.append(socket)
        return socket

    @property
    def socket(self):
        """The latest one."""
        return self.sockets[-1]


class RecordingHandler:
    """Keeps what it is told; `confirms` packets by their length, as the real ones do."""

    def __init__(self):
        self.calls = []
        self.events = []
        self.frames = []
        self.messages = []
        self.modes = {}
        self.fail_in = set()

    def _call(self, name, *arguments):
        self.calls.append((name, *arguments))
        if name in self.fail_in:
            raise RuntimeError(f"{name} fails")

    def opened(self, session_id):
        self.modes.clear()
        self._call("opened", session_id)

    def expect(self, tokens):
        for token in tokens:
            self.modes.pop(token, None)
        self._call("expect", list(tokens))

    def forget(self, tokens):
        self._call("forget", list(tokens))

    def frame(self, data, receive_time_us):
        self.frames.append((data, receive_time_us))
        self._call("frame")
        changed = []
        for token, mode in modes_of(data):
            if self.modes.get(token) is not mode:
                self.modes[token] = mode
                changed.append((token, mode))
        return changed

    def message(self, message, raw):
        self.messages.append((message, raw))
        self._call("message")

    def event(self, event):
        self.events.append(event)
        self._call("event")

    @property
    def event_types(self):
        return [event.type.value for event in self.events]

    def names(self):
        return [call[0] for call in self.calls]
