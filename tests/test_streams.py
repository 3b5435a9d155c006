"""wsgi.errors, sys.stdout and sys.stderr are text streams, as libraries expect of them."""

import re

import pytest

import pythons

STREAMS = {"errors": "<wsgi.errors>", "stdout": "<stdout>", "stderr": "<stderr>"}
streams = pytest.mark.parametrize("stream", STREAMS)
ours = pytest.mark.ours("some of it is missing in the original")


def lines_of(site, *texts):
    """The texts as they are in the log, a line each, and all of the request."""
    found = [line for line in site.log.lines() if ":error]" in line]
    assert [line.rpartition("streams.wsgi] ")[2] for line in found] == list(texts)
    site.log.allow(r":error\] .*streams\.wsgi\] ")


@streams
@pytest.mark.check
def test_attributes_and_methods(site, stream):
    told = site.json(f"/streams/{stream}?look")
    assert (told["encoding"], told["errors"], told["newlines"], told["closed"]) == ("utf-8", "replace", None, False)
    assert told["name"] == STREAMS[stream] and told["line_buffering"]
    assert (told["isatty"], told["writable"], told["readable"], told["seekable"]) == (False, True, False, False)
    assert told["flush"] is None and told["read"] == told["tell"] == "UnsupportedOperation"
    assert all(told["is"]) and re.match(rf"<(_io\.)?TextIOWrapper name='{STREAMS[stream]}'", told["repr"])


@ours
@streams
def test_what_the_original_lacks(site, mode, stream):
    told = site.json(f"/streams/{stream}?look")
    assert told["mode"] == "w" and all(told["buffer is"])
    descriptors = {"errors": "UnsupportedOperation", "stdout": 1 if mode == "daemon" else 2, "stderr": 2}
    assert told["fileno"] == descriptors[stream]


@streams
def test_closing_ends_nothing(site, stream):
    for _ in range(2):
        assert site.json(f"/streams/{stream}?with") is False
    lines_of(site, "in a block", "in a block")


@ours
@streams
@pytest.mark.check
def test_other_settings_keep_lines_whole(site, stream):
    assert site.json(f"/streams/{stream}?reconfigured") == "replace"
    lines_of(site, "one", r"part, rest \\udc80")


@ours
@streams
def test_another_wrapper_takes_nothing_away(site, stream):
    for _ in range(2):
        assert site.json(f"/streams/{stream}?rewrapped") is None
    lines_of(site, *["by another wrapper \\xc3\\xa4", "by the stream"] * 2)


@streams
def test_bytes_for_the_buffer(site, stream):
    assert site.json(f"/streams/{stream}?buffered")[:4] == [True, False, False, False]
    lines_of(site, "bytes", "more bytes")


@ours
@pytest.mark.parametrize("version", pythons.other_versions() or [None])
def test_the_streams_of_other_pythons(httpd, version):
    other = pythons.other_python(version)
    httpd.start(f"WSGIDaemonProcess app threads=1 python={other}\nWSGIProcessGroup app\n"
                f"WSGIScriptAlias /streams {httpd.app('streams')}\n")
    for stream, name in STREAMS.items():
        told = httpd.json(f"/streams/{stream}?look")
        assert (told["name"], told["mode"], told["isatty"]) == (name, "w", False) and all(told["is"] + told["buffer is"])
        for case in ("with", "reconfigured", "rewrapped", "buffered"):
            httpd.json(f"/streams/{stream}?{case}")
    httpd.log.allow(r":error\] .*streams\.wsgi\] ")
