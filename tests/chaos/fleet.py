"""The processes: `kite-connector run` as an operator runs it, each with a log and a spool."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time

import aiohttp
import yaml

ANSWER_SECONDS = 5.0


class Process:
    """One `kite-connector run` in its place; a place keeps its spool, as a pod its volume."""

    def __init__(self, name, place, directory):
        self.name = name
        self.place = place
        self.log_path = directory / f"{name}.log"
        self.process = None
        self.url = None
        self.code = None
        self.frozen = False
        self.asked_to_end = False
        self.killed = False
        self.busy = False
        """Something is being done to it."""

    @property
    def alive(self):
        return self.process is not None and self.code is None

    @property
    def free(self):
        return self.alive and not (self.busy or self.asked_to_end)

    def send_signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def lines(self):
        """The log, decoded."""
        found = []
        for line in self.log_path.read_text(errors="replace").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                found.append({"level": "not JSON", "message": line})
        return found

    def balance(self):
        """What it said of its records at its end; None where it did not come to that."""
        ends = [line for line in self.lines() if "received" in line and "dead_lettered" in line]
        return ends[-1] if ends else None

    def losses(self):
        """Records that it says it lost, by reason."""
        return dict((self.balance() or {}).get("dropped") or {})

    def status_url(self):
        if self.url is None:
            for line in self.lines():
                if line.get("message") == "service_starting":
                    self.url = line["status"]
        return self.url


class Fleet:
    """Starts processes and knows how they are.

    Args:
        directory: for settings, logs and spools.
        settings: of a replica, but for what is its own.
        feed: the WebSocket root.
    """

    def __init__(self, directory, settings, feed):
        self.directory = directory
        self.all = []
        # once: a whole market's takes the event loop, and the simulator on it, half a minute
        self._config = directory / "kite.yaml"
        self._config.write_text(yaml.safe_dump(settings))
        self._feed = feed
        self._watchers = set()
        self._http = None

    async def __aenter__(self):
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS))
        return self

    async def __aexit__(self, *_):
        for process in self.all:
            if process.alive:
                process.send_signal(signal.SIGKILL)
        for process in self.all:
            if process.process is not None:
                await process.process.wait()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        await self._http.close()

    @property
    def alive(self):
        return [process for process in self.all if process.alive]

    def named(self, name):
        return next(process for process in self.all if process.name == name)

    def disk(self, place):
        return self.directory / f"disk-{place}"

    def spool(self, place):
        return self.disk(place) / "spool"

    async def start(self, place, instance=None, clock=None):
        """Start one in a place; `instance` names it to the group, `clock` is its own."""
        process = Process(f"r{len(self.all) + 1}", place, self.directory)
        self.all.append(process)
        environment = {name: value for name, value in os.environ.items() if name[:5] != "KITE_"}
        environment["KITE_FEED__ROOT"] = f"{self._feed}/{process.name}"
        environment["KITE_SPOOL__DIRECTORY"] = str(self.spool(place))
        if instance is not None:
            environment["KITE_CLUSTER__INSTANCE"] = instance
        environment |= {} if clock is None else clock.environment
        # where native code crashes in a thread of Python's own, the log has its stack
        environment["PYTHONFAULTHANDLER"] = "1"
        with process.log_path.open("wb") as log:
            process.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "connector.cli", "run",
                "--config", str(self._config), "--log-format", "json", "--log-level", "info",
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.directory, env=environment,
            )  # fmt: skip

        async def watch():
            process.code = await process.process.wait()

        watcher = asyncio.create_task(watch())
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        return process

    async def status(self, process):
        """What it says of itself; None where it does not answer."""
        url = process.status_url()
        if url is None or process.frozen or not process.alive:
            return None
        try:
            async with self._http.get(url) as answer:
                return await answer.json()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None

    async def statuses(self):
        """Process to status, of all that are alive and answer."""
        alive = self.alive
        answers = await asyncio.gather(*(self.status(process) for process in alive))
        return {
            process: status
            for process, status in zip(alive, answers, strict=True)
            if status is not None
        }

    async def leader(self):
        """The process that leads."""
        (leader,) = [
            process
            for process, status in (await self.statuses()).items()
            if status["cluster"]["leader"]
        ]
        return leader

    async def find(self, role):
        """A process in a role that nothing is done to; any where nobody leads or owns."""
        candidates = [process for process in self.alive if process.free]
        if role != "any":
            statuses = await self.statuses()
            for process in candidates:
                cluster = (statuses.get(process) or {}).get("cluster")
                if cluster is None or not process.free:
                    continue
                if {
                    "leader": cluster["leader"],
                    "owner": cluster["slots"],
                    "follower": cluster["slots"] and not cluster["leader"],
                }[role]:
                    return process
        if role == "follower":
            return None
        candidates = [process for process in candidates if process.free]
        return candidates[0] if candidates else None

    async def ended(self, process, seconds):
        """Its exit code; None where it is still there."""
        end = time.monotonic() + seconds
        while process.code is None and time.monotonic() < end:  # noqa: ASYNC110 - or not in time
            await asyncio.sleep(0.05)
        return process.code
