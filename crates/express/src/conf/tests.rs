//! What the options write into httpd.conf.

use super::httpd_conf;
use crate::testing::planned;

fn conf(line: &[&str]) -> String {
    httpd_conf(&planned(line).unwrap())
}

/// Lines without their indentation.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(|line| line.trim().trim_end_matches(" \\")).collect()
}

/// Each case: options, and lines that they write.
#[track_caller]
fn writes(cases: &[(&[&str], &[&str])]) {
    let plain = conf(&[]);
    for (options, expected) in cases {
        let text = conf(options);
        for line in *expected {
            assert!(lines(&text).contains(line), "{options:?} does not write {line}:\n{text}");
            assert!(!lines(&plain).contains(line), "{line} needs no {options:?}");
        }
    }
}

#[test]
fn the_defaults() {
    let text = conf(&[]);
    for line in [
        "Listen 8000",
        "ServerTokens ProductOnly",
        "WSGIRestrictEmbedded On",
        "WSGIPythonHome /venv",
        "threads=5",
        "WSGIDaemonProcess localhost:8000",
        "display-name=\"(wsgi:localhost:8000:1000)\"",
        "home=/srv",
        "queue-timeout=45",
        "request-timeout=60",
        "listen-backlog=100",
        "reload=rolling",
        "LogLevel warn",
        "RequestReadTimeout header=15-30,MinRate=500 body=15,MinRate=500",
        "LimitRequestBody 10485760",
        "MaxRequestWorkers 20",
        "KeepAliveTimeout 2",
        "TypesConfig /etc/mime.types",
        "Require all denied",
        "RewriteRule ^ - [H=wsgi-handler]",
        "WSGIPassAuthorization On",
        "lang=C.UTF-8",
        "WSGIDestroyInterpreter On",
        "WSGIHandlerScript wsgi-handler /tmp/mod_wsgi-localhost:8000:1000/handler.wsgi process-group=localhost:8000 \
         application-group=%{GLOBAL}",
        "WSGIImportScript /tmp/mod_wsgi-localhost:8000:1000/handler.wsgi process-group=localhost:8000 \
         application-group=%{GLOBAL}",
    ] {
        assert!(lines(&text).contains(&line), "{line}:\n{text}");
    }
    assert!(!text.contains("processes="));
}

#[test]
fn options_of_the_daemon_processes() {
    for option in [
        "maximum-requests",
        "queue-timeout",
        "socket-timeout",
        "connect-timeout",
        "request-timeout",
        "interrupt-timeout",
        "inactivity-timeout",
        "startup-timeout",
        "deadlock-timeout",
        "graceful-timeout",
        "eviction-timeout",
        "restart-interval",
        "cpu-time-limit",
        "shutdown-timeout",
        "send-buffer-size",
        "receive-buffer-size",
        "header-buffer-size",
        "response-buffer-size",
        "response-socket-timeout",
        "response-flush-delay",
        "threads",
        "processes",
        "switch-interval",
    ] {
        let (given, line) = (format!("--{option}"), format!("{option}=77"));
        writes(&[(&[&given, "77"], &[&line])]);
    }
    writes(&[
        (&["--daemon-backlog", "7"], &["listen-backlog=7"]),
        (&["--working-directory", "work dir"], &["home=\"/srv/work dir\""]),
        (&["--python-path", "a", "--python-path", "/b"], &["python-path=/srv/a:/b"]),
        (&["--python-eggs", "e"], &["python-eggs=/srv/e"]),
        (&["--process-group", "shop"], &["WSGIDaemonProcess shop", "display-name=\"(wsgi:shop)\""]),
        (&["--server-metrics"], &["server-metrics=On", "WSGIServerMetrics On", "ExtendedStatus On"]),
    ]);
    assert!(!conf(&["--disable-reloading"]).contains("reload=rolling"));
}

#[test]
fn directives_of_the_module() {
    writes(&[
        (
            &["--application-group", "shop"],
            &["WSGIImportScript /tmp/mod_wsgi-localhost:8000:1000/handler.wsgi \
            process-group=localhost:8000 application-group=shop"],
        ),
        (&["--callable-object", "app"], &["WSGICallableObject app"]),
        (&["--python-warnings", "ignore::UserWarning"], &["WSGIPythonWarnings ignore::UserWarning"]),
        (&["--switch-interval", "0.1"], &["WSGISwitchInterval 0.1", "switch-interval=0.1"]),
        (&["--orphan-interpreter"], &["WSGIDestroyInterpreter Off", "Define ORPHAN_INTERPRETER"]),
        (&["--socket-prefix", "run"], &["WSGISocketPrefix /srv/run/wsgi"]),
        (
            &["--telemetry-service", "unix:/t", "--slow-requests", "2", "--telemetry-options", "+All"],
            &["WSGITelemetryService unix:/t interval=1.0", "WSGISlowRequests 2", "WSGITelemetryOptions +All"],
        ),
        (
            &["--telemetry-service", "unix:/t", "--telemetry-interval", "5"],
            &["WSGITelemetryService unix:/t interval=5"],
        ),
        (&["--verbose-debugging"], &["WSGIVerboseDebugging On"]),
        (&["--chunked-request"], &["WSGIChunkedRequest On"]),
        (&["--map-head-to-get", "Off"], &["WSGIMapHEADToGET Off"]),
        (&["--enable-sendfile"], &["EnableSendfile On", "WSGIEnableSendfile On"]),
        (&["--error-override"], &["WSGIErrorOverride On"]),
        (&["--disable-reloading"], &["WSGIScriptReloading Off"]),
        (&["--ignore-activity", "/alive"], &["<Location /alive>", "WSGIIgnoreActivity On"]),
        (
            &["--trust-proxy-header", "X-Forwarded-For", "--trust-proxy-header", "X-Forwarded-Host"],
            &["WSGITrustedProxyHeaders X-Forwarded-For X-Forwarded-Host"],
        ),
        (&["--trust-proxy", "10.0.0.0/8"], &["WSGITrustedProxies 10.0.0.0/8"]),
        (&["--add-handler", ".md", "md.py"], &["AddHandler wsgi-resource .md"]),
    ]);
    assert!(!conf(&["--application-group", "%{ENV:group}"]).contains("WSGIImportScript"));
}

#[test]
fn listeners_and_virtual_hosts() {
    let tls = ["--https-port", "443", "--server-name", "www.a.org", "--ssl-certificate", "own"];
    let with = |more: &[&'static str]| [&tls[..], more].concat();
    writes(&[
        (
            &["--host", "::1", "--port", "80"],
            &["Listen [::1]:80", "ServerName [::1]", "Define MOD_WSGI_WITH_LISTENER_HOST"],
        ),
        (&["--http2"], &["Protocols h2 h2c http/1.1"]),
        (
            &["--server-name", "a.org", "--server-alias", "*.a.org", "--server-alias", "b.org"],
            &["ServerName a.org", "ServerAlias *.a.org b.org", "ServerName _wsgi_"],
        ),
        (&["--server-name", "www.a.org"], &["Redirect permanent / http://www.a.org:8000/", "ServerName a.org"]),
        (&["--server-name", "a.org", "--allow-localhost"], &["Require host localhost"]),
        (
            &tls,
            &[
                "Listen 443",
                "SSLEngine On",
                "SSLCertificateFile /srv/own.crt",
                "SSLCertificateKeyFile /srv/own.key",
                "Redirect permanent / https://www.a.org/",
                "Define MOD_WSGI_WITH_HTTPS",
            ],
        ),
        (
            &with(&["--https-only", "--hsts-policy", "max-age=1"]),
            &[
                "RewriteRule ^ https://www.a.org%{REQUEST_URI} [R=302,L]",
                "Header set Strict-Transport-Security max-age=1",
            ],
        ),
        (&with(&["--ssl-environment"]), &["SSLOptions +StdEnvVars"]),
        (
            &with(&["--ssl-ca-certificate-file", "ca.pem"]),
            &["SSLCACertificateFile /srv/ca.pem", "SSLVerifyClient require", "SSLVerifyDepth 1", "<Location />"],
        ),
        (&with(&["--ssl-ca-certificate-file", "ca.pem", "--ssl-verify-client", "/in"]), &["<Location /in>"]),
        (&with(&["--ssl-certificate-chain-file", "chain.pem"]), &["SSLCertificateChainFile /srv/chain.pem"]),
        (
            &[
                "--ssl-port",
                "444",
                "--server-name",
                "a",
                "--ssl-certificate-file",
                "a.crt",
                "--ssl-certificate-key-file",
                "a.key",
            ],
            &["Listen 444", "SSLCertificateFile /srv/a.crt", "SSLCertificateKeyFile /srv/a.key"],
        ),
    ]);
    assert!(!conf(&with(&["--hsts-policy", "max-age=1"])).contains("Strict-Transport-Security"));
}

#[test]
fn capacity_and_timeouts_of_httpd() {
    writes(&[
        (&["--max-clients", "60"], &["MaxRequestWorkers 60", "ThreadsPerChild 15"]),
        (&["--processes", "4", "--threads", "10"], &["MaxRequestWorkers 72", "processes=4", "threads=10"]),
        (&["--initial-workers", "1"], &["StartServers 2"]),
        (&["--minimum-spare-workers", "1"], &["MinSpareThreads 20"]),
        (
            &["--server-mpm", "prefork", "--maximum-spare-workers", "0.5"],
            &["MaxSpareServers 10", "MaxKeepAliveRequests 500"],
        ),
        (&["--server-backlog", "9"], &["ListenBacklog 9"]),
        (&["--keep-alive-timeout", "0"], &["KeepAlive Off"]),
        (&["--keep-alive-timeout", "9"], &["KeepAliveTimeout 9"]),
        (&["--limit-request-body", "9"], &["LimitRequestBody 9"]),
        (&["--socket-timeout", "9"], &["Timeout 9", "socket-timeout=9"]),
        (
            &["--header-timeout", "1", "--header-max-timeout", "2", "--header-min-rate", "3"],
            &["RequestReadTimeout header=1-2,MinRate=3 body=15,MinRate=500"],
        ),
        (
            &["--body-timeout", "1", "--body-max-timeout", "2", "--body-min-rate", "3"],
            &["RequestReadTimeout header=15-30,MinRate=500 body=1-2,MinRate=3"],
        ),
        (&["--header-timeout", "0", "--body-min-rate", "0"], &["RequestReadTimeout body=15"]),
        (
            &["--embedded-mode", "--processes", "3", "--maximum-requests", "9"],
            &[
                "MaxRequestWorkers 15",
                "ServerLimit 3",
                "MaxConnectionsPerChild 9",
                "Define EMBEDDED_MODE",
                "WSGIPythonPath /srv",
            ],
        ),
        (&["--debug-mode"], &["MaxRequestWorkers 1", "WSGIPythonPath /srv"]),
        (&["--mime-types", "m.types"], &["TypesConfig /srv/m.types"]),
    ]);
    assert!(!conf(&["--header-timeout", "0", "--body-timeout", "0"]).contains("RequestReadTimeout"));
    assert!(conf(&["--server-mpm", "worker", "--server-mpm", "prefork"]).contains("mod_mpm_worker.so"));
    assert!(!conf(&["--embedded-mode"]).contains("WSGIRestrictEmbedded"));
}

#[test]
fn content() {
    writes(&[
        (&["--document-root", "pages"], &["DocumentRoot /srv/pages", "<Directory /srv/pages>"]),
        (&["--directory-index", "index.html"], &["DirectoryIndex index.html", "RewriteCond %{REQUEST_FILENAME} !-d"]),
        (&["--directory-listing"], &["Options FollowSymLinks Indexes"]),
        (&["--allow-override", "AuthConfig", "--allow-override", "Limit"], &["AllowOverride AuthConfig Limit"]),
        (&["--url-alias", "/static/", "pages"], &["Alias /static /srv/pages", "<Directory /srv/pages>"]),
        (&["--url-alias", "/icon", "pages/icon.png"], &["Alias /icon /srv/pages/icon.png", "<Files icon.png>"]),
        (&["--error-document", "404", "/it's.html"], &["ErrorDocument 404 \"/it's.html\""]),
        (&["--with-cgi"], &["AddHandler cgi-script .cgi", "Options FollowSymLinks ExecCGI"]),
        (&["--enable-docs"], &["Alias /__wsgi__/docs /tmp/mod_wsgi-localhost:8000:1000/docs"]),
        (&["--include-file", "more.conf"], &["Include /srv/more.conf"]),
        (&["--rewrite-rules", "own.conf"], &["Include /srv/own.conf"]),
        (&["--mount-point", "/a.b"], &["RewriteCond %{REQUEST_URI} \"^/a\\\\.b(/|$)\""]),
        (
            &["--compress-responses"],
            &["AddOutputFilterByType DEFLATE text/plain text/html text/xml text/css \
            text/javascript application/xhtml+xml application/javascript application/json"],
        ),
        (&["--setenv", "NAME", "a b"], &["SetEnv NAME \"a b\""]),
        (&["--passenv", "HOME"], &["PassEnv HOME"]),
        (&["--server-status"], &["<Location /server-status>", "RewriteCond %{REQUEST_URI} !=/server-status"]),
    ]);
    let text = conf(&["--url-alias", "/a", "x", "--url-alias", "/a/b", "y"]);
    assert!(text.find("Alias /a/b ").unwrap() < text.find("Alias /a ").unwrap());
    assert!(!conf(&["--entry-point", "pages"]).contains("wsgi-handler"));
}

#[test]
fn proxies_and_access() {
    writes(&[
        (
            &["--proxy-mount-point", "/api/", "http://localhost:9/x"],
            &[
                "ProxyPass /api/ http://localhost:9/x/ upgrade=websocket",
                "ProxyPassReverse /api/ http://localhost:9/x/",
                "RequestHeader set X-Forwarded-Prefix /api",
                "RedirectMatch 302 ^/api$ /api/",
            ],
        ),
        (
            &["--proxy-url-alias", "/b", "http://c/", "--proxy-timeout", "9"],
            &["ProxyPass /b/ http://c/ upgrade=websocket", "ProxyTimeout 9"],
        ),
        (
            &["--proxy-virtual-host", "b.org", "http://c"],
            &["ServerName b.org", "ProxyPass / http://c/ upgrade=websocket"],
        ),
        (
            &["--host-access-script", "a.py"],
            &["WSGIAccessScript /srv/a.py process-group=localhost:8000 application-group=%{GLOBAL}"],
        ),
        (
            &["--auth-user-script", "a.py"],
            &["AuthType Basic", "AuthBasicProvider wsgi", "Require valid-user", "AuthName localhost:8000"],
        ),
        (&["--auth-user-script", "a.py", "--auth-type", "Digest"], &["AuthType Digest", "AuthDigestProvider wsgi"]),
        (
            &["--auth-user-script", "a.py", "--auth-group-script", "g.py", "--auth-group", "staff"],
            &["Require wsgi-group staff"],
        ),
    ]);
    assert!(!conf(&["--proxy-timeout", "9"]).contains("ProxyTimeout"));
}

#[test]
fn logs_and_files() {
    let rotated = "ErrorLog \"|'/usr/bin/rotatelogs' '/srv/logs/e.%Y-%m-%d-%H_%M_%S' 9M\"";
    writes(&[
        (&["--server-root", "own"], &["ServerRoot /srv/own", "DefaultRuntimeDir /srv/own"]),
        (&["--pid-file", "x.pid"], &["PidFile /srv/x.pid"]),
        (&["--log-directory", "logs", "--log-to-terminal"], &["ErrorLog /srv/logs/error_log"]),
        (&["--log-level", "info wsgi:debug"], &["LogLevel info wsgi:debug"]),
        (
            &["--log-to-terminal", "--access-log", "--rotate-logs"],
            &["ErrorLog /dev/stderr", "CustomLog /dev/stdout \"%h %l %u %t \\\"%r\\\" %>s %b\""],
        ),
        (
            &["--access-log", "--access-log-name", "a", "--access-log-format", "%s\\n"],
            &["CustomLog /tmp/mod_wsgi-localhost:8000:1000/a \"%s\\n\""],
        ),
        (
            &["--access-log", "--access-log-format", "combined"],
            &["CustomLog /tmp/mod_wsgi-localhost:8000:1000/access_log \
            \"%h %l %u %t \\\"%r\\\" %>s %b \\\"%{Referer}i\\\" \\\"%{User-agent}i\\\"\""],
        ),
        (&["--error-log-format", "%M"], &["ErrorLogFormat \"%M\""]),
        (&["--rotate-logs", "--max-log-size", "9", "--log-directory", "logs", "--error-log-name", "e"], &[rotated]),
    ]);
}

#[test]
fn services() {
    let options =
        ["--service-script", "jobs", "jobs.py", "--service-user", "jobs", "ann", "--service-group", "jobs", "staff"];
    let text = conf(&[&options[..], &["--service-log-file", "jobs", "jobs_log"]].concat());
    for line in [
        "WSGIDaemonProcess service:jobs",
        "threads=0",
        "user=ann",
        "group=staff",
        "WSGIImportScript /srv/jobs.py process-group=service:jobs application-group=%{GLOBAL}",
        "ErrorLog /tmp/mod_wsgi-localhost:8000:1000/jobs_log",
        "<VirtualHost *:8000>",
    ] {
        assert!(lines(&text).contains(&line), "{line}:\n{text}");
    }
}

#[test]
fn what_cannot_be_has_a_cause() {
    for (options, cause) in [
        (&["--switch-interval", "0"][..], "--switch-interval"),
        (&["--free-threading"], "--free-threading needs"),
        (&["--debugger-startup"], "--debugger-startup"),
        (&["--telemetry-service", "tcp:x"], "tcp:x"),
        (&["--slow-requests", "1"], "--slow-requests"),
        (&["--map-head-to-get", "x"], "--map-head-to-get"),
        (&["--auth-type", "x"], "--auth-type"),
        (&["--with-php5"], "libphp5.so"),
        (&["--threads", "0"], "--threads 0"),
        (&["--service-user", "a", "b"], "no such service"),
        (&["--include-file", "none.conf"], "--include-file none.conf"),
        (&["--service-script", "a", "none.py"], "--service-script none.py"),
        (&["--https-only"], "no port"),
        (&["--https-port", "1"], "needs the name"),
        (&["--https-port", "1", "--server-name", "a"], "needs a certificate"),
        (&["--https-port", "1", "--server-name", "a", "--ssl-certificate", "none"], "no file /srv/none.crt"),
        (&["--server-mpm", "x"], "x is no MPM"),
        (&["--working-directory", "none"], "/srv/none is not there"),
    ] {
        let problem = planned(options).unwrap_err();
        assert!(problem.cause.contains(cause) && !problem.cure.is_empty(), "{options:?}: {problem}");
    }
}

#[test]
fn the_url_of_the_site() {
    for (options, url) in [
        (&[][..], "http://localhost:8000/"),
        (&["--host", "::1", "--port", "80", "--mount-point", "a"], "http://[::1]/a/"),
        (&["--host", "0.0.0.0"], "http://localhost:8000/"),
        (
            &["--server-name", "a.org", "--https-port", "443", "--ssl-certificate", "a", "--https-only"],
            "https://a.org/",
        ),
    ] {
        assert_eq!(planned(options).unwrap().url(), url);
    }
}
