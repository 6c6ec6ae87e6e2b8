//! What the repository promises about itself: arrows between crates and between files, licences, and documents that do not
//! rot.

#[path = "tidy/imports.rs"]
mod imports;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

use self::imports::{Sources, circles};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|it| panic!("{path}: {it}"))
}

/// `cargo metadata` for this machine, from what is already downloaded.
static METADATA: LazyLock<Value> = LazyLock::new(|| {
    let version = Command::new("rustc").arg("-vV").output().unwrap().stdout;
    let version = String::from_utf8(version).unwrap();
    let host = version.lines().find_map(|it| it.strip_prefix("host: ")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform", host])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
});

fn packages() -> &'static [Value] {
    METADATA["packages"].as_array().unwrap()
}

/// `schema` of `collimate-schema`.
fn crate_name(package: &str) -> Option<&str> {
    package.strip_prefix("collimate-").or((package == "collimate").then_some(package))
}

#[test]
fn arrows_point_down() {
    let expected = [
        ("schema", vec![]),
        ("fuzz", vec!["schema"]),
        ("run", vec!["schema"]),
        ("kernels", vec![]),
        ("model", vec!["kernels", "schema"]),
        ("train", vec!["kernels", "model", "schema"]),
        ("world", vec!["schema"]),
        ("eval", vec!["schema"]),
        ("collimate", vec!["eval", "kernels", "model", "run", "schema", "train", "world"]),
    ];
    let expected: BTreeMap<_, BTreeSet<_>> = expected.into_iter().map(|(a, b)| (a, b.into_iter().collect())).collect();
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages() {
        let Some(name) = crate_name(package["name"].as_str().unwrap()) else { continue };
        let dependencies = package["dependencies"].as_array().unwrap();
        let of_code = dependencies.iter().filter(|it| it["kind"] != "dev");
        let internal = of_code.filter_map(|it| crate_name(it["name"].as_str().unwrap()));
        found.insert(name, internal.collect());
    }
    assert_eq!(found, expected);
}

/// The layers of `collimate`, the highest first, each by the file or folder that holds it. A file imports from its own layer
/// and from lower ones; what is in none of them is below them all.
const LAYERS: [&str; 6] = ["cli", "commands", "worlds", "bench", "recipes", "recipes/steps"];

/// Which layer a file is in, by the longest name that fits.
fn layer(file: &str) -> usize {
    let fits = |it: &str| file.strip_prefix(it).is_some_and(|rest| rest.starts_with(['/', '.']));
    let fitting = (0..LAYERS.len()).filter(|at| fits(LAYERS[*at]));
    fitting.max_by_key(|at| LAYERS[*at].len()).unwrap_or(LAYERS.len())
}

#[test]
fn files_import_in_no_circle_and_downwards() {
    let mut faults = Vec::new();
    for folder in fs::read_dir(root().join("crates")).unwrap().flatten() {
        let name = folder.file_name().into_string().unwrap();
        let sources = Sources::read(&folder.path().join("src"));
        let imports = sources.imports();
        faults.extend(circles(&imports).iter().map(|it| format!("{name}: {it}")));
        if name == "collimate" {
            for (file, imported) in &imports {
                let upwards = imported.iter().filter(|it| *file != "lib.rs" && layer(it) < layer(file));
                faults.extend(upwards.map(|it| format!("{name}: {file} -> {it}, which is above it")));
            }
        }
    }
    assert!(faults.is_empty(), "files import in a circle or upwards:\n{}", faults.join("\n"));
}

#[test]
fn imports_are_read() {
    let imports = |texts: &[(&str, &str)]| -> Vec<String> {
        let sources = Sources::of(texts.iter().copied());
        let each = |(file, imported): (&&str, &BTreeSet<&str>)| {
            imported.iter().map(|it| format!("{file} -> {it}")).collect::<Vec<_>>()
        };
        sources.imports().iter().flat_map(each).collect()
    };
    // Through what other files pass on, and in code as well as in `use`.
    let lib = ("lib.rs", "mod a; mod b; pub use a::{Thing, inner::Part as Piece};");
    let a = (
        "a.rs",
        "pub mod inner; pub struct Thing; fn f() { inner::g(\"crate::b::x\", '\\'', crate::b::x) } // crate::b",
    );
    let inner = ("a/inner.rs", "pub struct Part; impl From<super::Thing> for Part {}");
    let b = ("b.rs", "use std::fmt; use crate::{Piece, a};\nfn f<'a>(it: &'a Piece) -> a::inner::Part {}");
    assert_eq!(
        imports(&[lib, a, inner, b]),
        ["a.rs -> a/inner.rs", "a.rs -> b.rs", "a/inner.rs -> a.rs", "b.rs -> a.rs", "b.rs -> a/inner.rs"]
    );
    // What is passed on is imported where it is used, and what only tests import is not.
    let lib = ("lib.rs", "mod a; mod b; pub(crate) use a::A; pub use b::B; fn f(_: A) {} #[cfg(test)] mod c;");
    let a = ("a.rs", "pub struct A; #[cfg(test)] mod tests { use crate::{B, c}; }");
    let b = ("b/mod.rs", "pub struct B; #[cfg(test)] use crate::A;");
    assert_eq!(imports(&[lib, a, b, ("c.rs", "use crate::A;")]), ["lib.rs -> a.rs"]);
}

#[test]
fn circles_are_named() {
    let sources = Sources::of([
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::b::B;"),
        ("b.rs", "use crate::c::C;"),
        ("c.rs", "use crate::a::A;"),
    ]);
    assert_eq!(circles(&sources.imports()), ["a.rs -> b.rs -> c.rs -> a.rs"]);
}

/// What `cargo tree` shows with these arguments, a package with its features per line; our own crates are left out.
fn packages_with_features(arguments: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--prefix", "none", "--format", "{p} {f}"])
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.lines().map(|it| it.trim_end_matches(" (*)").trim_end());
    lines.filter(|it| !it.starts_with("collimate")).map(str::to_owned).collect()
}

/// A feature that only tests ask for, anywhere below Burn, is minutes of building it once more.
#[test]
fn running_and_testing_share_one_build_of_the_dependencies() {
    let run = packages_with_features(&["--package", "collimate", "--edges", "normal,build"]);
    let test = packages_with_features(&["--workspace"]);
    let apart: Vec<_> = run.difference(&test).collect();
    assert!(apart.is_empty(), "tests ask for more features of {apart:?}: let crates/collimate/Cargo.toml ask too");
}

/// Packages that give their licence as a file only, and what it was found to be.
const FILE_ONLY: [(&str, &str); 1] = [("cfg_block", "Apache-2.0")];

#[test]
fn every_dependency_may_be_used() {
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        let read = FILE_ONLY.iter().find(|it| it.0 == name).map(|it| it.1);
        let licence = package["license"].as_str().or(read).unwrap_or_default();
        let may = Licence { rest: licence }.allowed();
        assert!(may, "{name} is under `{licence}`, which is not on the list: replace it, or judge the licence");
    }
}

/// An SPDX expression; `/` is the old spelling of OR.
struct Licence<'a> {
    rest: &'a str,
}

impl<'a> Licence<'a> {
    const FINE: [&'static str; 14] = [
        "0BSD",
        "Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC0-1.0",
        "CDLA-Permissive-2.0",
        "ISC",
        "MIT",
        "MPL-2.0",
        "Unicode-3.0",
        "Unlicense",
        "Zlib",
    ];

    /// Whether some choice of its alternatives is entirely on the list.
    fn allowed(&mut self) -> bool {
        let mut any = self.all_of();
        while self.eat("OR") || self.eat("/") {
            any |= self.all_of();
        }
        any
    }

    fn all_of(&mut self) -> bool {
        let mut all = self.one();
        while self.eat("AND") {
            all &= self.one();
        }
        all
    }

    fn one(&mut self) -> bool {
        if self.eat("(") {
            let inner = self.allowed();
            return self.eat(")") && inner;
        }
        let mut id = self.word().to_owned();
        if self.eat("WITH") {
            id = format!("{id} WITH {}", self.word());
        }
        Self::FINE.contains(&id.as_str())
    }

    fn eat(&mut self, token: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn word(&mut self) -> &'a str {
        let text = self.rest.trim_start();
        let end = text.find(|it: char| " ()/".contains(it)).unwrap_or(text.len());
        self.rest = &text[end..];
        &text[..end]
    }
}

#[test]
fn licence_expressions_are_read() {
    let allowed = |rest: &str| Licence { rest }.allowed();
    for fine in ["MIT", "MIT/Apache-2.0", "GPL-3.0 OR MIT", "(MIT OR GPL-2.0) AND Unicode-3.0", "MPL-2.0"] {
        assert!(allowed(fine), "{fine}");
    }
    for not in ["", "GPL-3.0", "AGPL-3.0-only AND MIT", "LGPL-2.1-or-later", "MIT AND (GPL-2.0 OR AGPL-3.0)"] {
        assert!(!allowed(not), "{not}");
    }
}

/// Every `code span` of a document, with its line.
fn spans(document: &str) -> Vec<(usize, &str)> {
    let lines = document.lines().enumerate();
    lines.flat_map(|(index, line)| line.split('`').skip(1).step_by(2).map(move |it| (index + 1, it))).collect()
}

#[test]
fn every_path_in_the_documents_exists() {
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let document = read(name);
        for (line, span) in spans(&document) {
            let path = span.split("::").next().unwrap();
            let is_path =
                ["crates/", "specs/", "assets/", "docs/", "bench/", ".ci/"].iter().any(|it| path.starts_with(it));
            if is_path && !path.contains(['<', '*']) {
                assert!(root().join(path).exists(), "{name}:{line}: `{path}` does not exist");
            }
        }
    }
}

#[test]
fn fault_32_the_readmes_numbers_say_on_what_they_were_measured() {
    let readme = read("README.md");
    let before_table = readme.split("| arm |").next().unwrap().rsplit("\n\n").nth(1).unwrap();
    for said in ["seed 1", "cores of an", "Another processor rounds otherwise"] {
        assert!(before_table.contains(said), "beside the table: {said}");
    }
}

#[test]
fn the_code_map_names_every_crate_and_every_file() {
    let map = read("ARCHITECTURE.md");
    for folder in fs::read_dir(root().join("crates")).unwrap().flatten() {
        let name = format!("crates/{}", folder.file_name().to_string_lossy());
        let (_, section) =
            map.split_once(&format!("\n### `{name}`")).unwrap_or_else(|| panic!("no section of `{name}`"));
        let section = section.split("\n##").next().unwrap();
        for file in fs::read_dir(folder.path().join("src")).unwrap().flatten() {
            let file = file.file_name().to_string_lossy().into_owned();
            let Some(module) = file.strip_suffix(".rs") else { continue };
            if !["lib", "main", "tests", "testing"].contains(&module) {
                assert!(section.contains(&format!("`{module}`")), "ARCHITECTURE.md does not name `{module}` of {name}");
            }
        }
    }
}

#[test]
fn every_invariant_names_a_test_that_exists() {
    let document = read("ARCHITECTURE.md");
    let invariants = document.split("\n## Invariants\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut n_invariants = 0;
    for invariant in invariants.split("\n- ").skip(1) {
        n_invariants += 1;
        let named: Vec<_> = spans(invariant).into_iter().filter_map(|(_, it)| it.split_once(".rs::")).collect();
        assert!(!named.is_empty(), "no test holds: {invariant}");
        for (file, test) in named {
            let code = read(&format!("{file}.rs"));
            let declared = code.split(&format!("fn {test}(")).next().unwrap();
            assert!(declared.len() < code.len(), "{file}.rs has no test `{test}`");
            let is_test = declared.lines().rev().take(6).any(|it| it.trim() == "#[test]");
            assert!(is_test, "`{test}` in {file}.rs is no test");
        }
    }
    assert!(n_invariants >= 10, "only {n_invariants} invariants");
}
