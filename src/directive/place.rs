//! Where a line of the configuration stands: its file, its line, its server, and the section around it.

use std::fmt;

use super::Text;
use super::values::shown;

/// Names a virtual host (or the main server) while its `ServerName` may not be known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerKey(pub usize);

impl ServerKey {
    /// The main server, whose configuration every virtual host inherits.
    pub const MAIN: ServerKey = ServerKey(0);
}

/// A line of the configuration, shown as `file:line`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Defined {
    /// The file, as httpd names it.
    pub file: Text,
    /// The line in it, from 1.
    pub line: u32,
}

impl fmt::Display for Defined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", shown(&self.file), self.line)
    }
}

/// Where httpd stands when it meets a directive.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The file that is being read.
    pub file: &'a [u8],
    /// The line in it, from 1.
    pub line: u32,
    /// The server whose configuration this is; [`ServerKey::MAIN`] outside `<VirtualHost>`.
    pub server: ServerKey,
    /// In `<Directory>`, `<Location>`, `<Files>`, `<If>` or their regex forms.
    pub in_directory: bool,
    /// In a `.htaccess` file; httpd itself has checked `AllowOverride`.
    pub in_htaccess: bool,
}

impl Place<'_> {
    /// The same place, to be kept.
    pub fn defined(&self) -> Defined {
        Defined { file: Text::from(self.file), line: self.line }
    }

    /// Whether this is inside `<VirtualHost>`.
    pub fn in_vhost(&self) -> bool {
        self.server != ServerKey::MAIN
    }
}
