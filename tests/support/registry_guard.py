"""A reverse proxy before a schema registry: TLS, basic authentication, and accounts that only read.

What a registry's own security or a company's gateway does, on a registry that has neither.
"""

import base64
import contextlib
import http.client
import re
from urllib.parse import urlsplit

from tests.support.http_serving import Handler, HttpServing

# a lookup is a POST too: of a schema, to see under which id it is there
_READING = re.compile(r"^(GET .*|POST [\w/]*/(subjects/[^/]+|compatibility/.*))$")


class RegistryGuard:
    """Serves one registry until it is closed.

    Args:
        upstream: URL of the registry's API.
        certificate: file with the server's certificate and key, PEM.
        readers: user → password; they may read.
        writers: likewise; they may do everything.
        subject_of: bearer token → whose it is, or None; they may do everything.
    """

    def __init__(self, upstream, certificate, *, readers=(), writers=(), subject_of=None):
        readers, writers = dict(readers), dict(writers)
        self.requests = []
        """(user, method, path, status), in order."""
        self.headers = []
        """The headers of each request."""
        parts = urlsplit(upstream)
        guard = self

        class Guarded(Handler):
            def answer(self):
                body = self.body()
                guard.headers.append(dict(self.headers))
                kind, _, token = (self.headers.get("Authorization") or "").partition(" ")
                if kind == "Bearer" and subject_of is not None:
                    user = subject_of(token)
                    known = user is not None
                else:
                    user, password = guard.credentials(self.headers.get("Authorization"))
                    known = user is not None and {**readers, **writers}.get(user) == password
                path = self.path.partition("?")[0]
                content_type = "application/vnd.schemaregistry.v1+json"
                if not known:
                    status, reply = 401, b'{"error_code": 401, "message": "Unauthorized"}'
                elif (
                    kind == "Basic"
                    and user not in writers
                    and not _READING.match(f"{self.command} {path}")
                ):
                    status, reply = 403, b'{"error_code": 403, "message": "Forbidden"}'
                else:
                    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
                    with contextlib.closing(connection):
                        headers = {"Content-Type": self.headers.get("Content-Type", content_type)}
                        connection.request(self.command, self.path, body, headers)
                        response = connection.getresponse()
                        status, reply = response.status, response.read()
                        content_type = response.headers.get("Content-Type", content_type)
                guard.requests.append((user, self.command, path, status))
                headers = {"WWW-Authenticate": "Basic"} if status == 401 else {}
                self.reply(status, reply, {**headers, "Content-Type": content_type})

        self._serving = HttpServing(Guarded, certificate)
        self.port = self._serving.port
        self.path = parts.path

    def url(self, host="localhost"):
        """Where clients go; by a name that the certificate has or has not."""
        return self._serving.url(host) + self.path

    def credentials(self, header):
        """User and password of an Authorization header; twice None where it is none."""
        kind, _, encoded = (header or "").partition(" ")
        if kind != "Basic":
            return None, None
        user, _, password = base64.b64decode(encoded).decode().partition(":")
        return user, password

    def close(self):
        self._serving.close()
