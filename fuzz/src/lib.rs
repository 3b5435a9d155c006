//! What the fuzz targets do with a stretch of bytes: they decode it, and whatever is accepted must hold what the decoder
//! promises. Called by `fuzz_targets/`, and with the corpus by `crates/wire/tests/corpus.rs`.

use wsgi_wire::bytes::DecodeError;
use wsgi_wire::config::{DaemonConfig, EmbedConfig, inside};
use wsgi_wire::control::{
    Connect, FromDaemon, ParentMessage, Stored, ToDaemon, ask_metrics, asked_metrics, stop, stop_cause,
};
use wsgi_wire::decision::{self, Answer};
use wsgi_wire::doctor::{Examination, Finding};
use wsgi_wire::frame::{self, HEADER, InputFailure, Tag};
use wsgi_wire::lines::{Lines, MAX_LINE};
use wsgi_wire::loaded::Loaded;
use wsgi_wire::request::{self, Encoder};
use wsgi_wire::response::{Failure, FilePart, Head, HeadEncoder, LogRecord, is_token};
use wsgi_wire::scan::Scan;
use wsgi_wire::{MAX_PAYLOAD, output};

/// A target's name, which is that of its corpus, and what it does.
pub type Entry = (&'static str, fn(&[u8]));

/// All targets.
pub const ENTRIES: [Entry; 10] = [
    ("frames", frames),
    ("scan", scan),
    ("request", request),
    ("response", response),
    ("parts", parts),
    ("decision", decision),
    ("control", control),
    ("loaded", loaded),
    ("lines", lines),
    ("config", config),
];

/// A stream of frames, as a connection's two ends cut it: no length is believed, and a cut frame is incomplete.
pub fn frames(mut bytes: &[u8]) {
    while let Ok(Some((header, payload, used))) = frame::split(bytes) {
        assert!(payload.len() == header.len && header.len <= MAX_PAYLOAD && used == HEADER + header.len);
        assert_eq!(Tag::from_byte(bytes[0]), Some(header.tag));
        let mut again = frame::header(header.tag, header.last, header.len);
        again[1] |= if header.whole { frame::WHOLE } else { 0 };
        assert_eq!(again, bytes[..HEADER]);
        for cut in [0, HEADER - 1, used - 1] {
            assert_eq!(frame::split(&bytes[..cut.min(used - 1)]), Ok(None));
        }
        bytes = &bytes[used..];
    }
    let _ = frame::decode(bytes);
}

/// The first byte says in which pieces the rest comes; the end is found at the same place as by taking frame after frame.
pub fn scan(bytes: &[u8]) {
    let Some((size, bytes)) = bytes.split_first() else { return };
    let mut whole = Scan::default();
    let at_once = whole.feed(bytes).is_ok();
    let mut pieces = Scan::default();
    let in_pieces = bytes.chunks(usize::from(*size) + 1).all(|piece| pieces.feed(piece).is_ok());
    assert_eq!((at_once, at_once && whole.ended()), (in_pieces, in_pieces && pieces.ended()));
    if at_once && whole.ended() {
        let (mut rest, mut last) = (bytes, false);
        while let Ok(Some((header, _, used))) = frame::split(rest) {
            assert!(!last, "a frame after the last one");
            last =
                header.last || matches!(header.tag, Tag::File | Tag::Shared | Tag::Failed | Tag::Stale | Tag::Answer);
            rest = &rest[used..];
        }
        assert!(last && rest.is_empty());
    }
    let mut within = Scan::within(usize::from(*size), true);
    assert_eq!(within.feed(bytes).is_ok(), bytes.len() <= usize::from(*size));
}

/// A request: what is accepted whole is the same after another way through encoder and decoder.
pub fn request(bytes: &[u8]) {
    let Ok((head, variables)) = request::decode(bytes) else { return };
    let Ok(variables) = variables.collect::<Result<Vec<_>, DecodeError>>() else { return };
    let named: Vec<_> =
        variables.iter().map(|(key, value)| (key.bytes(), *value)).filter(|(name, _)| !name.is_empty()).collect();
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, &head);
    for (name, value) in &named {
        encoder.put(name, value);
    }
    encoder.finish();
    let (head_again, again) = request::decode(&out).expect("encoded");
    let again: Vec<_> = again.map(|item| item.expect("encoded")).map(|(key, value)| (key.bytes(), value)).collect();
    assert_eq!((head, named), (head_again, again));
}

/// A response's head: what is accepted can't split the response, and is the same bytes when it is encoded again.
pub fn response(bytes: &[u8]) {
    let Ok(head) = Head::decode(bytes) else { return };
    let safe = |text: &[u8]| !text.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
    assert!((200..=999).contains(&head.status) && safe(head.reason));
    let mut out = Vec::new();
    let mut encoder = HeadEncoder::new(&mut out, head.status, head.reason);
    for (name, value) in head.headers() {
        assert!(!name.is_empty() && name.iter().all(|byte| is_token(*byte)) && safe(value));
        encoder.put(name, value);
    }
    encoder.finish();
    assert_eq!(out, bytes);
}

/// The short payloads of a daemon process.
pub fn parts(bytes: &[u8]) {
    if let Ok(record) = LogRecord::decode(bytes) {
        assert!(record.level <= 15 && record.text == &bytes[1..]);
    }
    if let Ok(part) = FilePart::decode(bytes) {
        assert!(part.offset.checked_add(part.length).is_some_and(|end| i64::try_from(end).is_ok()));
        assert_eq!(part.encode(), bytes);
    }
    for byte in bytes {
        let _ = (Failure::from_byte(*byte), InputFailure::from_byte(*byte));
    }
}

/// The fixed-size messages around the supervisor.
pub fn control(bytes: &[u8]) {
    if let Ok(connect) = Connect::decode(bytes) {
        assert_eq!(connect.encode(), bytes);
    }
    if let Ok(stored) = Stored::decode(bytes) {
        assert_eq!(stored.encode(), bytes);
    }
    if let Ok(order) = ToDaemon::decode(bytes) {
        let encoded = if order == ToDaemon::Stop { stop(stop_cause(bytes)) } else { vec![order as u8] };
        assert_eq!(encoded, bytes);
    }
    if let Ok(message) = FromDaemon::decode(bytes) {
        assert_eq!(message.encode(), bytes);
    }
    if let Some(number) = asked_metrics(bytes) {
        assert_eq!(ask_metrics(number), bytes);
    }
}

/// What a daemon process tells of the scripts that it has loaded.
pub fn loaded(bytes: &[u8]) {
    if let Ok(loaded) = Loaded::decode(bytes) {
        assert!(
            loaded.application_group.len() <= Loaded::MAX_APPLICATION_GROUP
                && loaded.script.len() <= Loaded::MAX_SCRIPT
        );
        assert!(
            loaded.script.starts_with('/') && !loaded.script.contains('\0') && !loaded.application_group.contains('\0')
        );
        assert_eq!(loaded.encode().as_deref(), Some(bytes));
    }
}

/// What a daemon process writes to its output, with the first two bytes as the size of the pieces in which it comes.
pub fn lines(bytes: &[u8]) {
    let Some((size, bytes)) = bytes.split_first_chunk::<2>() else { return };
    let all = |size: usize| {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for piece in bytes.chunks(size) {
            lines.push(piece, |line| found.push(line.to_vec()));
        }
        lines.finish(|line| found.push(line.to_vec()));
        found
    };
    let found = all(usize::from(u16::from_be_bytes(*size)) + 1);
    assert_eq!(found, all(bytes.len().max(1)));
    for line in &found {
        let (level, text) = output::read(line);
        assert!(line.len() <= MAX_LINE && level.is_none_or(|level| level <= 7) && line.ends_with(text));
        assert!(!line.contains(&b'\n'));
    }
    let newlines = bytes.iter().filter(|byte| **byte == b'\n').count();
    assert!(found.len() >= newlines);
}

/// The JSON messages, and the paths in them.
pub fn config(bytes: &[u8]) {
    fn again<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
        if let Ok(value) = serde_json::from_slice::<T>(bytes) {
            let text = serde_json::to_vec(&value).expect("it was JSON");
            assert_eq!(serde_json::from_slice::<T>(&text).expect("encoded"), value);
        }
    }
    again::<ParentMessage>(bytes);
    again::<DaemonConfig>(bytes);
    again::<EmbedConfig>(bytes);
    again::<Examination>(bytes);
    again::<Finding>(bytes);
    let middle = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (root, path) = bytes.split_at(middle);
    if let Some(inner) = inside(root, path.get(1..).unwrap_or_default()) {
        assert_eq!(inner.first(), Some(&b'/'));
    }
}

/// An answer comes back as the same bytes (but for what stands where a text is missing) and has no NUL. A question has the
/// arguments that were counted.
pub fn decision(bytes: &[u8]) {
    if let Ok(answer) = Answer::decode(bytes) {
        let mut again = Vec::new();
        answer.encode(&mut again);
        assert_eq!(Answer::decode(&again).as_ref(), Ok(&answer));
        if let Answer::Texts(texts) = &answer {
            assert!(texts.iter().flatten().all(|text| !text.contains(&0)));
        }
    }
    if let Ok((question, arguments)) = decision::question(bytes) {
        assert!(!question.functions().is_empty() && arguments.len() <= usize::from(u8::MAX));
    }
}
