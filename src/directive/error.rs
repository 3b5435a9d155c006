//! What can be wrong with a line of the configuration.

use super::place::Defined;

/// What every directive handler returns.
pub(super) type Outcome = Result<(), DirectiveError>;

/// A sentence for the administrator: what was given, what is allowed. httpd prints file and line before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectiveError {
    /// The directive cannot stand here.
    #[error("{directive} cannot occur within {section}")]
    Place {
        /// The directive.
        directive: &'static str,
        /// The section, in words.
        section: &'static str,
    },
    /// Too few or too many arguments.
    #[error("{directive}: {problem}; the syntax is {directive} {syntax}")]
    Arguments {
        /// The directive.
        directive: &'static str,
        /// What is wrong with their number or form.
        problem: String,
        /// The syntax without the name.
        syntax: &'static str,
    },
    /// A value that is not allowed.
    #[error("{what} \"{given}\": {allowed}")]
    Value {
        /// The directive, or directive and option.
        what: String,
        /// The value as given.
        given: String,
        /// What is allowed, as a clause.
        allowed: String,
    },
    /// An option that does not exist.
    #[error("{directive}: there is no option \"{given}\"; {hint}")]
    UnknownOption {
        /// The directive.
        directive: &'static str,
        /// The name as given.
        given: String,
        /// Names that look like it, or all names.
        hint: String,
    },
    /// An argument that should have been `name=value`.
    #[error(
        "{directive}: \"{given}\" is not an option; options are written name=value without spaces around the equals sign"
    )]
    NotAnOption {
        /// The directive.
        directive: &'static str,
        /// The argument as given.
        given: String,
    },
    /// Options that must stand together or must not.
    #[error("{directive}: {problem}")]
    Combination {
        /// The directive, with the name that it defines.
        directive: String,
        /// What does not fit, as a clause.
        problem: String,
    },
    /// A process group was defined before with other options.
    #[error(
        "WSGIDaemonProcess {name}: this process group is already defined at {first} with other options ({difference}) \
         than here at {second}; give it another name, or make both lines the same"
    )]
    GroupConflict {
        /// The group.
        name: String,
        /// Where it was defined.
        first: Defined,
        /// Where it is defined again.
        second: Defined,
        /// The first option that differs, with both values.
        difference: String,
    },
}
