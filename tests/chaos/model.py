"""What the commands so far ask for: claims by watchlist, the highest mode, bounded room.

Written from the description of the commands and not from the reducer: it knows no slots, so it
also says that where an instrument is carried changes nothing of what is carried.
"""

from typing import NamedTuple

RANKS = {"ltp": 0, "quote": 1, "full": 2}


class Expected(NamedTuple):
    """What a reply has to say; None: not foretold."""

    status: str
    revision: int | None
    accepted: int | None
    refused: int = 0
    added: frozenset = frozenset()
    removed: frozenset = frozenset()


class Model:
    def __init__(self, capacity, slots=3):
        self.capacity = capacity
        self.slots = slots
        self.claims = {}
        """token → watchlist → mode"""
        self.revision = 0
        self._answers = {}

    def modes(self):
        """token → mode: what is to be streamed."""
        return {
            token: max(claims.values(), key=RANKS.__getitem__)
            for token, claims in self.claims.items()
        }

    def watchlists(self):
        counts = {}
        for claims in self.claims.values():
            for name in claims:
                counts[name] = counts.get(name, 0) + 1
        return counts

    def apply(self, command, moved=0):
        """Take a command; `moved` is what a rebalance said that it moved."""
        if command["id"] in self._answers:
            answer = self._answers[command["id"]]
            return answer._replace(added=frozenset(), removed=frozenset())
        answer = self._answer(command, moved)
        if not command.get("dry_run") and command["type"] != "status":
            self._answers[command["id"]] = answer
        return answer

    def _answer(self, command, moved):
        if any(isinstance(one, str) for one in command.get("instruments", ())):
            return Expected("REJECTED", self.revision, 0)
        if command.get("expires_at") is not None:
            return Expected("EXPIRED", self.revision, 0)
        if command.get("expected_revision") is not None:
            return Expected("REJECTED", self.revision, 0)
        kind = command["type"]
        if kind == "status":
            return Expected("APPLIED", self.revision, 0)
        if kind == "reconnect":
            known = command["slot"] < self.slots
            return Expected("APPLIED" if known else "REJECTED", self.revision, int(known))
        if kind == "rebalance":
            self.revision += bool(moved)
            return Expected("APPLIED", self.revision, moved)

        after = {token: dict(claims) for token, claims in self._touched(command).items()}
        accepted, refused, failed = self._change(command, after)
        if failed:
            return Expected("REJECTED", self.revision, 0, refused)
        changed = any(claims != self.claims.get(token, {}) for token, claims in after.items())
        revision = self.revision + changed
        if command.get("dry_run"):
            return Expected("APPLIED", revision, accepted, refused)
        self.revision = revision
        added, removed = set(), set()
        for token, claims in after.items():
            if claims:
                if token not in self.claims:
                    added.add(token)
                self.claims[token] = claims
            elif token in self.claims:
                del self.claims[token]
                removed.add(token)
        return Expected(
            "APPLIED", revision, accepted, refused, frozenset(added), frozenset(removed)
        )

    def _touched(self, command):
        """The claims that a command may change: those of its instruments and of its watchlist."""
        touched = {token: self.claims.get(token, {}) for token in command.get("instruments", ())}
        for token, claims in self.claims.items():
            if command["watchlist"] in claims:
                touched.setdefault(token, claims)
        return touched

    def _change(self, command, after):
        """Change the claims; returns accepted, refused, and whether nothing is to be done."""
        kind, watchlist = command["type"], command["watchlist"]
        tokens = list(dict.fromkeys(command.get("instruments", ())))
        held = [token for token, claims in after.items() if watchlist in claims]
        if kind == "delete":
            for token in held:
                del after[token][watchlist]
            return len(held), 0, not held
        if kind == "unsubscribe":
            found = [token for token in tokens if watchlist in after[token]]
            for token in found:
                del after[token][watchlist]
            return len(found), len(tokens) - len(found), not found
        if kind == "set-mode":
            if "instruments" not in command:
                tokens = held
            found = [token for token in tokens if watchlist in after[token]]
            for token in found:
                after[token][watchlist] = command["mode"]
            return len(found), len(tokens) - len(found), not found
        if kind == "replace":
            for token in set(held).difference(tokens):
                del after[token][watchlist]
        carried = len(self.claims) - sum(
            token in self.claims and not claims for token, claims in after.items()
        )
        room, refused = self.capacity - carried, 0
        for token in tokens:
            if not after[token]:
                if room <= 0:
                    refused += 1
                    continue
                room -= 1
            after[token][watchlist] = command["mode"]
        accepted = len(tokens) - refused
        return accepted, refused, bool(refused) and not accepted
