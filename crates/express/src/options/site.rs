//! Rows of the table of options: content beside the application, proxies, access, status.

use super::Kind::{Decimal, Port, Text};
use super::{Row, flag, value};

#[rustfmt::skip]
pub const CONTENT: &[Row] = &[
    value("document-root", Text, &["DIR"], "(ROOT/htdocs)", "DocumentRoot",
        "Directory of static files. A file there is served in place of the application."),
    value("directory-index", Text, &["FILE"], "", "DirectoryIndex",
        "File that is served for a directory of static files; directories no longer go to the application."),
    flag("directory-listing", "LoadModule autoindex_module, Options +Indexes",
        "Lists directories of static files."),
    value("allow-override", Text, &["TYPE"], "None", "AllowOverride",
        "What .htaccess files of the directories of static files may change.").repeated(),
    value("url-alias", Text, &["URL", "PATH"], "", "Alias, <Directory>, <Files>",
        "Serves the file or directory PATH at URL.").repeated(),
    value("error-document", Text, &["STATUS", "URL"], "", "ErrorDocument",
        "What clients get in place of httpd's own error page.").repeated(),
    flag("error-override", "WSGIErrorOverride On",
        "Replaces error pages of the application by httpd's."),
    value("add-handler", Text, &["EXTENSION", "SCRIPT"], "", "AddHandler wsgi-resource, resource.wsgi",
        "Serves static files with this extension through handle_request or application of SCRIPT.").repeated(),
    flag("with-cgi", "LoadModule cgid_module, AddHandler cgi-script .cgi",
        "Runs static files with the extension .cgi as CGI scripts."),
    flag("with-php5", "LoadModule php5_module",
        "Runs static files with the extension .php by PHP 5, with prefork.").hidden(),
    flag("enable-docs", "Alias /__wsgi__/docs",
        "Serves the documentation of these options at /__wsgi__/docs."),
    value("include-file", Text, &["FILE"], "", "Include",
        "File with further directives, read at the end of the configuration.").repeated(),
    value("rewrite-rules", Text, &["FILE"], "(ROOT/rewrite.conf)", "Include",
        "File with rules of mod_rewrite that come before those of the server."),
];

#[rustfmt::skip]
pub const PROXIES: &[Row] = &[
    value("proxy-mount-point", Text, &["URL", "TARGET"], "", "ProxyPass, ProxyPassReverse",
        "Passes requests below URL on to the server TARGET.").repeated(),
    value("proxy-url-alias", Text, &["URL", "TARGET"], "", "ProxyPass, ProxyPassReverse",
        "Older name of --proxy-mount-point.").repeated().hidden(),
    value("proxy-virtual-host", Text, &["HOST", "TARGET"], "", "<VirtualHost>, ProxyPass",
        "Passes all requests for HOST on to the server TARGET.").repeated(),
    value("trust-proxy-header", Text, &["HEADER"], "", "WSGITrustedProxyHeaders",
        "Request header in which a proxy describes its client.").repeated(),
    value("trust-proxy", Text, &["ADDRESS"], "(any)", "WSGITrustedProxies",
        "Address or network of the proxies whose headers count.").repeated(),
];

#[rustfmt::skip]
pub const ACCESS: &[Row] = &[
    value("host-access-script", Text, &["FILE"], "", "WSGIAccessScript",
        "Script whose function allow_access decides which clients have access."),
    value("auth-user-script", Text, &["FILE"], "", "WSGIAuthUserScript",
        "Script that checks passwords."),
    value("auth-type", Text, &["Basic|Digest"], "Basic", "AuthType",
        "How clients send passwords."),
    value("auth-group-script", Text, &["FILE"], "", "WSGIAuthGroupScript",
        "Script that returns the groups of a user; with --auth-user-script."),
    value("auth-group", Text, &["NAME"], "wsgi", "Require wsgi-group",
        "Group in which users have to be."),
];

#[rustfmt::skip]
pub const STATUS: &[Row] = &[
    flag("server-metrics", "server-metrics=On, WSGIServerMetrics On, ExtendedStatus On",
        "Enables mod_wsgi.server_metrics()."),
    flag("server-status", "LoadModule status_module, <Location /server-status>",
        "Shows httpd's state at /server-status, to this machine only."),
    value("telemetry-service", Text, &["unix:PATH"], "", "WSGITelemetryService",
        "Socket to which reports of activity are sent."),
    flag("enable-telemetry", "refused",
        "Refused: start the ingester yourself and use --telemetry-service."),
    value("telemetry-ui-port", Port, &["PORT"], "(8888)", "refused",
        "Refused, as --enable-telemetry is."),
    value("telemetry-interval", Decimal, &["SECONDS"], "1.0", "WSGITelemetryService interval=",
        "Time between two reports."),
    value("slow-requests", Decimal, &["SECONDS"], "", "WSGISlowRequests",
        "Reports requests that take longer than this; needs --telemetry-service."),
    value("telemetry-options", Text, &["OPTIONS"], "", "WSGITelemetryOptions",
        "What reports contain.").repeated(),
];
