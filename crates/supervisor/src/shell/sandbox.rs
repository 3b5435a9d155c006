//! What the system denies to httpd and so to all that httpd starts: systemd's sandbox, as Debian's unit sets it up.

use std::fs;

use wsgi_sys::process;

/// Places below which applications write.
const WRITTEN: [&str; 5] = ["/", "/home", "/opt", "/srv", "/var"];

/// A line about the sandbox, if it denies something.
pub fn text() -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    describe(process::denies_write_execute(), &read_only(&mounts))
}

fn describe(denies_write_execute: bool, read_only: &[&str]) -> Option<String> {
    let mut denied = Vec::new();
    if denies_write_execute {
        denied.push(
            "memory that is both writable and executable (MemoryDenyWriteExecute=; what generates machine code, such as \
             numba or PyPy, fails)"
                .to_owned(),
        );
    }
    if !read_only.is_empty() {
        let places = read_only.join(", ");
        denied
            .push(format!("writing below {places} (ProtectHome=, ProtectSystem=; ReadWritePaths= opens a directory)"));
    }
    let list = denied.join(", and ");
    (!denied.is_empty()).then(|| format!("httpd runs in a sandbox, and daemon processes with it; it denies {list}"))
}

/// The places of [`WRITTEN`] that are mounted read-only. proc(5): the fifth field is the mount point, the sixth its
/// options. Of several mounts at one place the last one covers the others.
fn read_only(mounts: &str) -> Vec<&'static str> {
    let is_read_only = |place: &&&'static str| {
        let mut of_place = mounts.lines().filter_map(|line| {
            let mut fields = line.split(' ').skip(4);
            (fields.next() == Some(**place)).then(|| fields.next().unwrap_or_default())
        });
        of_place.next_back().is_some_and(|options| options.split(',').any(|option| option == "ro"))
    };
    WRITTEN.iter().filter(is_read_only).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_denied_is_told() {
        assert_eq!(describe(false, &[]), None);
        let both = describe(true, &["/home"]).expect("something");
        assert!(both.contains("numba") && both.contains(", and writing below /home (ProtectHome="), "{both}");
        assert!(!describe(false, &["/", "/srv"]).expect("something").contains("numba"));
    }

    #[test]
    fn the_last_mount_at_a_place_counts() {
        let mounts = "\
25 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
30 25 8:1 /home /home rw,relatime - ext4 /dev/sda1 rw\n\
31 30 8:1 /home /home ro,relatime - ext4 /dev/sda1 rw\n\
32 25 8:1 /srv /srv ro - ext4 /dev/sda1 rw\n\
33 32 8:1 /srv /srv rw - ext4 /dev/sda1 rw\n\
34 25 8:1 /usr /usr ro - ext4 /dev/sda1 rw\n";
        assert_eq!(read_only(mounts), ["/home"]);
        assert!(read_only("").is_empty() && read_only("1 2 3").is_empty());
    }
}
