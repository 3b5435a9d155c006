// A digest of source files, for build scripts: the same sources give the same digest anywhere.

use std::path::{Path, PathBuf};

/// FNV-1a, continued from `start`.
pub fn fnv(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |digest, byte| (digest ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// Adds all files below `folder`, and has cargo look at it.
pub fn gather(folder: &Path, files: &mut Vec<PathBuf>) {
    println!("cargo:rerun-if-changed={}", folder.display());
    for entry in std::fs::read_dir(folder).expect("a source folder").flatten() {
        let path = entry.path();
        if path.is_dir() { gather(&path, files) } else { files.push(path) }
    }
}

/// Names and contents of the files.
pub fn of_files(start: u64, files: &mut [PathBuf]) -> u64 {
    files.sort();
    files.iter().fold(start, |digest, file| {
        let digest = fnv(digest, file.to_string_lossy().as_bytes());
        fnv(digest, &std::fs::read(file).unwrap_or_default())
    })
}

/// The digest of nothing.
pub const EMPTY: u64 = 0xcbf2_9ce4_8422_2325;
