"""inactivity-timeout and WSGIIgnoreActivity."""

import threading
import time

import pytest

pytestmark = pytest.mark.modes("daemon")

EXPIRED = r"inactivity|[Ii]nactiv"


def pid(httpd, path="/where"):
    response = httpd.get(path)
    assert response.status == 200
    return response.json()["pid"]


def test_a_process_without_requests_is_replaced(daemon):
    httpd = daemon("inactivity-timeout=1 threads=2")
    first = pid(httpd)
    httpd.log.wait_for(EXPIRED)
    httpd.log.wait_for(rf"{first}\b.*(gone|Exiting|stopping|exit|Stopping)")
    assert pid(httpd) != first


@pytest.mark.ours("the original's lines say less")
@pytest.mark.check
def test_the_log_names_option_value_and_group(daemon):
    httpd = daemon("inactivity-timeout=1")
    pid(httpd)
    httpd.log.wait_for(r"\[wsgi:info\] .*process group \"app\": process \d+ had no request for inactivity-timeout=1;")
    httpd.log.wait_for("is draining up to graceful-timeout=15 s: inactivity-timeout=1 s is over")


def test_the_time_does_not_run_before_the_first_request(daemon):
    httpd = daemon("inactivity-timeout=1")
    time.sleep(2.5)
    assert not httpd.log.matching(EXPIRED)


def test_requests_keep_a_process(daemon):
    httpd = daemon("inactivity-timeout=2")
    first = pid(httpd)
    for _ in range(8):
        time.sleep(0.5)
        assert pid(httpd) == first
    assert not httpd.log.matching(EXPIRED)


def test_a_request_that_takes_longer_keeps_its_process(daemon):
    httpd = daemon("inactivity-timeout=1")
    first = pid(httpd)
    assert httpd.get("/sleep?2.5").status == 200
    assert pid(httpd) == first


def test_ignored_requests_do_not_keep_a_process(daemon):
    httpd = daemon("inactivity-timeout=2", "<Location /where>\nWSGIIgnoreActivity On\n</Location>")
    assert httpd.get("/hello").status == 200
    first = pid(httpd)
    stopped = threading.Event()

    def ask():
        while not stopped.wait(0.2):
            httpd.get("/where")

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        httpd.log.wait_for(EXPIRED)
    finally:
        stopped.set()
        asking.join()
    httpd.log.wait_for(rf"{first}\b.*(gone|Exiting|stopping|exit|Stopping)")
    assert pid(httpd) != first


def test_no_request_fails_when_its_process_is_replaced(daemon):
    httpd = daemon("inactivity-timeout=1 threads=3")
    statuses = []
    for _ in range(4):
        statuses.append(httpd.get("/hello").status)
        time.sleep(1.0)
        statuses += [httpd.get("/hello").status for _ in range(20)]
    assert set(statuses) == {200}
