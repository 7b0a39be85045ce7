import ast
import base64
import contextlib
import hashlib
import http.server
import os
import socket
import threading

import httpcore
import pytest

from server.media.artifacts import Artifacts
from server.media.fetch import NOT_ALLOWED, Fetcher, NotWanted
from server.media.inputs import Inputs
from server.settings import Settings
from tests.shared_data import shared
from wan_local.errors import BadMedia

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
MANY = 10_000


class Site(http.server.ThreadingHTTPServer):
    """A web server on this machine, and what it was asked."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Page)
        self.asked = []
        self.gone = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def rule(self):
        return f"127.0.0.1:{self.server_port}"


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append((self.path, dict(self.headers)))
        name, _, rest = self.path[1:].partition("/")
        getattr(self, f"_{name}")(rest)

    def _file(self, _rest):
        self._say(200, PNG)

    def _missing(self, _rest):
        self._say(404, b"no")

    def _to(self, target):
        self._say(302, b"", location=target)

    def _again(self, number):
        self._say(302, b"", location=f"/again/{int(number) + 1}")

    def _endless(self, _rest):
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        with contextlib.suppress(OSError):
            while not self.server.gone.is_set():
                self.wfile.write(bytes(2**16))

    def _drip(self, _rest):
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nx: ")
            while not self.server.gone.wait(0.02):
                self.wfile.write(b"y")

    def _short(self, _rest):
        self.send_response(200)
        self.send_header("content-length", "1000")
        self.end_headers()
        self.wfile.write(b"short")
        self.close_connection = True

    def _say(self, status, body, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Keep the tests' output clean."""


@pytest.fixture
def site():
    with Site() as site:
        thread = threading.Thread(target=site.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield site
        site.gone.set()
        site.shutdown()
        thread.join()


@pytest.fixture
def artifacts(tmp_path):
    return Artifacts(tmp_path / "files")


@pytest.fixture
def a_fetcher(tmp_path, artifacts):
    """Return a fetcher with the given settings."""

    def make(resolve=None, **settings):
        return Fetcher(
            Inputs(tmp_path / "inputs"), artifacts, Settings(**settings), resolve=resolve
        )

    return make


def stored(artifacts, tmp_path, data=PNG):
    """Put *data* into the store, as an upload or an output is."""
    source = tmp_path / "source"
    source.write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    return artifacts.take(source, sha256=sha256, file_name="a.png", content_type="image/png")


def refusal(fetcher, url, max_bytes=MANY) -> BadMedia:
    with pytest.raises(BadMedia) as refused:
        fetcher.fetch(url, max_bytes)
    return refused.value


@pytest.mark.parametrize(
    "url",
    [
        "data:image/png;base64," + base64.b64encode(PNG).decode(),
        "DATA:;base64,\n" + base64.encodebytes(PNG).decode(),
        "data:image/jpeg;name=a.jpg;base64," + base64.b64encode(PNG).decode().replace("=", "%3D"),
        "data:," + "".join(f"%{byte:02x}" for byte in PNG),
    ],
)
def test_a_data_uri_is_what_it_holds(a_fetcher, url):
    """Whatever type it claims: clients label PNGs as JPEG."""
    fetched = a_fetcher().fetch(url, MANY)

    assert PNG == fetched.path.read_bytes()
    assert ("image/png", hashlib.sha256(PNG).hexdigest()) == (fetched.content_type, fetched.sha256)


@pytest.mark.parametrize("url", ["data:image/png;base64", "data:;base64,abc", "data:;base64,@@@@"])
def test_a_damaged_data_uri_is_refused(a_fetcher, url):
    """With a sentence, and never with a 500."""
    assert "file_download_error" == refusal(a_fetcher(), url).type


def test_a_data_uri_has_a_size_as_well(a_fetcher):
    """The cap is on what it unpacks to."""
    url = "data:;base64," + base64.b64encode(bytes(101)).decode()

    assert {"max_size": 100} == refusal(a_fetcher(), url, 100).ctx
    assert {"max_size": 10} == refusal(a_fetcher(), url, 10).ctx


@pytest.mark.parametrize(
    "base",
    [
        "http://127.0.0.1:8900/cdn",
        "http://localhost:8900/cdn",
        "https://wan.studio.lan/cdn",
        "https://v3.fal.media",
        "/cdn",
    ],
)
def test_an_upload_is_read_from_the_store_whatever_the_client_calls_us(
    a_fetcher, artifacts, tmp_path, base
):
    """Nothing is sent to anybody: the token is the secret, not the host."""
    file = stored(artifacts, tmp_path)

    fetched = a_fetcher().fetch(base + file.path.removeprefix("/cdn"), MANY)

    assert PNG == fetched.path.read_bytes()
    assert (file.sha256, "image/png") == (fetched.sha256, fetched.content_type)


def test_an_upload_that_is_gone_is_refused(a_fetcher, artifacts, tmp_path):
    """It has expired, or never was."""
    file = stored(artifacts, tmp_path)
    artifacts.drop(file.token)

    assert NOT_ALLOWED == str(refusal(a_fetcher(), file.path))
    assert NOT_ALLOWED == str(refusal(a_fetcher(), f"http://localhost:8900{file.path}"))


def test_an_upload_has_a_size_as_well(a_fetcher, artifacts, tmp_path):
    """Uploads may be larger than what a job may bring."""
    file = stored(artifacts, tmp_path)

    assert "file_too_large" == refusal(a_fetcher(), file.path, 10).type


def test_an_allowed_host_is_fetched_from(a_fetcher, site):
    """Without a word about us, and without any credentials."""
    fetched = a_fetcher(fetch_allow=[site.rule]).fetch(f"{site.url}/file", MANY)

    [(_, headers)] = site.asked
    assert PNG == fetched.path.read_bytes()
    assert "identity" == headers["Accept-Encoding"]
    assert {"Host", "Accept", "Accept-Encoding", "User-Agent"} == set(headers)


def test_by_default_nothing_is_fetched_and_the_setting_is_named(a_fetcher, site):
    """Nothing reaches out unless its operator has said so."""
    refused = refusal(a_fetcher(), f"{site.url}/file")

    assert [] == site.asked
    assert "URL not allowed" in str(refused)
    assert "fetch_public" in str(refused)


def test_a_redirect_is_judged_like_the_first_url(a_fetcher, site):
    """An open redirect on an allowed host is the oldest way round a list of hosts."""
    fetcher = a_fetcher(fetch_allow=[site.rule])

    assert PNG == fetcher.fetch(f"{site.url}/to//file", MANY).path.read_bytes()
    for target in ("http://127.0.0.2:1/", "file:///etc/passwd", "http://169.254.169.254/latest"):
        assert NOT_ALLOWED == str(refusal(fetcher, f"{site.url}/to/{target}"))


def test_redirects_come_to_an_end(a_fetcher, site):
    """Five, and no more."""
    assert "redirects" in str(refusal(a_fetcher(fetch_allow=[site.rule]), f"{site.url}/again/0"))
    assert 6 == len(site.asked)


def test_a_file_without_end_is_cut_off(a_fetcher, site, tmp_path):
    """And nothing of it stays."""
    fetcher = a_fetcher(fetch_allow=[site.rule])

    assert "file_too_large" == refusal(fetcher, f"{site.url}/endless").type
    assert [] == list((tmp_path / "inputs").iterdir())


def test_time_has_an_end_too(a_fetcher, site):
    """A server that sends a byte now and then must not hold a thread for days."""
    fetcher = a_fetcher(fetch_allow=[site.rule], fetch_timeout=0.2)

    assert "too long" in str(refusal(fetcher, f"{site.url}/endless", 2**50))
    assert "too long" in str(refusal(fetcher, f"{site.url}/drip"))


@pytest.mark.parametrize("page", ["endless", "drip"])
def test_fetching_ends_when_the_job_is_cancelled(a_fetcher, site, tmp_path, page):
    """Within a chunk, of a file or of the headers before it."""
    answers = iter([True] * 5 + [False])

    with pytest.raises(NotWanted):
        a_fetcher(fetch_allow=[site.rule]).fetch(
            f"{site.url}/{page}", 2**50, wanted=lambda: next(answers)
        )
    assert [] == list((tmp_path / "inputs").iterdir())


@pytest.mark.parametrize(
    ("page", "words"), [("missing", "the answer was 404"), ("short", "the connection broke off")]
)
def test_an_allowed_host_that_fails_is_told_of(a_fetcher, site, page, words):
    """The operator trusts it, so its troubles are no secret."""
    assert words in str(refusal(a_fetcher(fetch_allow=[site.rule]), f"{site.url}/{page}"))


def test_a_closed_port_and_a_forbidden_one_look_alike(a_fetcher, site):
    """Otherwise the server would be a port scanner for whoever can submit a job."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    fetcher = a_fetcher(fetch_allow=[f"127.0.0.1:{port}"])

    assert str(refusal(fetcher, f"http://127.0.0.1:{port}/")) == str(refusal(fetcher, site.url))


def test_the_corpus_of_hostile_urls_reaches_nothing(a_fetcher):
    """Odd spellings, credentials, control characters, names that point inside: no connection."""
    answers = {
        "localhost": ["127.0.0.1", "::1"],
        "localhost.": ["127.0.0.1"],
        "inside.example": ["127.0.0.1"],
        "mixed.example": ["93.184.215.14", "127.0.0.1"],
        "v6in.example": ["::ffff:127.0.0.1"],
        "nip-127-0-0-1.example": ["127.0.0.1"],
    }

    def resolve(host, port):
        if host in answers:
            return answers[host]
        numeric = socket.AI_NUMERICHOST  # every odd spelling of an address, and no look-up
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=numeric)
        except OSError as error:
            raise httpcore.ConnectError(host) from error
        return [str(answer[4][0]) for answer in found]

    lines = shared("prototypes/reliability/corpora/ssrf_urls.txt").read_text().splitlines()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        port = str(listener.getsockname()[1])
        fetcher = a_fetcher(resolve, fetch_public=True, fetch_allow=["93.184.215.14:1"])
        for line in lines:
            if "data:" in line:
                continue  # it is a file, of one letter
            refusal(fetcher, ast.literal_eval(line).replace("8499", port))
        with pytest.raises(BlockingIOError):
            listener.accept()

    assert len(lines) > 130


def test_a_path_is_read_only_inside_the_operators_folders(a_fetcher, tmp_path):
    """And a link that leads out of them is outside."""
    inside, outside = tmp_path / "projects", tmp_path / "secret.png"
    inside.mkdir()
    outside.write_bytes(PNG)
    (inside / "a b.png").write_bytes(PNG)
    (inside / "link.png").symlink_to(outside)
    os.mkfifo(inside / "pipe")
    fetcher = a_fetcher(fetch_roots=[inside])

    assert PNG == fetcher.fetch(f"{inside}/a b.png", MANY).path.read_bytes()
    assert PNG == fetcher.fetch(f"file://{inside}/a%20b.png", MANY).path.read_bytes()
    for path in (outside, inside / "link.png", inside / "../secret.png", inside, inside / "none"):
        assert NOT_ALLOWED == str(refusal(fetcher, str(path)))
    assert NOT_ALLOWED == str(refusal(fetcher, f"{inside}/pipe"))
    assert NOT_ALLOWED == str(refusal(a_fetcher(), f"{inside}/a b.png"))


def test_what_may_not_be_read_is_not_opened(a_fetcher, tmp_path, monkeypatch):
    """To open a device, outside of the folders or in them, is to do something to it."""
    inside = tmp_path / "projects"
    inside.mkdir()
    os.mkfifo(inside / "device")
    opened = []
    open_file = os.open
    monkeypatch.setattr(
        os, "open", lambda path, *a: opened.append(str(path)) or open_file(path, *a)
    )
    fetcher = a_fetcher(fetch_roots=[inside])
    for path in ("/dev/null", str(inside / "device")):
        assert NOT_ALLOWED == str(refusal(fetcher, path))

    assert not {"/dev/null", str(inside / "device")} & set(opened)
