"""A reverse proxy before a schema registry: TLS, basic authentication, and accounts that only read.

What a registry's own security or a company's gateway does, on a registry that has neither.
"""

import base64
import contextlib
import http.client
import http.server
import re
import ssl
import threading
from urllib.parse import urlsplit

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

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_):
                pass

            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
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
                self.send_response(status)
                if status == 401:
                    self.send_header("WWW-Authenticate", "Basic")
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - http.server's names

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                """A client that hangs up in the middle of a handshake is what is tested."""

        self._server = Server(("127.0.0.1", 0), Handler)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        # the handshake is the connection's own thread's: one that never ends stops nobody else
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.port = self._server.server_address[1]
        self.path = parts.path
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True)
        self._thread.start()

    def url(self, host="localhost"):
        """Where clients go; by a name that the certificate has or has not."""
        return f"https://{host}:{self.port}{self.path}"

    def credentials(self, header):
        """User and password of an Authorization header; twice None where it is none."""
        kind, _, encoded = (header or "").partition(" ")
        if kind != "Basic":
            return None, None
        user, _, password = base64.b64decode(encoded).decode().partition(":")
        return user, password

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
