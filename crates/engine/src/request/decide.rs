//! A script that decides (`WSGIAccessScript` and its like): one question, from packed environ to answer, in both modes.
//! The hosts call [`run`] for a request with the flag DECIDE. Whatever goes wrong is no answer: the child then refuses.

use std::pin::Pin;

use wsgi_wire::MAX_PAYLOAD;
use wsgi_wire::decision::{Answer, Question, TLS, question};
use wsgi_wire::messages::Message;
use wsgi_wire::request::{Head, PASS_RECORD};
use wsgi_wire::response::Failure;

use crate::python::interp::Interp;
use crate::python::py::{Any, Gil, Kind, Owned, Raised, Res};
use crate::request::adapter::{self, Request};
use crate::request::exchange::Exchange;
use crate::request::fork;
use crate::request::host::Outcome;
use crate::request::report::{About, Reporter, is_timeout};
use crate::request::script;

/// What the environ has of the part that is the same for all requests.
const COMMON: [&str; 4] = ["wsgi.errors", "apache.version", "mod_wsgi.version", "mod_wsgi.process_group"];

/// Asks the script of `request`, whose payload this is, in `interp`, to which the thread is attached. The caller then ends
/// the exchange.
pub fn run(gil: Gil, interp: &Interp, exchange: Pin<&Exchange<'_>>, request: &Request<'_>, payload: &[u8]) -> Outcome {
    adapter::guarded(gil, exchange, || ask(gil, interp, exchange.get_ref(), request, payload))
}

fn ask(
    gil: Gil,
    interp: &Interp,
    exchange: &Exchange<'_>,
    request: &Request<'_>,
    payload: &[u8],
) -> Result<Outcome, Outcome> {
    let (asked, arguments) = question(payload).map_err(|_| Outcome::Failed(Failure::Protocol))?;
    let head = request.head;
    let module = script::module(gil, interp, &head, &|| head.script, Reporter(Some(exchange)))?;
    let found = decide(gil, interp, exchange, request, &module, (asked, &arguments))
        .map_err(|raised| failed(gil, interp, exchange, &head, raised))?;
    let problem = match found {
        Ok(answer) => match encode(&answer) {
            Ok(bytes) => {
                exchange.output.hold(gil).sink.answer(&bytes);
                return Ok(Outcome::Complete);
            }
            Err(problem) => problem,
        },
        Err(problem) => problem,
    };
    let script = String::from_utf8_lossy(head.script);
    let (message, problem) = problem;
    exchange.report(gil, message, &format!("Target WSGI script '{script}' gives no answer: {problem}."));
    Err(Outcome::Failed(Failure::Application))
}

/// Why there is no answer: the number of the line, and a sentence without its end.
type Problem = (Message, String);

fn encode(answer: &Answer) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    answer.encode(&mut bytes);
    match bytes.len() {
        0..=MAX_PAYLOAD => Ok(bytes),
        length => {
            let text = format!("its answer takes {length} bytes, and at most {MAX_PAYLOAD} are allowed");
            Err((Message::NoAnswer, text))
        }
    }
}

/// Calls the script's function. The inner error: why what it returned is no answer.
fn decide(
    gil: Gil,
    interp: &Interp,
    exchange: &Exchange<'_>,
    request: &Request<'_>,
    module: &Any,
    (asked, arguments): (Question, &[&[u8]]),
) -> Res<Result<Answer, Problem>> {
    let (environ, variables) = environ(gil, interp, exchange, request)?;
    let texts = gil.list()?;
    for argument in arguments {
        texts.append(&*gil.latin1(argument)?)?;
    }
    let (number, namespace) = (gil.int(i64::from(asked as u8))?, module.module_dict()?);
    let decide = interp.objects.decide.get(gil);
    let result = decide.call(&[&number, &namespace, &environ, &variables, &texts]);
    let result = fork::returned(gil, interp, result)?;
    match result.utf8(gil).filter(|_| result.is_str()) {
        Some(text) => Ok(Err(problem(text))),
        None => read(gil, &result).map(Ok),
    }
}

/// What `decide.py` says in the place of an answer: a number of the table, and a sentence without its end.
fn problem(text: &str) -> Problem {
    let (tag, problem) = text.split_once(": ").unwrap_or(("", text));
    Message::of_tag(tag).map_or((Message::NoAnswer, text.to_owned()), |message| (message, problem.to_owned()))
}

/// The answer as `decide.py` gives it: its number, and a tuple of bytes or None.
fn read(gil: Gil, result: &Any) -> Res<Answer> {
    let unreadable = || gil.raise(Kind::Runtime, "internal error of mod_wsgi: an answer cannot be read");
    let pair = result.as_tuple().ok_or_else(unreadable)?;
    let (number, texts) = (pair.item(0).ok_or(Raised)?.as_i64()?, pair.item(1).ok_or(Raised)?);
    match number {
        1 => Ok(Answer::Yes),
        2 => Ok(Answer::No),
        3 => Ok(Answer::Nothing),
        4 => {
            let texts = texts.as_tuple().ok_or_else(unreadable)?;
            let items = (0..texts.len()).filter_map(|at| texts.item(at));
            Ok(Answer::Texts(items.map(|item| item.as_bytes().map(<[u8]>::to_vec)).collect()))
        }
        _ => Err(unreadable()),
    }
}

/// The environ, and the TLS variables beside it.
fn environ(gil: Gil, interp: &Interp, exchange: &Exchange<'_>, request: &Request<'_>) -> Res<(Owned, Owned)> {
    let (environ, tls) = (gil.dict()?, gil.dict()?);
    for name in COMMON {
        let name = gil.str(name)?;
        if let Some(value) = interp.objects.template.get(gil).get(&name)? {
            environ.set(&name, &value)?;
        }
    }
    environ.set_named(c"mod_wsgi.application_group", &*gil.latin1(request.head.application_group)?)?;
    for variable in request.variables.clone() {
        let Ok((key, value)) = variable else {
            return Err(gil.raise(Kind::Runtime, "the request's environ is damaged"));
        };
        match key.bytes().strip_prefix(TLS) {
            Some(name) => tls.set(&*gil.latin1(name)?, &*gil.latin1(value)?)?,
            None => adapter::put(gil, &environ, interp, exchange, key, value)?,
        }
    }
    if request.head.flags & PASS_RECORD != 0 {
        if let Some(record) = exchange.output.hold(gil).sink.record() {
            environ.set_named(c"apache.request_rec", &*gil.capsule(record)?)?;
        }
    }
    Ok((environ, tls))
}

/// Logs the exception that came in the place of an answer.
fn failed(gil: Gil, interp: &Interp, exchange: &Exchange<'_>, head: &Head<'_>, raised: Raised) -> Outcome {
    let exception = gil.fetch(fork::raised(gil, interp, raised));
    if is_timeout(gil, interp, &exception) {
        exchange.info(gil, "Request interrupted by RequestTimeout; thread recovered; the script has given no answer.");
        return Outcome::Failed(Failure::Timeout);
    }
    Reporter(Some(exchange)).exception(gil, interp, head.script, About::default(), &exception);
    Outcome::Failed(Failure::Application)
}
