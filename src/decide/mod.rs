//! Scripts that decide: `WSGIAccessScript`, `WSGIAuthUserScript`, `WSGIAuthGroupScript`, `WSGIDispatchScript`.
//!
//! `hooks` and `handler` ask; [`ask`] packs the question, has the script answer it in a daemon process or in this child, and
//! `verdict` says what the answer means. Everything fails closed: whatever is no answer refuses, and the log says why.

mod payload;
mod verdict;

use std::cell::RefCell;
use std::sync::atomic::Ordering;

use wsgi_wire::decision::{Answer, Question};
use wsgi_wire::messages::Message;

use crate::daemon::{self, Job};
use crate::directive::{DirConfig, RequestConfig, Script, ServerConfig, shown};
use crate::embedded;
use crate::facts;
use crate::httpd::request::Request;
use crate::live;
use crate::respond::Delivery;
use crate::route::{self, BodyLength, Target};
pub(crate) use payload::Variables;
pub(crate) use verdict::{Access, Dispatched, Login, Membership};

/// The script of a request that one of the directives names; the directory's before the server's.
fn script_of<'r>(request: Request<'r>, field: impl Fn(&'r RequestConfig) -> Option<&'r Script>) -> Option<&'r Script> {
    let of_directory = request.dir_config::<DirConfig>().and_then(|dir| field(&dir.request));
    of_directory.or_else(|| request.server().config::<ServerConfig>().and_then(|server| field(&server.request)))
}

/// Marks a request whose access script has denied access.
struct AccessDenied;

/// Whether the access script of the request has denied access.
pub(crate) fn has_denied(request: Request<'_>) -> bool {
    request.own_config::<AccessDenied>().is_some()
}

/// `WSGIAccessScript`: whether the client has access. `None`: no script is asked.
pub(crate) fn access(request: Request<'_>) -> Option<Access> {
    let script = script_of(request, |values| values.access_script.as_deref())?;
    let client = request.client_name();
    let answer = ask(request, script, (Question::Access, &[client]), None);
    let access = verdict::access(answer.as_ref());
    if access == Access::Denied {
        request.set_own_config(AccessDenied);
    }
    if access == Access::Denied && answer.is_some() && !request.any_satisfies() {
        say_denied(request, script, "allow_access() returned False");
    }
    Some(access)
}

/// mod_wsgi's line about a client without access, which names the file that the client has asked for.
fn say_denied(request: Request<'_>, script: &Script, why: &str) {
    let (file, path) = (shown(request.filename()), shown(&script.path));
    let directive = verdict::directive(Question::Access);
    let text =
        format!("Client denied by server configuration: '{file}': {directive} {path} (at {}): {why}", script.defined);
    request.report(Message::AccessDenied, &text);
}

/// `WSGIAuthUserScript` for Basic: whether the password is the user's.
pub(crate) fn password(request: Request<'_>, user: &[u8], password: &[u8]) -> Login {
    match user_script(request, Message::BasicScriptMissing, "check_password()") {
        Some(script) => verdict::login(ask(request, script, (Question::Password, &[user, password]), None).as_ref()),
        None => Login::Failed,
    }
}

/// `WSGIAuthUserScript` for Digest: the hash of user, realm and password.
pub(crate) fn realm_hash(request: Request<'_>, user: &[u8], realm: &[u8]) -> Login {
    match user_script(request, Message::DigestScriptMissing, "get_realm_hash()") {
        Some(script) => verdict::hash(ask(request, script, (Question::RealmHash, &[user, realm]), None).as_ref()),
        None => Login::Failed,
    }
}

fn user_script<'r>(request: Request<'r>, message: Message, function: &str) -> Option<&'r Script> {
    let script = script_of(request, |values| values.auth_user_script.as_deref());
    if script.is_none() {
        let text = format!(
            "the provider wsgi has no script to ask for {function}: WSGIAuthUserScript is missing for this URL; the client gets \
             500"
        );
        request.report(message, &text);
    }
    script
}

/// What a request remembers of its user's groups, for several `Require wsgi-group`.
#[derive(Debug, Default)]
struct Groups(RefCell<Option<(Vec<u8>, Option<Answer>)>>);

/// `WSGIAuthGroupScript`: whether the user is in one of the groups `wanted`. The script is asked once for a request.
pub(crate) fn membership(request: Request<'_>, user: &[u8], wanted: &[&[u8]]) -> Membership {
    let Some(script) = script_of(request, |values| values.auth_group_script.as_deref()) else {
        let text = "Require wsgi-group has no script to ask for groups_for_user(): WSGIAuthGroupScript is missing for this \
                    URL; the user counts as a member of no group";
        request.report(Message::GroupScriptMissing, text);
        return Membership::None;
    };
    let Some(known) = request.own_config_or(Groups::default) else { return Membership::None };
    let mut known = known.0.borrow_mut();
    if known.as_ref().is_none_or(|(of, _)| of != user) {
        *known = Some((user.to_vec(), ask(request, script, (Question::Groups, &[user]), None)));
    }
    let answer = known.as_ref().and_then(|(_, answer)| answer.as_ref());
    let found = verdict::membership(answer, wanted);
    if found == Membership::None && answer.is_some() {
        let names: Vec<_> = wanted.iter().map(|name| shown(name)).collect();
        let (user, path, script) = (shown(user), shown(request.uri()), shown(&script.path));
        let (message, why) = if verdict::is_in_any(answer) {
            let names = names.join(", ");
            let why = format!("designated groups: groups_for_user() of {script} names none of the groups {names}");
            (Message::UserOutsideGroups, why)
        } else {
            (Message::UserWithoutGroups, format!("any groups: groups_for_user() of {script} names none"))
        };
        let text = format!("Authorization of user '{user}' to access '{path}' failed. User is not a member of {why}");
        // An error, as in mod_wsgi, although another Require may let the request pass: httpd's own line says so.
        request.report(message, &text);
    }
    found
}

/// `WSGIDispatchScript`: what the request gets in the place of its configured groups and callable. `None`: no script is
/// asked. `variables` are those that the application would see.
///
/// # Errors
/// The script gave no answer; the log says why.
pub(crate) fn dispatch(request: Request<'_>, variables: &Variables<'_>) -> Option<Result<Dispatched, ()>> {
    let script = script_of(request, |values| values.dispatch_script.as_deref())?;
    let answer = ask(request, script, (Question::Dispatch, &[]), Some(variables));
    Some(verdict::dispatched(answer).ok_or(()))
}

/// Asks a script. `None`: it gave no answer, and the log says why and what follows.
fn ask(
    request: Request<'_>,
    script: &Script,
    asked: (Question, &[&[u8]]),
    variables: Option<&Variables<'_>>,
) -> Option<Answer> {
    match attempt(request, script, asked, variables) {
        Ok(answer) => Some(answer),
        Err(why) => {
            let (directive, path) = (verdict::directive(asked.0), shown(&script.path));
            let then = verdict::consequence(asked.0);
            if asked.0 == Question::Access {
                say_denied(request, script, &format!("{why}; {then}"));
            } else {
                let text = format!("{directive} {path} (at {}): {why}; {then}", script.defined);
                request.report(Message::NotDecided, &text);
            }
            None
        }
    }
}

fn attempt(
    request: Request<'_>,
    script: &Script,
    asked: (Question, &[&[u8]]),
    variables: Option<&Variables<'_>>,
) -> Result<Answer, String> {
    const NO_RECORD: &str = "the configuration in force has no record of it";
    let live = live::get().ok_or(NO_RECORD)?;
    let same_name = |one, other| live.same_name(one, other);
    let server = live::server_key(request.server());
    let target = route::admit_deciding(&live.reading.global, script, server, same_name);
    match target.map_err(|rejection| rejection.text.into_owned())? {
        Target::Embedded => {
            let embedded = embedded::get().ok_or(NO_RECORD)?;
            let payload = payload::of(request, script, asked, variables, None)?;
            embedded::ask(request, embedded, &payload)
        }
        Target::Daemon(at, options) => {
            let groups = daemon::groups().ok_or(NO_RECORD)?;
            let group = groups.all.get(at).ok_or(NO_RECORD)?;
            facts::check_owner(&script.path, group, options).map_err(|rejection| rejection.text.into_owned())?;
            facts::check_root(&script.path, group, options).map_err(|rejection| rejection.text.into_owned())?;
            let payload = payload::of(request, script, asked, variables, Some(group))?;
            let delivery = Delivery { error_override: false, sendfile: false };
            let (pid, dispatch) = (live.pid.load(Ordering::Relaxed), groups.dispatch.as_ref());
            let body = BodyLength::Empty;
            let asks = Some(asked.0);
            daemon::ask(&Job { request, pid, dispatch, group, options, payload: &payload, body, delivery, asks })
        }
    }
}
