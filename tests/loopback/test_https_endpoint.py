"""What every server over HTTP that a setting names has in common, on a real server with TLS."""

import pytest

from connector.kafka.https_endpoint import HttpsEndpoint, NoAnswerError, session
from tests.support.certificates import Authority
from tests.support.http_serving import Handler, HttpServing


@pytest.fixture
def serving(tmp_path):
    """Starts a server over TLS; gives its URL and the file of the authority that signed it."""
    servers = []

    def start(*, host="localhost", expired=False, tls=True, status=200, headers=None, body=b"{}"):
        class Fixed(Handler):
            def answer(self):
                self.reply(status, body, headers or {})

        authority = Authority("tests", expired=expired)
        ca, pair = tmp_path / f"ca{len(servers)}.pem", tmp_path / f"server{len(servers)}.pem"
        ca.write_text(authority.certificate)
        pair.write_text("".join(authority.server(host)))
        servers.append(HttpServing(Fixed, pair if tls else None))
        return servers[-1].url(), ca

    yield start
    for server in servers:
        server.close()


async def ask(url, ca_file, max_bytes=100):
    endpoint = HttpsEndpoint(url, "here.url", ca_file, "here.ca_file")
    async with session() as http:
        return await endpoint.ask(
            http, "GET", "/x", headers={}, max_bytes=max_bytes, timeout_seconds=5
        )


async def test_an_answer_is_read_whatever_its_status(serving):
    url, ca = serving(status=418, body=b"a teapot")
    assert await ask(url, ca) == (418, b"a teapot", "", 0)


async def test_a_redirect_is_told_and_not_followed(serving):
    url, ca = serving(status=302, headers={"Location": "https://elsewhere.example"}, body=b"")
    assert await ask(url, ca) == (302, b"", "https://elsewhere.example", 0)


async def test_too_long_an_answer_is_none(serving):
    url, ca = serving(body=b"x" * 101)
    with pytest.raises(NoAnswerError, match="HTTP 200: an answer of more than 100 bytes"):
        await ask(url, ca)


async def test_a_certificate_that_is_not_trusted_names_the_setting(serving):
    url, _ = serving()
    _, other = serving()
    with pytest.raises(NoAnswerError, match=r"not trusted: here\.ca_file must hold the authority"):
        await ask(url, other)


async def test_a_certificate_of_another_name_names_the_setting(serving):
    url, ca = serving(host="elsewhere")
    with pytest.raises(NoAnswerError, match=r"here\.url must have a name that is in its cert"):
        await ask(url, ca)


async def test_a_certificate_that_has_expired_is_the_servers_to_renew(serving):
    url, ca = serving(expired=True)
    with pytest.raises(NoAnswerError, match="it has expired, the server needs a new one"):
        await ask(url, ca)


async def test_a_port_without_tls_is_told_with_the_setting(serving):
    url, ca = serving(tls=False)
    with pytest.raises(NoAnswerError, match=r"speaks no TLS: here\.url begins with http:// then"):
        await ask(url.replace("http:", "https:"), ca)


async def test_a_port_with_tls_that_is_asked_without_is_told_with_the_setting(serving):
    url, ca = serving()
    with pytest.raises(NoAnswerError, match=r"if it speaks TLS, here\.url begins with https://"):
        await ask(url.replace("https:", "http:"), ca)


@pytest.mark.parametrize("body", [b"{}", b"x" * 101])
async def test_a_busy_server_may_say_how_long_to_leave_it_alone(serving, body):
    url, ca = serving(status=503, headers={"Retry-After": "7"}, body=body)
    try:
        answer = await ask(url, ca)
    except NoAnswerError as error:
        answer = error
    assert answer.retry_after_seconds == 7
