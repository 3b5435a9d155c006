//! Virtual hosts, static files, access, proxies, aliases.

use super::lines::{Conf, quoted};
use super::python::deciding_script;
use super::server::cgi_module;
use crate::facts::Lies;
use crate::plan::{Plan, Tls, path_text};

/// Whether mod_proxy is needed.
pub fn has_proxies(plan: &Plan) -> bool {
    let options = ["proxy-mount-point", "proxy-url-alias", "proxy-virtual-host"];
    options.iter().any(|option| plan.given.has(option))
}

/// The name of the site without `www.`, if it has that.
pub fn without_www(plan: &Plan) -> Option<&str> {
    plan.given.text("server-name").and_then(|name| name.strip_prefix("www."))
}

/// `:PORT`, but for the usual one.
fn port_part(port: u64, usual: u64) -> String {
    if port == usual { String::new() } else { format!(":{port}") }
}

/// The virtual hosts: of the site, of other names, of HTTPS. The first one of a port gets requests for unknown names.
pub fn hosts(conf: &mut Conf, plan: &Plan) {
    conf.comment("Virtual hosts");
    let port = plan.given.number("port");
    let Some(name) = plan.given.text("server-name") else {
        return conf.section("VirtualHost", &format!("*:{port}"), |_| ());
    };
    let address = format!("*:{port}");
    other_names(conf, plan, &address, None);
    let secure = plan.tls.as_ref().filter(|_| plan.given.has("https-only"));
    conf.section("VirtualHost", &address, |conf| {
        names(conf, plan, name);
        if let Some(tls) = secure {
            to_https(conf, name, tls);
        }
    });
    if let Some(bare) = without_www(plan) {
        conf.section("VirtualHost", &address, |conf| {
            conf.directive("ServerName", &[bare]);
            match secure {
                Some(tls) => to_https(conf, name, tls),
                None => conf.line(&format!("Redirect permanent / http://{name}{}/", port_part(port, 80))),
            }
        });
    }
    if let Some(tls) = &plan.tls {
        https_hosts(conf, plan, name, tls);
    }
}

fn names(conf: &mut Conf, plan: &Plan, name: &str) {
    conf.directive("ServerName", &[name]);
    let aliases = plan.given.all("server-alias");
    if !aliases.is_empty() {
        conf.directive("ServerAlias", &aliases);
    }
}

fn to_https(conf: &mut Conf, name: &str, tls: &Tls) {
    conf.line("RewriteEngine On");
    conf.line(&format!("RewriteRule ^ https://{name}{}%{{REQUEST_URI}} [R=302,L]", port_part(tls.port, 443)));
}

/// Requests for names that are not the site's.
fn other_names(conf: &mut Conf, plan: &Plan, address: &str, tls: Option<&Tls>) {
    conf.section("VirtualHost", address, |conf| {
        conf.line("ServerName _wsgi_");
        if let Some(tls) = tls {
            engine(conf, tls);
        }
        conf.section("Location", "/", |conf| {
            conf.line(match plan.given.has("allow-localhost") {
                true => "Require host localhost",
                false => "Require all denied",
            });
        });
    });
}

fn engine(conf: &mut Conf, tls: &Tls) {
    conf.line("SSLEngine On");
    conf.directive("SSLCertificateFile", &[&tls.certificate]);
    conf.directive("SSLCertificateKeyFile", &[&tls.key]);
}

fn https_hosts(conf: &mut Conf, plan: &Plan, name: &str, tls: &Tls) {
    let given = &plan.given;
    let address = format!("*:{}", tls.port);
    other_names(conf, plan, &address, Some(tls));
    conf.section("VirtualHost", &address, |conf| {
        names(conf, plan, name);
        engine(conf, tls);
        if let Some(file) = given.given("ssl-certificate-chain-file") {
            conf.directive("SSLCertificateChainFile", &[&path_text(&plan.absolute(file))]);
        }
        if let Some(file) = given.given("ssl-ca-certificate-file") {
            verify_clients(conf, plan, file);
        }
        if given.has("ssl-environment") {
            conf.line("SSLOptions +StdEnvVars");
        }
        if let Some(policy) = given.text("hsts-policy").filter(|_| given.has("https-only")) {
            conf.directive("Header set Strict-Transport-Security", &[policy]);
        }
    });
    if let Some(bare) = without_www(plan) {
        conf.section("VirtualHost", &address, |conf| {
            conf.directive("ServerName", &[bare]);
            engine(conf, tls);
            conf.line(&format!("Redirect permanent / https://{name}{}/", port_part(tls.port, 443)));
        });
    }
}

fn verify_clients(conf: &mut Conf, plan: &Plan, authorities: &str) {
    conf.directive("SSLCACertificateFile", &[&path_text(&plan.absolute(authorities))]);
    conf.line("SSLVerifyClient none");
    let paths = plan.given.all("ssl-verify-client");
    let paths = if paths.is_empty() { vec!["/"] } else { paths };
    for path in paths {
        conf.section("Location", path, |conf| {
            conf.line("SSLVerifyClient require");
            conf.line("SSLVerifyDepth 1");
        });
    }
}

/// Static files, and the application for everything that is none.
pub fn documents(conf: &mut Conf, plan: &Plan) {
    let given = &plan.given;
    conf.comment("Static files, then the application");
    conf.section("Directory", "/", |conf| {
        conf.line("AllowOverride None");
        conf.line("Require all denied");
    });
    conf.directive("DocumentRoot", &[&path_text(&plan.document_root)]);
    if let Some(file) = given.text("directory-index") {
        conf.directive("DirectoryIndex", &[file]);
    }
    if let Some(name) = cgi_module(plan) {
        conf.line("AddHandler cgi-script .cgi");
        if name == "cgid" {
            conf.directive("ScriptSock", &[&path_text(&plan.root.join("cgi.sock"))]);
        }
    }
    if given.has("with-php5") {
        conf.line("AddHandler application/x-httpd-php .php");
    }
    conf.section("Directory", &path_text(&plan.document_root), |conf| {
        let more = [("directory-listing", " Indexes"), ("with-cgi", " ExecCGI")];
        let more: String = more.iter().filter(|(option, _)| given.has(option)).map(|(_, word)| *word).collect();
        conf.line(&format!("Options FollowSymLinks{more}"));
        overrides(conf, plan);
        conf.line("Require all granted");
        conf.line("RewriteEngine On");
        let rules =
            given.given("rewrite-rules").map_or_else(|| plan.root.join("rewrite.conf"), |file| plan.absolute(file));
        conf.directive("Include", &[&path_text(&rules)]);
        if !plan.application.is_static() {
            to_the_application(conf, plan);
        }
    });
}

/// The rule that sends what is no static file to the application.
fn to_the_application(conf: &mut Conf, plan: &Plan) {
    conf.line("RewriteCond %{REQUEST_FILENAME} !-f");
    if plan.given.has("directory-index") {
        conf.line("RewriteCond %{REQUEST_FILENAME} !-d");
    }
    if plan.given.has("server-status") {
        conf.line("RewriteCond %{REQUEST_URI} !=/server-status");
    }
    if !plan.mount.is_empty() {
        conf.line(&format!("RewriteCond %{{REQUEST_URI}} {}", quoted(&format!("^{}(/|$)", regex(&plan.mount)))));
    }
    conf.line("RewriteRule ^ - [H=wsgi-handler]");
}

/// A text as a regular expression that matches just this text.
fn regex(text: &str) -> String {
    text.chars()
        .flat_map(|c| (!c.is_alphanumeric() && !"/_-".contains(c)).then_some('\\').into_iter().chain([c]))
        .collect()
}

fn overrides(conf: &mut Conf, plan: &Plan) {
    let types = plan.given.all("allow-override");
    conf.line(&format!("AllowOverride {}", if types.is_empty() { "None".to_owned() } else { types.join(" ") }));
}

/// Who may have what.
pub fn access(conf: &mut Conf, plan: &Plan) {
    let given = &plan.given;
    let user_script = given.given("auth-user-script");
    let group_script = given.given("auth-group-script").filter(|_| user_script.is_some());
    if user_script.is_none() && !given.has("host-access-script") {
        return;
    }
    conf.comment("Access");
    conf.section("Location", "/", |conf| {
        if let Some(file) = given.given("host-access-script") {
            deciding_script(conf, plan, "WSGIAccessScript", file);
        }
        let Some(file) = user_script else { return };
        let kind = given.text("auth-type").unwrap_or("Basic");
        let realm = format!("{}:{}", given.text("host").unwrap_or("localhost"), given.number("port"));
        conf.line(&format!("AuthType {kind}"));
        conf.directive("AuthName", &[&realm]);
        conf.line(&format!("Auth{kind}Provider wsgi"));
        deciding_script(conf, plan, "WSGIAuthUserScript", file);
        let Some(file) = group_script else { return conf.line("Require valid-user") };
        deciding_script(conf, plan, "WSGIAuthGroupScript", file);
        conf.line("<RequireAll>");
        conf.line("    Require valid-user");
        conf.line(&format!("    Require wsgi-group {}", quoted(given.text("auth-group").unwrap_or("wsgi"))));
        conf.line("</RequireAll>");
    });
}

/// What happens to responses.
pub fn responses(conf: &mut Conf, plan: &Plan) {
    if plan.given.has("compress-responses") {
        conf.line(
            "AddOutputFilterByType DEFLATE text/plain text/html text/xml text/css text/javascript \
             application/xhtml+xml application/javascript application/json",
        );
    }
    for (status, url) in plan.given.pairs("error-document") {
        conf.directive("ErrorDocument", &[status, url]);
    }
}

/// httpd's own state.
pub fn status(conf: &mut Conf, plan: &Plan) {
    if plan.given.has("server-metrics") || plan.given.has("server-status") {
        conf.line("ExtendedStatus On");
    }
    if plan.given.has("server-status") {
        conf.section("Location", "/server-status", |conf| {
            conf.line("SetHandler server-status");
            conf.line("Require local");
        });
    }
}

/// Servers behind this one.
pub fn proxies(conf: &mut Conf, plan: &Plan) {
    let given = &plan.given;
    if !has_proxies(plan) {
        return;
    }
    conf.comment("Servers behind this one");
    if let Some(seconds) = given.text("proxy-timeout") {
        conf.line(&format!("ProxyTimeout {seconds}"));
    }
    for (url, target) in given.pairs("proxy-mount-point").into_iter().chain(given.pairs("proxy-url-alias")) {
        let prefix = format!("/{}", url.trim_matches('/'));
        let prefix = prefix.trim_end_matches('/');
        pass(conf, &format!("{prefix}/"), target);
        conf.section("Location", &format!("{prefix}/"), |conf| {
            forwarded(conf, plan);
            conf.directive("RequestHeader set X-Forwarded-Prefix", &[prefix]);
        });
        if !prefix.is_empty() {
            conf.directive("RedirectMatch 302", &[&format!("^{}$", regex(prefix)), &format!("{prefix}/")]);
        }
    }
    for (host, target) in given.pairs("proxy-virtual-host") {
        conf.section("VirtualHost", &format!("*:{}", given.number("port")), |conf| {
            conf.directive("ServerName", &[host]);
            pass(conf, "/", target);
            forwarded(conf, plan);
        });
    }
}

fn pass(conf: &mut Conf, url: &str, target: &str) {
    let target = format!("{}/", target.trim_end_matches('/'));
    conf.directive("ProxyPass", &[url, &target, "upgrade=websocket"]);
    conf.directive("ProxyPassReverse", &[url, &target]);
}

fn forwarded(conf: &mut Conf, plan: &Plan) {
    let is = |scheme: &str| format!("\"expr=%{{REQUEST_SCHEME}} == '{scheme}'\"");
    conf.line(&format!("RequestHeader set X-Forwarded-Port {} {}", plan.given.number("port"), is("http")));
    if let Some(tls) = &plan.tls {
        conf.line(&format!("RequestHeader set X-Forwarded-Port {} {}", tls.port, is("https")));
    }
    conf.line(&format!("RequestHeader set X-Forwarded-Scheme https {}", is("https")));
}

/// Files and directories elsewhere.
pub fn aliases(conf: &mut Conf, plan: &Plan) {
    let mut aliases = plan.given.pairs("url-alias");
    aliases.sort();
    if !aliases.is_empty() {
        conf.comment("Static files elsewhere");
    }
    // The longest of two that begin alike comes first.
    for (url, path) in aliases.into_iter().rev() {
        let path = plan.absolute(path);
        match (plan.facts.lies)(&path) {
            Lies::File => {
                conf.directive("Alias", &[url, &path_text(&path)]);
                let directory = path.parent().map(path_text).unwrap_or_default();
                conf.section("Directory", &directory, |conf| {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    conf.section("Files", &name, |conf| conf.line("Require all granted"));
                });
            }
            _ => {
                let path = path_text(&path);
                let path = path.trim_end_matches('/');
                match url.trim_end_matches('/') {
                    "" => conf.directive("Alias", &["/", &format!("{path}/")]),
                    url => conf.directive("Alias", &[url, path]),
                }
                conf.section("Directory", path, |conf| {
                    overrides(conf, plan);
                    conf.line("Require all granted");
                });
            }
        }
    }
    if plan.given.has("enable-docs") || plan.application.is_default {
        let docs = path_text(&plan.root.join("docs"));
        conf.directive("Alias", &["/__wsgi__/docs", &docs]);
        conf.section("Directory", &docs, |conf| {
            conf.line("DirectoryIndex index.html");
            conf.line("Require all granted");
        });
    }
}

/// Variables for the environ of each request.
pub fn environment(conf: &mut Conf, plan: &Plan) {
    for (name, value) in plan.given.pairs("setenv") {
        conf.directive("SetEnv", &[name, value]);
    }
    for name in plan.given.all("passenv") {
        conf.directive("PassEnv", &[name]);
    }
}
