//! What a script is asked to decide (`WSGIAccessScript` and its like), and what it answers.
//!
//! The question travels as a request ([`crate::request`]) with the flag DECIDE: its callable is empty, and behind the
//! variables stand the question and the arguments. The answer is the payload of [`crate::frame::Tag::Answer`]. A script
//! that fails is no answer: the exchange fails like a request. Callers: `src/decide` and the engine's `request/decide.rs`.

use crate::bytes::{DecodeError, Reader, put_long};
use crate::request;

/// What is asked. The numbers are the wire's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Question {
    /// `allow_access(environ, host)`; argument: the client's name or address.
    Access = 1,
    /// `check_password(environ, user, password)`; arguments: user, password.
    Password = 2,
    /// `get_realm_hash(environ, user, realm)`; arguments: user, realm.
    RealmHash = 3,
    /// `groups_for_user(environ, user)`; argument: user.
    Groups = 4,
    /// `process_group(environ)`, `application_group(environ)` and `callable_object(environ)`; no argument.
    Dispatch = 5,
}

impl Question {
    /// The question with this number.
    pub fn from_byte(byte: u8) -> Option<Question> {
        Some(match byte {
            1 => Question::Access,
            2 => Question::Password,
            3 => Question::RealmHash,
            4 => Question::Groups,
            5 => Question::Dispatch,
            _ => return None,
        })
    }

    /// The functions of the script that answer, in the order of the answer's texts.
    pub fn functions(self) -> &'static [&'static str] {
        match self {
            Question::Access => &["allow_access"],
            Question::Password => &["check_password"],
            Question::RealmHash => &["get_realm_hash"],
            Question::Groups => &["groups_for_user"],
            Question::Dispatch => &["process_group", "application_group", "callable_object"],
        }
    }
}

/// Begins the names of variables that are no part of the environ: the TLS connection's, for `mod_ssl.var_lookup()`. The
/// bare prefix is there where mod_ssl is loaded.
pub const TLS: &[u8] = b"mod_ssl:";

/// Appends question and arguments behind the variables of a request.
pub fn put_question(out: &mut Vec<u8>, question: Question, arguments: &[&[u8]]) {
    out.push(question as u8);
    out.push(u8::try_from(arguments.len()).unwrap_or(u8::MAX));
    for argument in arguments {
        put_long(out, argument);
    }
}

/// Reads question and arguments from the end of a request's payload.
///
/// # Errors
/// When the payload does not fit, or something follows.
pub fn question(payload: &[u8]) -> Result<(Question, Vec<&[u8]>), DecodeError> {
    let mut reader = request::behind_variables(payload)?;
    let question = Question::from_byte(reader.u8()?).ok_or(DecodeError::Invalid("question"))?;
    let count = reader.u8()?;
    let arguments = (0..count).map(|_| reader.long()).collect::<Result<_, _>>()?;
    reader.finish()?;
    Ok((question, arguments))
}

/// What a script answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// `True`.
    Yes,
    /// `False`.
    No,
    /// `None`.
    Nothing,
    /// Texts: the user's name, the realm's hash, the groups, or for each function of [`Question::Dispatch`] its value,
    /// where it gave one.
    Texts(Vec<Option<Vec<u8>>>),
}

impl Answer {
    /// One text.
    pub fn text(text: &[u8]) -> Answer {
        Answer::Texts(vec![Some(text.to_vec())])
    }

    /// Appends the payload of [`crate::frame::Tag::Answer`].
    pub fn encode(&self, out: &mut Vec<u8>) {
        let texts = match self {
            Answer::Yes => return out.push(1),
            Answer::No => return out.push(2),
            Answer::Nothing => return out.push(3),
            Answer::Texts(texts) => texts,
        };
        out.push(4);
        out.extend_from_slice(&u32::try_from(texts.len()).unwrap_or(u32::MAX).to_be_bytes());
        for text in texts {
            out.push(text.is_some().into());
            put_long(out, text.as_deref().unwrap_or_default());
        }
    }

    /// Reads an answer. A text with a NUL is an error: httpd would take its beginning for the whole.
    ///
    /// # Errors
    /// When the bytes are no answer.
    pub fn decode(payload: &[u8]) -> Result<Answer, DecodeError> {
        let mut reader = Reader::new(payload);
        let answer = match reader.u8()? {
            1 => Answer::Yes,
            2 => Answer::No,
            3 => Answer::Nothing,
            4 => {
                let count = reader.u32()?;
                Answer::Texts((0..count).map(|_| text(&mut reader)).collect::<Result<_, _>>()?)
            }
            _ => return Err(DecodeError::Invalid("answer")),
        };
        reader.finish()?;
        Ok(answer)
    }
}

fn text(reader: &mut Reader<'_>) -> Result<Option<Vec<u8>>, DecodeError> {
    let is_there = reader.u8()? != 0;
    let bytes = reader.long()?;
    if bytes.contains(&0) {
        return Err(DecodeError::Invalid("NUL in an answer"));
    }
    Ok(is_there.then(|| bytes.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{DECIDE, Encoder, Head};
    use proptest::prelude::*;

    fn payload(question: Question, arguments: &[&[u8]]) -> Vec<u8> {
        let head = Head {
            flags: DECIDE,
            log_level: 7,
            mtime_us: 0,
            request_start_us: 0,
            queue_start_us: 0,
            script: b"/srv/auth.wsgi",
            callable: b"",
            application_group: b"",
        };
        let mut out = Vec::new();
        let mut encoder = Encoder::new(&mut out, &head);
        encoder.put(b"REQUEST_METHOD", b"GET");
        encoder.finish();
        put_question(&mut out, question, arguments);
        out
    }

    #[test]
    fn a_question_stands_behind_the_variables() {
        let bytes = payload(Question::Password, &[b"user", b"pass\0word"]);
        assert_eq!(super::question(&bytes), Ok((Question::Password, vec![&b"user"[..], b"pass\0word"])));
        let (head, variables) = request::decode(&bytes).expect("a head");
        assert_eq!((head.flags, variables.count()), (DECIDE, 1));
        for cut in 0..bytes.len() {
            assert!(super::question(&bytes[..cut]).is_err(), "{cut}");
        }
        assert!(super::question(&[&bytes[..], b"x"].concat()).is_err());
    }

    #[test]
    fn every_question_has_its_number_and_functions() {
        for number in 0..=255 {
            let found = Question::from_byte(number);
            assert_eq!(found.is_some(), (1..=5).contains(&number));
            assert!(found.is_none_or(|question| question as u8 == number && !question.functions().is_empty()));
        }
    }

    #[test]
    fn answers_come_back_and_a_nul_is_none() {
        let texts = Answer::Texts(vec![Some(b"a".to_vec()), None, Some(Vec::new())]);
        for answer in [Answer::Yes, Answer::No, Answer::Nothing, texts, Answer::text(b"user")] {
            let mut bytes = Vec::new();
            answer.encode(&mut bytes);
            assert_eq!(Answer::decode(&bytes).as_ref(), Ok(&answer));
            assert!(Answer::decode(&[&bytes[..], b"x"].concat()).is_err());
            for cut in 0..bytes.len() {
                assert!(Answer::decode(&bytes[..cut]).is_err());
            }
        }
        let mut bytes = Vec::new();
        Answer::text(b"root\0x").encode(&mut bytes);
        assert!(Answer::decode(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_decode_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Answer::decode(&bytes);
            let _ = super::question(&bytes);
        }
    }
}
