"""A server over HTTP in threads of its own, with TLS where it is given a certificate."""

import http.server
import ssl
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    """Reads whole bodies and answers with whole ones, in `answer`, and logs nothing."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self):
        raise NotImplementedError

    def do_GET(self):
        self.answer()

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - http.server's names

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def reply(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A client that hangs up in the middle of a handshake is what is tested."""


class HttpServing:
    """Serves on a port of its own until it is closed.

    Args:
        handler: a class of `Handler`.
        certificate: file with the server's certificate and key, PEM; None: without TLS.
    """

    def __init__(self, handler, certificate=None):
        self._server = _Server(("127.0.0.1", 0), handler)
        self.scheme = "http"
        if certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate)
            # the handshake is the connection's own thread's: one that never ends stops nobody else
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
            self.scheme = "https"
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True)
        self._thread.start()

    def url(self, host="localhost"):
        """Where clients go; by a name that the certificate has or has not."""
        return f"{self.scheme}://{host}:{self.port}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
