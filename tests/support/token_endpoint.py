"""A token endpoint: OAuth 2.0 client credentials, with signed tokens whose keys it publishes."""

import base64
import json
import time
from urllib.parse import parse_qsl

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.support.http_serving import Handler, HttpServing

ISSUER = "https://id.example.org"
AUDIENCE = "market-data"


def _encoded(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class TokenEndpoint:
    """Serves until it is closed; in threads of its own.

    Args:
        clients: client id → secret.
        certificate: file with the server's certificate and key, PEM; None: without TLS.
    """

    def __init__(self, clients, certificate=None):
        self.clients = dict(clients)
        self.requests = []
        """(login, form), in order."""
        self.answer = None
        """(status, body, headers) in place of a token, where a test wants that."""
        self.lifetime_seconds = 3600
        self.claims = {}
        """Client id → claims of its tokens, in place of the usual ones."""
        self.withdrawn = set()
        """Tokens that nobody is to take any more."""
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        endpoint = self

        class Tokens(Handler):
            def answer(self):
                login = base64.b64decode(self.headers["Authorization"].split()[1]).decode()
                form = dict(parse_qsl(self.body().decode()))
                endpoint.requests.append((login, form))
                self.reply(*(endpoint.answer or endpoint.answer_to(login, form)))

        self._serving = HttpServing(Tokens, certificate)

    @property
    def url(self):
        """The URL to ask for tokens."""
        return f"{self._serving.url()}/token"

    def close(self):
        self._serving.close()

    def answer_to(self, login, form):
        """Status, body and headers for one who asks."""
        client, _, secret = login.partition(":")
        headers = {"Content-Type": "application/json"}
        if self.clients.get(client) != secret:
            refusal = {"error": "invalid_client", "error_description": "no such client"}
            return 401, json.dumps(refusal).encode(), headers
        told = {
            "access_token": self.token(client),
            "token_type": "Bearer",
            "expires_in": self.lifetime_seconds,
        }
        return 200, json.dumps(told).encode(), headers

    def token(self, subject):
        """A token of this endpoint's."""
        now = int(time.time())
        payload = {
            "iss": ISSUER, "aud": AUDIENCE, "sub": subject, "iat": now,
            "exp": now + self.lifetime_seconds, "jti": str(len(self.requests)),
            **self.claims.get(subject, {}),
        }  # fmt: skip
        parts = [{"alg": "RS256", "typ": "JWT", "kid": "tests"}, payload]
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in parts)
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_encoded(signature)}"

    def jwks(self):
        """The public key, as those who check tokens want it (RFC 7517)."""
        numbers = self._key.public_key().public_numbers()
        modulus, exponent = (
            _encoded(number.to_bytes((number.bit_length() + 7) // 8))
            for number in (numbers.n, numbers.e)
        )
        key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "tests", "n": modulus}
        return json.dumps({"keys": [{**key, "e": exponent}]})

    def subject_of(self, token):
        """Whose token it is; None for one of another endpoint, that has ended or was withdrawn."""
        signed, _, signature = token.rpartition(".")
        try:
            self._key.public_key().verify(
                _decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except InvalidSignature:
            return None
        payload = json.loads(_decoded(signed.partition(".")[2]))
        good = payload["exp"] > time.time() and token not in self.withdrawn
        return payload["sub"] if good else None
