//! What the answer of a script means, and what follows when there is none: pure.

use wsgi_wire::decision::{Answer, Question};

/// What `WSGIAccessScript` decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// `True`.
    Granted,
    /// `None`: others decide.
    Open,
    /// `False`, or no answer.
    Denied,
}

/// What `WSGIAuthUserScript` says of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Login {
    /// The user is who it says it is; perhaps with another name from now on, or with its hash.
    Granted(Option<Vec<u8>>),
    /// The password is wrong.
    Denied,
    /// There is no such user: another provider may know it.
    Unknown,
    /// There is no answer.
    Failed,
}

/// Whether a user is in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Membership {
    /// In one of them.
    Member,
    /// In none, or there is no answer.
    None,
}

/// What `WSGIDispatchScript` chose; `None` where the configuration's value stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dispatched {
    /// The process group; empty is embedded mode.
    pub(crate) process_group: Option<Vec<u8>>,
    /// The application group; empty is the main interpreter.
    pub(crate) application_group: Option<Vec<u8>>,
    /// The callable.
    pub(crate) callable: Option<Vec<u8>>,
}

pub(super) fn access(answer: Option<&Answer>) -> Access {
    match answer {
        Some(Answer::Yes) => Access::Granted,
        Some(Answer::Nothing) => Access::Open,
        Some(Answer::No | Answer::Texts(_)) | None => Access::Denied,
    }
}

pub(super) fn login(answer: Option<&Answer>) -> Login {
    match answer {
        Some(Answer::Yes) => Login::Granted(None),
        Some(Answer::No) => Login::Denied,
        Some(Answer::Nothing) => Login::Unknown,
        Some(Answer::Texts(texts)) => only(texts).map_or(Login::Failed, |user| Login::Granted(Some(user))),
        None => Login::Failed,
    }
}

pub(super) fn hash(answer: Option<&Answer>) -> Login {
    match answer {
        Some(Answer::Nothing) => Login::Unknown,
        Some(Answer::Texts(texts)) => only(texts).map_or(Login::Failed, |hash| Login::Granted(Some(hash))),
        Some(Answer::Yes | Answer::No) | None => Login::Failed,
    }
}

/// The text, if it is one that is not empty.
fn only(texts: &[Option<Vec<u8>>]) -> Option<Vec<u8>> {
    match texts {
        [Some(text)] if !text.is_empty() => Some(text.clone()),
        _ => None,
    }
}

/// Names of groups are compared without regard to case, as in mod_wsgi.
pub(super) fn membership(answer: Option<&Answer>, wanted: &[&[u8]]) -> Membership {
    let Some(Answer::Texts(groups)) = answer else { return Membership::None };
    let is_wanted = |group: &Vec<u8>| wanted.iter().any(|name| name.eq_ignore_ascii_case(group));
    if groups.iter().flatten().any(is_wanted) { Membership::Member } else { Membership::None }
}

/// Whether the user is in any group at all.
pub(super) fn is_in_any(answer: Option<&Answer>) -> bool {
    matches!(answer, Some(Answer::Texts(groups)) if !groups.is_empty())
}

pub(super) fn dispatched(answer: Option<Answer>) -> Option<Dispatched> {
    let Some(Answer::Texts(texts)) = answer else { return None };
    let [process_group, application_group, callable] = <[_; 3]>::try_from(texts).ok()?;
    Some(Dispatched { process_group, application_group, callable })
}

/// The directive whose script is asked.
pub(super) fn directive(question: Question) -> &'static str {
    match question {
        Question::Access => "WSGIAccessScript",
        Question::Password | Question::RealmHash => "WSGIAuthUserScript",
        Question::Groups => "WSGIAuthGroupScript",
        Question::Dispatch => "WSGIDispatchScript",
    }
}

/// What follows when there is no answer, as a sentence's end.
pub(super) fn consequence(question: Question) -> &'static str {
    match question {
        Question::Access => "access is denied (403)",
        Question::Password | Question::RealmHash => "nobody is let in (500)",
        Question::Groups => "the user counts as a member of no group",
        Question::Dispatch => "the request is refused (500)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[Option<&str>]) -> Answer {
        Answer::Texts(texts.iter().map(|text| text.map(|text| text.as_bytes().to_vec())).collect())
    }

    #[test]
    fn whatever_is_no_answer_refuses() {
        assert_eq!(access(None), Access::Denied);
        assert_eq!(access(Some(&texts(&[Some("yes")]))), Access::Denied);
        assert_eq!(login(None), Login::Failed);
        assert_eq!(login(Some(&texts(&[]))), Login::Failed);
        assert_eq!(login(Some(&texts(&[Some("")]))), Login::Failed);
        assert_eq!(login(Some(&texts(&[Some("a"), Some("b")]))), Login::Failed);
        for answer in [None, Some(&Answer::Yes), Some(&Answer::No)] {
            assert_eq!(hash(answer), Login::Failed);
        }
        for answer in [None, Some(Answer::Yes), Some(texts(&[None])), Some(texts(&[None; 4]))] {
            assert_eq!(dispatched(answer), None);
        }
        for answer in [None, Some(&Answer::Yes), Some(&texts(&[]))] {
            assert_eq!(membership(answer, &[b"staff"]), Membership::None);
        }
    }

    #[test]
    fn answers_mean_what_they_say() {
        assert_eq!(access(Some(&Answer::Yes)), Access::Granted);
        assert_eq!(access(Some(&Answer::Nothing)), Access::Open);
        assert_eq!(access(Some(&Answer::No)), Access::Denied);
        assert_eq!(login(Some(&Answer::Yes)), Login::Granted(None));
        assert_eq!(login(Some(&Answer::No)), Login::Denied);
        assert_eq!(login(Some(&Answer::Nothing)), Login::Unknown);
        assert_eq!(login(Some(&texts(&[Some("me")]))), Login::Granted(Some(b"me".to_vec())));
        assert_eq!(hash(Some(&Answer::Nothing)), Login::Unknown);
        assert_eq!(hash(Some(&texts(&[Some("0f")]))), Login::Granted(Some(b"0f".to_vec())));
        let groups = texts(&[Some("users"), Some("Staff")]);
        assert_eq!(membership(Some(&groups), &[b"admin", b"staff"]), Membership::Member);
        assert_eq!(membership(Some(&groups), &[b"admin"]), Membership::None);
        assert_eq!(membership(Some(&groups), &[]), Membership::None);
        let found = dispatched(Some(texts(&[Some("g"), None, Some("app")]))).expect("three");
        assert_eq!((found.process_group.as_deref(), found.application_group), (Some(&b"g"[..]), None));
    }
}
