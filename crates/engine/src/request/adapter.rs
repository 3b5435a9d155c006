//! The WSGI adapter (PEP 3333): one request, from packed environ to ended response, in both modes.

use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::atomic::Ordering;

use wsgi_sys::{clock, fd};
use wsgi_wire::keys;
use wsgi_wire::messages::Message;
use wsgi_wire::request::{CONFIRM, Head, Key, ON_READ, PASS_RECORD, Variables};
use wsgi_wire::response::{Failure, FilePart};

use crate::python::interp::Interp;
use crate::python::py::{Any, Gil, Kind, Owned, Raised, Res};
use crate::request::exchange::Exchange;
use crate::request::host::Outcome;
use crate::request::output::{Output, Stop};
use crate::request::report::{About, Reporter, interrupted, is_timeout};
use crate::request::script;
use crate::request::{events, fork, metrics};
use crate::request::{streams, types};

/// Bodies up to this size travel with the head.
const SMALL: usize = 64 << 10;

/// A decoded request.
pub struct Request<'r> {
    /// Which application.
    pub head: Head<'r>,
    /// The environ.
    pub variables: Variables<'r>,
    /// When this process took it, microseconds since the epoch; 0 in embedded mode.
    pub taken_us: i64,
}

/// Executes a request in `interp`, to which the thread is attached. The caller then ends the exchange. A panic ends the
/// request like an exception of the application.
pub fn run<'a>(gil: Gil, interp: &'static Interp, exchange: Pin<&Exchange<'a>>, request: Request<'a>) -> Outcome {
    let (head, taken_us) = (request.head, request.taken_us);
    let outcome = guarded(gil, exchange, || {
        exchange.watch.begin(interp, request.variables.clone());
        interp.report_application_group(gil, request.head.application_group);
        serve(gil, interp, exchange, request)
    });
    metrics::fail(exchange.get_ref(), &head, taken_us, outcome);
    outcome
}

/// Runs `body`. Log lines of the thread are those of `exchange` meanwhile; a panic ends the request.
pub(super) fn guarded(
    gil: Gil,
    exchange: Pin<&Exchange<'_>>,
    body: impl FnOnce() -> Result<Outcome, Outcome>,
) -> Outcome {
    streams::with_exchange(gil, exchange, || {
        let served = panic::catch_unwind(AssertUnwindSafe(body));
        let outcome = served.map_or_else(
            |payload| {
                mem::forget(payload);
                exchange.report(
                    gil,
                    Message::InternalOfRequest,
                    "internal error of mod_wsgi while the request was executed",
                );
                Outcome::Failed(Failure::Application)
            },
            |served| served.unwrap_or_else(|outcome| outcome),
        );
        exchange.watch.end(gil);
        streams::flush_all(gil);
        outcome
    })
}

fn serve(gil: Gil, interp: &Interp, pinned: Pin<&Exchange<'_>>, request: Request<'_>) -> Result<Outcome, Outcome> {
    let exchange = pinned.get_ref();
    let reporter = Reporter(Some(exchange));
    let head = request.head;
    let module = script::module(gil, interp, &head, &|| resource(&request), reporter)?;
    let application = script::callable(gil, &module, &head, reporter)?;
    drop(module);
    match head.flags & (CONFIRM | ON_READ) {
        0 => {}
        CONFIRM => exchange.ask_for_body(gil),
        _ => exchange.note_unasked(),
    }
    let result = types::with_input(interp.objects.input.get(gil), pinned, |input| {
        call(gil, interp, exchange, &request, input, &application)
            .unwrap_or_else(|raised| Err(failed(gil, interp, exchange, &head, raised)))
    });
    exchange.await_writers(gil);
    let result = result.unwrap_or_else(|raised| Err(failed(gil, interp, exchange, &head, raised)));
    let (Ok(outcome) | Err(outcome)) = result;
    metrics::finish(gil, exchange, &head, request.taken_us, outcome);
    events::finished(gil, interp, exchange, (&head, request.taken_us), outcome);
    result
}

/// The file that httpd mapped the request to; it is the script itself but for `WSGIHandlerScript`.
fn resource<'r>(request: &Request<'r>) -> &'r [u8] {
    let is_it = |key: &Key<'_>| matches!(key, Key::Known(number) if usize::from(*number) == numbers::FILENAME);
    let found = request.variables.clone().flatten().filter(|(key, _)| is_it(key)).last();
    found.map_or(request.head.script, |(_, value)| value)
}

/// Logs the exception that ended the request.
fn failed(gil: Gil, interp: &Interp, exchange: &Exchange<'_>, head: &Head<'_>, raised: Raised) -> Outcome {
    let exception = gil.fetch(fork::raised(gil, interp, raised));
    events::raised(gil, interp, exchange, &exception);
    let reporter = Reporter(Some(exchange));
    if is_timeout(gil, interp, &exception) {
        interrupted(gil, exchange);
        return Outcome::Failed(Failure::Timeout);
    }
    reporter.exception(gil, interp, head.script, About::default(), &exception);
    Outcome::Failed(Failure::Application)
}

/// Calls the application, sends what it returns, and closes that.
fn call(
    gil: Gil,
    interp: &Interp,
    exchange: &Exchange<'_>,
    request: &Request<'_>,
    input: &Any,
    application: &Any,
) -> Res<Result<Outcome, Outcome>> {
    let environ = environ(gil, interp, exchange, request, input)?;
    let start_response = types::start_response_of(input)?;
    let replacement = events::begin(gil, interp, exchange, (&environ, request.taken_us), application)?;
    let application = replacement.as_deref().unwrap_or(application);
    let result = fork::returned(gil, interp, application.call2(&environ, &start_response))?;
    drop((environ, start_response));
    let sent = send(gil, interp, exchange, &result);
    // "the iterable's close() must be called upon completion, whether the request was completed
    // normally, or terminated early" (PEP 3333).
    let failure = match sent {
        Ok(()) => None,
        Err(Stop::Raised) => Some(failed(gil, interp, exchange, &request.head, Raised)),
        Err(Stop::Gone) => Some(Outcome::Failed(Failure::ClientGone)),
    };
    if result.as_sequence().is_none() {
        close(gil, interp, exchange, &request.head, &result);
    }
    drop(result);
    match failure {
        Some(failure) => Ok(Err(failure)),
        None => complete(gil, exchange, &request.head),
    }
}

/// Closes what the application returned. An exception is logged and changes nothing; a RequestTimeout has missed what
/// it was for.
fn close(gil: Gil, interp: &Interp, exchange: &Exchange<'_>, head: &Head<'_>, result: &Any) {
    const LOOKUP: &str = "Lookup of 'close' attribute on WSGI response iterable raised an exception.";
    let mut about = About::default();
    let closed = match result.find_attr(gil, interp.objects.names.close.get(gil)) {
        Ok(Some(close)) => fork::returned(gil, interp, close.call0()).map(drop),
        Ok(None) => Ok(()),
        Err(raised) => {
            about.before = Some((Message::CloseLookup, LOOKUP));
            Err(raised)
        }
    };
    let Err(raised) = closed else { return };
    let exception = gil.fetch(raised);
    if !is_timeout(gil, interp, &exception) {
        events::raised(gil, interp, exchange, &exception);
        Reporter(Some(exchange)).exception(gil, interp, head.script, about, &exception);
    }
}

/// The body is through: commits the head if nothing did, and compares the length with what was declared.
fn complete(gil: Gil, exchange: &Exchange<'_>, head: &Head<'_>) -> Res<Result<Outcome, Outcome>> {
    exchange.await_writers(gil);
    let mut output = exchange.output.hold(gil);
    // Nothing, if it is committed.
    output.declare(0);
    output.commit(gil)?;
    let Some((declared, sent)) = output.shortfall() else { return Ok(Ok(Outcome::Complete)) };
    drop(output);
    let script = String::from_utf8_lossy(head.script);
    let text = format!(
        "WSGI script '{script}' declared a Content-Length of {declared} and produced {sent} bytes: \
         the response is cut short."
    );
    exchange.report(gil, Message::LengthDiffers, &text);
    Ok(Err(Outcome::Failed(Failure::Application)))
}

/// Sends what the application returned.
fn send(gil: Gil, interp: &Interp, exchange: &Exchange<'_>, result: &Any) -> Result<(), Stop> {
    if let Some(items) = result.as_sequence() {
        let items: Vec<Owned> = (0..items.len()).filter_map(|at| items.item(at)).collect();
        if items.iter().all(|item| item.as_bytes().is_some()) {
            return measure_write(exchange, || send_whole(gil, exchange, &items));
        }
    } else if result.is_instance(interp.objects.file_wrapper.get(gil))? {
        if let Some(file) = open_file(gil, interp, exchange, result)? {
            return measure_write(exchange, || send_file(gil, exchange, file));
        }
    }
    let items = result.iter()?;
    while let Some(item) = fork::returned(gil, interp, items.next())? {
        let Some(bytes) = item.as_bytes() else {
            let text = format!("response iterable must yield bytes, not {}", item.type_name(gil));
            return Err(gil.raise(Kind::Type, &text).into());
        };
        if !bytes.is_empty() {
            exchange.block(gil, bytes)?;
        }
    }
    Ok(())
}

/// Counts what `write` sends as one write.
fn measure_write(exchange: &Exchange<'_>, write: impl FnOnce() -> Result<(), Stop>) -> Result<(), Stop> {
    let began = exchange.watch.meter.start();
    let written = write();
    exchange.watch.meter.has_written(began);
    written
}

/// Sends a body of which all is known.
fn send_whole(gil: Gil, exchange: &Exchange<'_>, items: &[Owned]) -> Result<(), Stop> {
    let total: usize = items.iter().map(|item| item.as_bytes().map_or(0, <[u8]>::len)).sum();
    if let Some(mut output) = exchange.output.try_hold(gil) {
        output.declare(total as u64);
        if total == 0 {
            return Ok(());
        }
        if total <= SMALL {
            output.commit(gil)?;
            for item in items {
                let part = output.cut(item.as_bytes().unwrap_or_default());
                if !part.is_empty() {
                    output.sink.keep(part);
                }
            }
            return Ok(());
        }
        if !output.is_handed() && share(gil, exchange, &mut output, items, total)? {
            return Ok(());
        }
    }
    items.iter().filter_map(|item| item.as_bytes()).try_for_each(|bytes| exchange.block(gil, bytes))
}

/// Puts a whole body where the host finds it, with one copy and no wait. False: it has to go the usual way.
fn share(
    gil: Gil,
    exchange: &Exchange<'_>,
    output: &mut Output<'_>,
    items: &[Owned],
    total: usize,
) -> Result<bool, Stop> {
    if !output.may_have_body() || output.declared() != Some(total as u64) {
        return Ok(false);
    }
    output.commit(gil)?;
    exchange.note_handed();
    let parts: Vec<&[u8]> = items.iter().filter_map(|item| item.as_bytes()).collect();
    let shared = gil.detach(|| output.sink.share(&parts, total));
    if shared {
        output.count(total as u64);
    }
    Ok(shared)
}

/// A part of a regular file that is to be the body.
struct File {
    fd: OwnedFd,
    position: u64,
    length: u64,
}

/// The file behind a `wsgi.file_wrapper`, if it is a regular one and nothing was sent before.
fn open_file(gil: Gil, interp: &Interp, exchange: &Exchange<'_>, result: &Any) -> Res<Option<File>> {
    // Asking the file runs code of the application, which may write.
    let is_open = |output: &Output<'_>| !output.is_committed();
    if !exchange.output.try_hold(gil).is_some_and(|output| is_open(&output)) {
        return Ok(None);
    }
    let extent = interp.objects.file_extent.get(gil).call(&[result])?;
    let Some(extent) = extent.as_tuple() else { return Ok(None) };
    let number = |at| extent.item(at).ok_or(Raised).and_then(|item| item.as_i64());
    let (fd, position, size) = (number(0)?, number(1)?, number(2)?);
    let Some(fd) = RawFd::try_from(fd).ok().filter(|fd| *fd >= 0) else { return Ok(None) };
    // SAFETY: the file object, which `result` keeps, has it open; it is duplicated before anything runs.
    let Ok(fd) = (unsafe { BorrowedFd::borrow_raw(fd) }).try_clone_to_owned() else { return Ok(None) };
    let Ok(position) = u64::try_from(position) else { return Ok(None) };
    let length = u64::try_from(size).unwrap_or(0).saturating_sub(position);
    let Some(mut output) = exchange.output.try_hold(gil).filter(|output| is_open(output)) else { return Ok(None) };
    output.declare(length);
    let length = output.declared().map_or(length, |declared| declared.min(length));
    Ok(Some(File { fd, position, length }))
}

fn send_file(gil: Gil, exchange: &Exchange<'_>, file: File) -> Result<(), Stop> {
    let Some(mut output) = exchange.output.try_hold(gil) else { return Err(Stop::Gone) };
    output.commit(gil)?;
    exchange.note_handed();
    if !output.may_have_body() {
        return Ok(());
    }
    // httpd cuts ranges out of files only.
    if file.length > SMALL as u64 || (output.wants_range && file.length > 0) {
        output.count(file.length);
        let part = FilePart { offset: file.position, length: file.length };
        let sink = &mut *output.sink;
        return Ok(gil.detach(|| sink.file(file.fd, part))?);
    }
    let mut block = vec![0; usize::try_from(file.length).unwrap_or(0)];
    let count = gil.detach(|| read_whole(&file, &mut block));
    // When the file has shrunk, `complete` finds the shortfall.
    let part = output.cut(&block[..count]);
    output.sink.keep(part);
    Ok(())
}

/// Fills `block` from the file; how much there was.
fn read_whole(file: &File, block: &mut [u8]) -> usize {
    let (mut filled, mut position) = (0, file.position);
    while filled < block.len() {
        match fd::read_at(file.fd.as_fd(), &mut block[filled..], position) {
            Ok(count) if count > 0 => {
                filled += count;
                position += count as u64;
            }
            _ => break,
        }
    }
    filled
}

/// Builds environ.
fn environ(gil: Gil, interp: &Interp, exchange: &Exchange<'_>, request: &Request<'_>, input: &Any) -> Res<Owned> {
    let names = &interp.objects.names;
    let environ = interp.objects.template.get(gil).copy_dict()?;
    let head = &request.head;
    if head.application_group != interp.name().as_bytes() {
        environ.set(names.known[numbers::APPLICATION_GROUP].get(gil), &*gil.latin1(head.application_group)?)?;
    }
    environ.set(names.known[numbers::CALLABLE].get(gil), &*gil.latin1(head.callable)?)?;
    for variable in request.variables.clone() {
        let Ok((key, value)) = variable else {
            return Err(gil.raise(Kind::Runtime, "the request's environ is damaged"));
        };
        put(gil, &environ, interp, exchange, key, value)?;
    }
    if head.flags & PASS_RECORD != 0 {
        if let Some(record) = exchange.output.hold(gil).sink.record() {
            environ.set_named(c"apache.request_rec", &*gil.capsule(record)?)?;
        }
    }
    let seconds = |us: i64| gil.float(us as f64 / 1e6);
    environ.set(names.input.get(gil), input)?;
    environ.set(names.thread_id.get(gil), &*gil.int(exchange.thread_id.into())?)?;
    environ.set(names.request_start.get(gil), &*seconds(head.request_start_us)?)?;
    environ.set(names.queue_start.get(gil), &*seconds(head.queue_start_us)?)?;
    environ.set(names.daemon_start.get(gil), &*seconds(request.taken_us)?)?;
    let begun = clock::wall_us();
    exchange.watch.application_start_us.store(begun, Ordering::Relaxed);
    environ.set(names.application_start.get(gil), &*seconds(begun)?)?;
    Ok(environ)
}

/// Numbers of the known names that mean something here.
pub mod numbers {
    use super::keys::KNOWN;

    const fn find(name: &str) -> usize {
        let mut at = 0;
        while at < KNOWN.len() {
            let (known, wanted) = (KNOWN[at].as_bytes(), name.as_bytes());
            let mut same = 0;
            while same < wanted.len() && same < known.len() && known[same] == wanted[same] {
                same += 1;
            }
            if same == wanted.len() && same == known.len() {
                return at;
            }
            at += 1;
        }
        panic!("not a known name");
    }

    /// `REQUEST_METHOD`
    pub const METHOD: usize = find("REQUEST_METHOD");
    /// `REQUEST_URI`
    pub const URL: usize = find("REQUEST_URI");
    /// `HTTP_RANGE`
    pub const RANGE: usize = find("HTTP_RANGE");
    /// `CONTENT_LENGTH`
    pub const LENGTH: usize = find("CONTENT_LENGTH");
    /// `DOCUMENT_ROOT`
    pub const ROOT: usize = find("DOCUMENT_ROOT");
    /// `SCRIPT_FILENAME`
    pub const FILENAME: usize = find("SCRIPT_FILENAME");
    /// `mod_wsgi.request_id`
    pub const REQUEST_ID: usize = find("mod_wsgi.request_id");
    /// `mod_wsgi.server_pid`
    pub const SERVER_PID: usize = find("mod_wsgi.server_pid");
    /// `mod_wsgi.application_group`
    pub const APPLICATION_GROUP: usize = find("mod_wsgi.application_group");
    /// `mod_wsgi.callable_object`
    pub const CALLABLE: usize = find("mod_wsgi.callable_object");
}

/// Puts a variable into an environ, and notes what it says of body and response.
pub(super) fn put(
    gil: Gil,
    environ: &Any,
    interp: &Interp,
    exchange: &Exchange<'_>,
    key: Key<'_>,
    value: &[u8],
) -> Res<()> {
    let Key::Known(number) = key else {
        return environ.set(&*gil.latin1(key.bytes())?, &*gil.latin1(value)?);
    };
    let number = usize::from(number);
    match number {
        numbers::METHOD if value == b"HEAD" => exchange.output.hold(gil).is_head = true,
        numbers::RANGE => exchange.output.hold(gil).wants_range = true,
        numbers::LENGTH => exchange.input.hold(gil).expect(value),
        _ => {}
    }
    let text = match number {
        numbers::ROOT | numbers::FILENAME => gil.path(value)?,
        _ => gil.latin1(value)?,
    };
    environ.set(interp.objects.names.known[number].get(gil), &text)
}
