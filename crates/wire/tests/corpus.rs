//! The fuzz targets' entry points (`fuzz/src/lib.rs`) with every file of their corpus, with each of its beginnings, and with
//! changed bytes: what fuzzing has found once stays found, on any compiler.

#[path = "../../../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use targets::ENTRIES;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = folder().join("corpus").join(name);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = files.map(|entry| entry.expect("entry").path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).expect("readable"))).collect()
}

#[test]
fn the_corpus_of_each_target_passes() {
    for (name, entry) in ENTRIES {
        let all = corpus(name);
        assert!(all.len() >= 5, "the corpus of {name} has {} files", all.len());
        for (path, bytes) in all {
            println!("{}", path.display());
            entry(&bytes);
        }
    }
}

#[test]
fn the_corpus_cut_anywhere_passes() {
    for (name, entry) in ENTRIES {
        for (_, bytes) in corpus(name) {
            (0..bytes.len().min(512)).for_each(|cut| entry(&bytes[..cut]));
        }
    }
}

#[test]
fn every_entry_is_a_target_of_cargo_fuzz() {
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).expect("manifest");
    for (name, _) in ENTRIES {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
        let text = fs::read_to_string(folder().join(format!("fuzz_targets/{name}.rs"))).expect("target");
        assert!(text.contains(&format!("wsgi_fuzz::{name}(bytes)")), "{name}");
    }
}

proptest! {
    #[test]
    fn the_corpus_with_changed_bytes_passes(
        target: prop::sample::Index,
        file: prop::sample::Index,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (name, entry) = ENTRIES[target.index(ENTRIES.len())];
        let all = corpus(name);
        let mut bytes = all[file.index(all.len())].1.clone();
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        entry(&bytes);
    }
}
