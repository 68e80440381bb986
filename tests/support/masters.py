"""An instrument master that a test fills by hand."""


class FakeMaster:
    def __init__(self, tokens=()):
        self.tokens = dict(tokens)

    def token(self, symbol):
        return self.tokens.get(symbol)

    def symbol(self, token):
        return next((symbol for symbol, known in self.tokens.items() if known == token), None)

    def __len__(self):
        return len(self.tokens)
