"""The faults that a test can set in a local service, as a client sees them."""

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
import requests

from sandbox import Sandbox
from sandbox.faults import FaultKind

ENVIRONMENT = "acme/web/production"
DEFINITION = "values:\n  greeting: hello\n"
PATH = f"/api/esc/environments/{ENVIRONMENT}"
LINE = f"{{}} {PATH}"


@pytest.fixture
def session(box: Sandbox) -> Iterator[requests.Session]:
    box.esc.create(ENVIRONMENT, DEFINITION)
    with requests.Session() as session:
        session.headers["Authorization"] = f"token {box.esc.token}"
        yield session


def get(box: Sandbox, session: requests.Session) -> requests.Response:
    return session.get(box.esc.url + PATH, timeout=60)


def save(box: Sandbox, session: requests.Session) -> requests.Response:
    return session.patch(box.esc.url + PATH, "values: {}\n", timeout=60)


def test_a_status_strikes_as_often_as_it_was_ordered(box: Sandbox, session: requests.Session) -> None:
    fault = box.esc.fail("GET .*", status=503, times=2)
    assert [get(box, session).status_code for _ in range(3)] == [503, 503, 200]
    assert fault.hits == 2
    for_ever = box.esc.fail("GET .*", status=500, times=None)
    assert [get(box, session).status_code for _ in range(3)] == [500, 500, 500]
    box.esc.reset_faults()
    assert (get(box, session).status_code, for_ever.hits) == (200, 3)


def test_a_fault_strikes_the_whole_line_only(box: Sandbox, session: requests.Session) -> None:
    box.esc.fail("GET /api/user", status=503, times=None)
    box.esc.fail("PATCH .*", status=503, times=None)
    assert get(box, session).status_code == 200
    assert session.get(f"{box.esc.url}/api/user/organizations/default", timeout=60).status_code == 200
    assert session.get(f"{box.esc.url}/api/user?x=1", timeout=60).status_code == 503


def test_each_service_errs_in_its_own_form(box: Sandbox) -> None:
    bodies = []
    for server in box.servers:
        server.fail(".*", status=502)
        bodies.append(requests.get(server.url, timeout=60).json())
    assert bodies == [
        {"code": 502, "message": "Bad Gateway"},
        {"message": "Bad Gateway", "documentation_url": "https://docs.github.com/rest", "status": "502"},
        {"detail": "Bad Gateway"},
    ]


def test_an_answer_may_have_headers_and_a_body(box: Sandbox, session: requests.Session) -> None:
    box.esc.fail("GET .*", status=429, headers={"Retry-After": "7"}, body={"slow": "down"})
    answer = get(box, session)
    assert (answer.status_code, answer.headers["Retry-After"], answer.json()) == (429, "7", {"slow": "down"})
    box.esc.fail("GET .*", status=302, headers={"Location": "http://127.0.0.1:1/"})
    assert (
        session.get(box.esc.url + PATH, allow_redirects=False, timeout=60).headers["Location"] == "http://127.0.0.1:1/"
    )


def test_closed_without_an_answer(box: Sandbox, session: requests.Session) -> None:
    box.esc.fail("GET .*", kind="close")
    with pytest.raises(requests.ConnectionError, match="Remote end closed connection without response"):
        get(box, session)
    assert get(box, session).text == DEFINITION
    assert [seen.status for seen in box.esc.requests] == [None, 200]


def test_closed_in_the_middle_of_the_body(box: Sandbox, session: requests.Session) -> None:
    box.esc.fail("GET .*", kind="truncate")
    half = len(DEFINITION) // 2
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match=rf"IncompleteRead\({half} bytes read"):
        get(box, session)


def test_closed_in_the_middle_of_the_header(box: Sandbox, session: requests.Session) -> None:
    box.esc.fail("DELETE .*", kind="truncate", after=True)
    with closing(http.client.HTTPConnection(box.esc.url.removeprefix("http://"), timeout=60)) as connection:
        connection.request("DELETE", PATH, headers={"Authorization": f"token {box.esc.token}"})
        assert connection.getresponse().getheader("Date") is None
    assert get(box, session).status_code == 404


def test_an_empty_answer(box: Sandbox, session: requests.Session) -> None:
    box.esc.fail("GET .*", kind="empty")
    answer = get(box, session)
    assert (answer.status_code, answer.content) == (200, b"")
    assert not {"ETag", "Pulumi-ESC-Revision", "Content-Type"} & set(answer.headers)


def test_garbage(box: Sandbox, session: requests.Session) -> None:
    box.esc.fail("GET .*", kind="garbage")
    answer = get(box, session)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    box.esc.fail("GET .*", kind="garbage", body=[1, 2])
    assert get(box, session).json() == [1, 2]


def test_never_answered(box: Sandbox, session: requests.Session) -> None:
    box.esc.fail("GET .*", kind="hang")
    with pytest.raises(requests.ReadTimeout):
        session.get(box.esc.url + PATH, timeout=0.2)
    assert get(box, session).text == DEFINITION


def test_a_server_that_stops_ends_what_hangs() -> None:
    with Sandbox() as other:
        other.esc.fail("GET .*", kind="hang")
        arrived = threading.Event()
        other.esc.before("GET .*", arrived.set)
        ended: list[Exception] = []

        def ask() -> None:
            try:
                requests.get(other.esc.url, timeout=60)
            except requests.RequestException as error:
                ended.append(error)

        client = threading.Thread(target=ask)
        client.start()
        assert arrived.wait(9)
    client.join(9)
    assert [type(error) for error in ended] == [requests.ConnectionError]


def test_refused_after_the_first_request(box: Sandbox, session: requests.Session) -> None:
    box.esc.fail("GET .*", kind="refuse", times=None)
    with pytest.raises(requests.ConnectionError, match="Remote end closed connection"):
        get(box, session)
    with pytest.raises(requests.ConnectionError, match="Connection refused"):
        get(box, session)
    box.esc.reset_faults()
    assert get(box, session).text == DEFINITION


def test_refused_for_a_time(box: Sandbox, session: requests.Session) -> None:
    box.esc.fail("GET .*", kind="refuse", seconds=0.05)
    with pytest.raises(requests.ConnectionError):
        get(box, session)
    deadline = time.monotonic() + 9
    while time.monotonic() < deadline:
        try:
            assert get(box, session).text == DEFINITION
        except requests.ConnectionError:
            continue
        break
    assert [seen.status for seen in box.esc.requests] == [None, 200]


def test_the_very_request_is_refused_if_the_service_goes_down_before_it(
    box: Sandbox, session: requests.Session
) -> None:
    box.esc.after(LINE.format("GET"), box.esc.down)
    assert get(box, session).text == DEFINITION
    with pytest.raises(requests.ConnectionError, match="Connection refused"):
        save(box, session)
    box.esc.up()
    assert save(box, session).status_code == 200


def test_a_port_that_is_down_stays_ours(box: Sandbox, session: requests.Session) -> None:
    url = box.esc.url
    box.esc.down()
    with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
        stranger.bind(("127.0.0.1", int(url.rsplit(":", 1)[1])))
    box.esc.up()
    assert (box.esc.url, get(box, session).status_code) == (url, 200)


@pytest.mark.parametrize(
    ("kind", "after", "revision"),
    [
        ("close", False, 2), ("close", True, 3),
        ("truncate", False, 2), ("truncate", True, 3),
        ("refuse", False, 2), ("refuse", True, 3),
    ],
)  # fmt: skip
def test_a_lost_answer_says_nothing_of_the_write(
    kind: FaultKind, after: bool, revision: int, box: Sandbox, session: requests.Session
) -> None:
    box.esc.fail("PATCH .*", kind=kind, after=after)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        _ = save(box, session).text
    assert box.esc.revision(ENVIRONMENT) == revision


@pytest.mark.parametrize(("after", "revision"), [(False, 2), (True, 3)])
def test_an_error_may_hide_a_write(after: bool, revision: int, box: Sandbox, session: requests.Session) -> None:
    box.esc.fail("PATCH .*", status=500, after=after)
    assert (save(box, session).status_code, box.esc.revision(ENVIRONMENT)) == (500, revision)


@pytest.mark.parametrize("header", ["If-Match", "ETag"])
def test_another_writer_in_between(header: str, box: Sandbox, session: requests.Session) -> None:
    etag = get(box, session).headers["ETag"]
    box.esc.before("PATCH .*", lambda: box.esc.save(ENVIRONMENT, "values: {theirs: 1}\n"))
    answer = session.patch(box.esc.url + PATH, "values: {}\n", headers={header: etag}, timeout=60)
    assert (answer.status_code, answer.json()["code"]) == (409, 409)
    assert box.esc.definition(ENVIRONMENT) == "values: {theirs: 1}\n"
    assert save(box, session).headers["Pulumi-ESC-Revision"] == "4"


def test_a_hook_is_called_as_often_as_it_was_ordered(box: Sandbox, session: requests.Session) -> None:
    calls: list[int] = []
    box.esc.before("GET .*", lambda: calls.append(1), times=2)
    for _ in range(3):
        get(box, session)
    assert calls == [1, 1]


def test_latency(box: Sandbox, session: requests.Session) -> None:
    box.esc.latency = 0.1
    started = time.monotonic()
    get(box, session)
    assert time.monotonic() - started >= 0.1


def test_a_connection_serves_many_requests(box: Sandbox, session: requests.Session) -> None:
    with closing(http.client.HTTPConnection(box.esc.url.removeprefix("http://"), timeout=60)) as connection:
        connection.connect()
        port = connection.sock.getsockname()
        headers = {"Authorization": f"token {box.esc.token}"}
        for method, body in (("PATCH", "values: {}\n"), ("PATCH", iter([b"values: ", b"{a: 1}\n"])), ("GET", None)):
            connection.request(method, PATH, body, headers, encode_chunked=not isinstance(body, str | None))
            answer = connection.getresponse().read()
        assert connection.sock.getsockname() == port
    assert answer == b"values: {a: 1}\n"


def test_writers_at_once_are_told_apart(box: Sandbox, session: requests.Session) -> None:
    etag = get(box, session).headers["ETag"]
    statuses: list[int] = []

    def write(number: int) -> None:
        headers = {"Authorization": f"token {box.esc.token}", "ETag": etag}
        body = f"values: {{n: {number}}}\n"
        statuses.append(requests.patch(box.esc.url + PATH, body, headers=headers, timeout=60).status_code)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(9)
    assert sorted(statuses) == [200] + [409] * 7
    assert box.esc.revision(ENVIRONMENT) == 3


@pytest.mark.parametrize(("kind", "status"), [("status", None), ("close", 500), ("hang", 500)])
def test_an_order_that_makes_no_sense(kind: FaultKind, status: int | None, box: Sandbox) -> None:
    with pytest.raises(ValueError, match="status"):
        box.esc.fail(".*", kind=kind, status=status)
