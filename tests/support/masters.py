"""An instrument master that a test fills by hand."""


class FakeMaster:
    def __init__(self, tokens=(), expiries=()):
        self.tokens = dict(tokens)
        """EXCHANGE:TRADINGSYMBOL to its token, or to several."""
        self.expiries = dict(expiries)

    def listed(self, symbol):
        tokens = self.tokens.get(symbol, self.tokens.get(symbol.upper(), ()))
        return (tokens,) if isinstance(tokens, int) else tokens

    def token(self, symbol):
        return next(iter(self.listed(symbol)), None)

    def symbol(self, token):
        return next((symbol for symbol in self.tokens if token in self.listed(symbol)), None)

    def expiry(self, token):
        return self.expiries.get(token)

    def of_exchange(self, exchange):
        return ()

    def contracts_of(self, exchange, underlying):
        return ()

    def named(self, symbol):
        return None

    def __len__(self):
        return len(self.tokens)
