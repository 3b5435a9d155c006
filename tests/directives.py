"""The directives and options that users of mod_wsgi rely on: where each may stand, what it takes.

`{root}` in a value is the test's ServerRoot. Values in `bad` must be refused; those in `lax` are
refused by us only.
"""

from dataclasses import dataclass

GLOBAL = ("server",)
SERVER = ("server", "vhost")
DIR = ("server", "vhost", "directory")
FILEINFO = ("server", "vhost", "directory", "htaccess:FileInfo")
AUTHCFG = ("directory", "htaccess:AuthConfig")
PLACES = ("server", "vhost", "directory", "htaccess:FileInfo", "htaccess:AuthConfig")
SCRIPT = '"{root}/apps/hello.wsgi"'
FLAGS = dict(good=("On", "off"), bad=("Maybe",))


@dataclass(frozen=True)
class Directive:
    name: str
    places: tuple
    good: tuple
    bad: tuple = ()
    lax: tuple = ()
    before: str = ""  # must stand above it, in the server's part


TABLE = [
    Directive("WSGIScriptAlias", SERVER,
              (f"/x {SCRIPT}", f"/x {SCRIPT} process-group=%{{GLOBAL}}",
               f"/x {SCRIPT} application-group=%{{GLOBAL}} callable-object=app",
               f"/x {SCRIPT} pass-authorization=On"),
              ("/x", f"/x {SCRIPT} threads=5", f"/x {SCRIPT} process-group=",
               f"/x {SCRIPT} pass-authorization=Maybe", f"/x {SCRIPT} nonsense")),
    Directive("WSGIScriptAliasMatch", SERVER,
              ('^/x/(.*) "{root}/apps/$1"', f"^/x {SCRIPT} application-group=one"),
              ("^/x", f"^/(x {SCRIPT}", f"^/x {SCRIPT} user=one")),
    Directive("WSGIHandlerScript", DIR, (f"my-handler {SCRIPT}",
                                         f"my-handler {SCRIPT} application-group=one"),
              ("my-handler", f"my-handler {SCRIPT} callable-object=app")),
    Directive("WSGICallableObject", FILEINFO, ("app", "%{ENV:WANTED}")),
    Directive("WSGIProcessGroup", DIR, ("%{GLOBAL}", "%{ENV:GROUP}", "named")),
    Directive("WSGIApplicationGroup", DIR, ("%{GLOBAL}", "%{RESOURCE}", "%{SERVER}", "named")),
    Directive("WSGIRestrictProcess", DIR, ("one", "one two %{GLOBAL}")),
    Directive("WSGIImportScript", SERVER,
              (f"{SCRIPT} process-group=%{{GLOBAL}} application-group=%{{GLOBAL}}",
               f"{SCRIPT} process-group=declared application-group=one"),
              (SCRIPT, f"{SCRIPT} process-group=%{{GLOBAL}}",
               f"{SCRIPT} process-group=undeclared application-group=one"),
              before="WSGIDaemonProcess declared threads=2"),
    Directive("WSGIDispatchScript", DIR, (SCRIPT, f"{SCRIPT} application-group=%{{GLOBAL}}"),
              (f"{SCRIPT} process-group=one", f"{SCRIPT} threads=1")),
    Directive("WSGIPassAuthorization", FILEINFO, **FLAGS),
    Directive("WSGIScriptReloading", FILEINFO, **FLAGS),
    Directive("WSGIErrorOverride", FILEINFO, **FLAGS),
    Directive("WSGIChunkedRequest", FILEINFO, **FLAGS),
    Directive("WSGIMapHEADToGET", FILEINFO, ("On", "Off", "Auto"), ("Maybe",)),
    Directive("WSGIIgnoreActivity", FILEINFO, **FLAGS),
    Directive("WSGITrustedProxyHeaders", FILEINFO,
              ("X-Forwarded-For", "X-Forwarded-For X-Forwarded-Proto X-Forwarded-Host"), (),
              ("X_Forwarded!For",)),
    Directive("WSGITrustedProxies", FILEINFO,
              ("127.0.0.1", "10.0.0.0/8 192.168.1.1", "::1", "2001:db8::/32"),
              ("not-an-address", "10.0.0.0/99")),
    Directive("WSGIEnableSendfile", FILEINFO, **FLAGS),
    Directive("WSGIPassApacheRequest", DIR, **FLAGS),
    Directive("WSGIAccessScript", AUTHCFG, (SCRIPT, f"{SCRIPT} application-group=one"),
              (f"{SCRIPT} process-group=one", f"{SCRIPT} threads=1")),
    Directive("WSGIAuthUserScript", AUTHCFG, (SCRIPT, f"{SCRIPT} application-group=one"),
              (f"{SCRIPT} process-group=one", f"{SCRIPT} threads=1")),
    Directive("WSGIAuthGroupScript", AUTHCFG, (SCRIPT, f"{SCRIPT} application-group=one"),
              (f"{SCRIPT} process-group=one", f"{SCRIPT} threads=1")),
    Directive("WSGIGroupAuthoritative", AUTHCFG, **FLAGS),
    Directive("WSGIDaemonProcess", SERVER, ("other", "other threads=2 processes=3")),
    Directive("WSGISocketPrefix", GLOBAL, ("run/wsgi", "{root}/run/wsgi")),
    Directive("WSGISocketRotation", GLOBAL, **FLAGS),
    Directive("WSGIAcceptMutex", GLOBAL, ("default", "flock", "fcntl", "sysvsem"), ("nonsense",)),
    Directive("WSGIRestrictEmbedded", GLOBAL, **FLAGS),
    Directive("WSGIPythonHome", GLOBAL, ("{root}",)),
    Directive("WSGIPythonPath", GLOBAL, ("{root}/one", "{root}/one:{root}/two")),
    Directive("WSGIPythonEggs", GLOBAL, ("{root}/tmp",)),
    Directive("WSGIPythonOptimize", GLOBAL, ("0", "1", "2"), (), ("much",)),
    Directive("WSGIPythonWarnings", GLOBAL, ("default", "error::DeprecationWarning")),
    Directive("WSGIPythonHashSeed", GLOBAL, ("random", "0", "4294967295"), ("sometimes", "4294967296")),
    Directive("WSGIDontWriteBytecode", GLOBAL, **FLAGS),
    Directive("WSGISwitchInterval", GLOBAL, ("0.005", "1"), ("0", "-1", "often")),
    Directive("WSGIDestroyInterpreter", GLOBAL, **FLAGS),
    Directive("WSGIPerInterpreterGIL", GLOBAL, **FLAGS),
    Directive("WSGIFreeThreading", GLOBAL, **FLAGS),
    Directive("WSGIRestrictStdin", GLOBAL, **FLAGS),
    Directive("WSGIRestrictStdout", GLOBAL, **FLAGS),
    Directive("WSGIRestrictSignal", GLOBAL, **FLAGS),
    Directive("WSGICaseSensitivity", GLOBAL, **FLAGS),
    Directive("WSGIServerMetrics", GLOBAL, **FLAGS),
    Directive("WSGIVerboseDebugging", GLOBAL, **FLAGS),
    Directive("<WSGIInterpreterOptions", GLOBAL,
              (">", "process-group=app>", "process-group=app application-group=%{GLOBAL}>"),
              ("colour=red>", "process-group=a process-group=b>", "nonsense>")),
    Directive("WSGITelemetryService", GLOBAL,
              ("unix:{root}/run/telemetry", "unix:{root}/run/telemetry interval=0.5"),
              ("udp:127.0.0.1:99", "/run/telemetry", "unix:{root}/run/telemetry interval=0.4",
               "unix:{root}/run/telemetry interval=soon", "unix:{root}/run/telemetry period=1"),
              ("unix:telemetry",)),
    Directive("WSGISlowRequests", GLOBAL, ("0", "1.5"), ("-1",), ("slow",)),
    Directive("WSGITelemetryOptions", GLOBAL, ("None", "All", "CaptureUserAgent", "+captureuseragent", "-CaptureUserAgent"),
              ("Nonsense", "+All", "+CaptureUserAgent -None", "+CaptureUserAgent CaptureUserAgent")),
]


@dataclass(frozen=True)
class Option:
    """An option of WSGIDaemonProcess."""

    name: str
    good: tuple
    bad: tuple = ()
    lax: tuple = ()


COUNT = dict(good=("0", "60"), lax=("many", "1.5", "10s"), bad=("-1",))
SIZE = dict(good=("0", "1048576"), lax=("big",), bad=("-1",))

OPTIONS = [
    Option("processes", ("1", "4"), ("0", "-1"), ("1x",)),
    Option("threads", ("0", "1", "50"), ("-1", "70000"), ("1x",)),
    Option("user", ("www-data", "#33"), ("no-such-user", "root")),
    Option("group", ("www-data", "#33"), ("no-such-group",)),
    Option("supplementary-groups", ("www-data", "www-data,games"), ("no-such-group",)),
    Option("umask", ("0022", "077"), ("9", "rwx")),
    Option("chroot", ("/",), ("relative",)),
    Option("home", ("{root}",), ("relative",)),
    Option("display-name", ("%{GROUP}", "text", "")),
    Option("lang", ("C.UTF-8",)),
    Option("locale", ("C.UTF-8",)),
    Option("script-user", ("www-data", "#33"), ("no-such-user",)),
    Option("script-group", ("www-data", "#33"), ("no-such-group",)),
    Option("socket-user", ("www-data", "#33"), ("no-such-user",)),
    Option("cpu-priority", ("0", "5", "-5"), (), ("high",)),
    Option("stack-size", ("1048576",), ("0", "-1"), ("big",)),
    Option("python-home", ("{root}", "")),
    Option("python-path", ("{root}", "{root}/one:{root}/two")),
    Option("python-eggs", ("{root}/tmp",)),
    Option("switch-interval", ("0.005", "1"), ("0", "often")),
    Option("server-metrics", ("On", "Off"), ("Maybe",)),
    *(Option(name, **COUNT) for name in (
        "maximum-requests", "restart-interval", "startup-timeout", "deadlock-timeout",
        "inactivity-timeout", "request-timeout", "interrupt-timeout", "graceful-timeout",
        "eviction-timeout", "shutdown-timeout", "connect-timeout", "socket-timeout",
        "queue-timeout", "response-socket-timeout", "cpu-time-limit")),
    Option("response-flush-delay", ("0", "5", "100"), ("-1",), ("soon",)),
    Option("listen-backlog", ("1", "100"), ("-1",), ("long",)),
    Option("send-buffer-size", ("0", "512"), ("1", "-1"), ("big",)),
    Option("receive-buffer-size", ("0", "512"), ("1", "-1"), ("big",)),
    Option("header-buffer-size", ("0", "8192"), ("1", "-1"), ("big",)),
    Option("response-buffer-size", ("0", "65536"), ("1", "-1"), ("big",)),
    Option("memory-limit", **SIZE),
    Option("virtual-memory-limit", **SIZE),
]

OUR_OPTIONS = [
    Option("python", ("/usr/bin/python3",), ("", "relative/python")),
    Option("env", ("NAME=value", "NAME="), ("NAME", "=value")),
    Option("env-file", ("/etc/os-release",), ("relative", "/no/such/file", "/dev/null")),
]
