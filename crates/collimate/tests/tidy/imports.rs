//! Which file of a crate imports from which, read from the text of its sources. Code for tests is left out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::Path;

/// A file of a crate as a module: `judge::verdict` is `["judge", "verdict"]`, and `lib.rs` is empty.
type Module = Vec<String>;

/// The sources of one crate.
pub(crate) struct Sources {
    files: BTreeMap<Module, File>,
}

struct File {
    /// Below `src`.
    name: String,
    /// What its `use` items bring into scope.
    uses: Vec<Use>,
    /// Every other path of two names or more.
    paths: Vec<Module>,
    /// Every word of the code outside its `use` items.
    words: BTreeSet<String>,
    /// The modules that exist in tests only.
    test_modules: BTreeSet<String>,
}

struct Use {
    path: Module,
    name: String,
    public: bool,
}

impl Sources {
    /// Reads every file below `src`. A program's `main.rs` is another crate, which only imports.
    pub(crate) fn read(src: &Path) -> Sources {
        let mut texts = BTreeMap::new();
        let mut folders = vec![src.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(src).unwrap().to_str().unwrap().to_owned();
                if path.is_dir() {
                    folders.push(path);
                } else if name.ends_with(".rs") && name != "main.rs" {
                    texts.insert(name, fs::read_to_string(path).unwrap());
                }
            }
        }
        Sources::of(texts.iter().map(|(name, text)| (name.as_str(), text.as_str())))
    }

    /// The sources with these names below `src` and these texts.
    pub(crate) fn of<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Sources {
        let mut files: BTreeMap<Module, File> = texts.into_iter().map(|it| (module_of(it.0), File::of(it))).collect();
        let in_tests: Vec<Module> = files
            .iter()
            .flat_map(|(module, file)| file.test_modules.iter().map(|it| below(module, it)).collect::<Vec<_>>())
            .collect();
        files.retain(|module, _| !in_tests.iter().any(|it| module.starts_with(it)));
        Sources { files }
    }

    /// The names of the files that each file imports from. Declaring a module is no import, and passing on what a module
    /// declares (`pub use`) is one only where the file uses it too.
    pub(crate) fn imports(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut imports = BTreeMap::new();
        for (module, file) in &self.files {
            let uses = file.uses.iter().filter(|it| !it.public || file.words.contains(&it.name)).map(|it| &it.path);
            let found = uses.chain(&file.paths).filter_map(|path| self.resolve(module, path, 0));
            let names = found.map(|it| self.files[&it].name.as_str()).filter(|it| *it != file.name);
            imports.insert(file.name.as_str(), names.collect());
        }
        imports
    }

    /// The module that declares what `path` means in the file `at`; `None` for what another crate declares.
    fn resolve(&self, at: &Module, path: &[String], depth: usize) -> Option<Module> {
        assert!(depth < 20, "{at:?}: {path:?} leads in a circle");
        let (mut module, rest) = match path[0].as_str() {
            "crate" => (Vec::new(), &path[1..]),
            "super" => (at[..at.len() - 1].to_vec(), &path[1..]),
            "self" => (at.clone(), &path[1..]),
            name if self.files.contains_key(&below(at, name)) => (below(at, name), &path[1..]),
            name => {
                let meant = self.brought(at, name)?;
                (self.resolve(at, meant, depth + 1)?, &path[1..])
            }
        };
        for name in rest {
            if name == "super" {
                module.pop();
            } else if self.files.contains_key(&below(&module, name)) {
                module.push(name.clone());
            } else if let Some(path) = self.brought(&module, name) {
                module = self.resolve(&module, path, depth + 1)?;
            } else {
                break; // Declared here: what follows is a part of it.
            }
        }
        Some(module)
    }

    /// The path by which the file `at` brought `name` into scope.
    fn brought(&self, at: &Module, name: &str) -> Option<&[String]> {
        let brings = |it: &&Use| it.name == name && it.path.first().is_some_and(|first| first != name);
        self.files[at].uses.iter().find(brings).map(|it| it.path.as_slice())
    }
}

/// The shortest circle through each file that is on one, as `a -> b -> a`.
pub(crate) fn circles(imports: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
    let mut circles = Vec::new();
    let mut known = BTreeSet::new();
    for &start in imports.keys() {
        let mut queue = VecDeque::from([vec![start]]);
        let mut seen = BTreeSet::new();
        while let Some(way) = queue.pop_front() {
            let last = way[way.len() - 1];
            if last == start && way.len() > 1 {
                if known.insert(way.iter().copied().collect::<BTreeSet<_>>()) {
                    circles.push(way.join(" -> "));
                }
                break;
            }
            let next = imports[last].iter().filter(|it| seen.insert(**it));
            queue.extend(next.map(|it| [way.as_slice(), &[*it]].concat()));
        }
    }
    circles
}

/// `judge/verdict.rs` is `judge::verdict`, and so is `judge/verdict/mod.rs`.
fn module_of(name: &str) -> Module {
    let mut module: Module = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|it| it == "mod" || (it == "lib" && name == "lib.rs")) {
        module.pop();
    }
    module
}

fn below(module: &[String], name: &str) -> Module {
    [module, &[name.to_owned()]].concat()
}

impl File {
    fn of((name, text): (&str, &str)) -> File {
        let (tokens, test_modules) = without_tests(&tokens(text));
        let mut file =
            File { name: name.to_owned(), uses: Vec::new(), paths: Vec::new(), words: BTreeSet::new(), test_modules };
        let mut at = 0;
        let mut public = false;
        while at < tokens.len() {
            let token = tokens[at];
            if token == "use" {
                at += 1;
                file.read_use(&tokens, &mut at, &[], public);
            } else if token == "mod" {
                at += 2;
            } else if is_word(token) {
                let mut path = vec![token.to_owned()];
                while tokens.get(at + 1) == Some(&"::") && tokens.get(at + 2).is_some_and(|it| is_word(it)) {
                    path.push(tokens[at + 2].to_owned());
                    at += 2;
                }
                file.words.extend(path.iter().cloned());
                if path.len() > 1 {
                    file.paths.push(path);
                }
                at += 1;
            } else {
                at += 1;
            }
            // `pub(crate) use` is public to this crate, whose files are all that matters here.
            public = token == "pub" || (public && ["(", ")", "crate", "super", "in"].contains(&token));
        }
        file
    }

    /// Reads one branch of a tree of imports, up to the `,`, `}` or `;` behind it.
    fn read_use(&mut self, tokens: &[&str], at: &mut usize, prefix: &[String], public: bool) {
        let mut path = prefix.to_vec();
        let mut name = None;
        loop {
            match tokens[*at] {
                "," | "}" | ";" => break,
                "::" => *at += 1,
                "{" => {
                    while tokens[*at] != "}" {
                        *at += 1;
                        if tokens[*at] != "}" {
                            self.read_use(tokens, at, &path, public);
                        }
                    }
                    *at += 1;
                    return;
                }
                "as" => {
                    name = Some(tokens[*at + 1].to_owned());
                    *at += 2;
                }
                "self" if !path.is_empty() => *at += 1,
                "*" => {
                    assert!(!public, "{}: `pub use {}::*` does not say what it passes on", self.name, path.join("::"));
                    name = Some("*".to_owned());
                    *at += 1;
                }
                word => {
                    path.push(word.to_owned());
                    *at += 1;
                }
            }
        }
        let name = name.unwrap_or_else(|| path[path.len() - 1].clone());
        self.uses.push(Use { path, name, public });
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|it: char| it.is_alphabetic() || it == '_')
}

/// The words, the `::` and the other signs of a source text, one by one: no comments, strings, characters and lifetimes.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let in_word = |it: char| it.is_alphanumeric() || it == '_';
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |it| it + 2)
        } else if let Some(length) = string_length(rest) {
            length
        } else if first == '\'' {
            character_length(rest)
        } else {
            let length = match first {
                ':' if rest.starts_with("::") => 2,
                it if in_word(it) => rest.find(|it| !in_word(it)).unwrap_or(rest.len()),
                it => it.len_utf8(),
            };
            if !first.is_whitespace() {
                tokens.push(&rest[..length]);
            }
            length
        };
        rest = &rest[length..];
    }
    tokens
}

/// How long the string at the beginning of `text` is, if there is one: `".."`, `r".."`, `r#".."#` and the like of bytes.
fn string_length(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r", "b", "c", ""].into_iter().find(|it| {
        let signs = if it.contains('r') { "#" } else { "" };
        text.strip_prefix(it).is_some_and(|it| it.trim_start_matches(|it| signs.contains(it)).starts_with('"'))
    })?;
    let signs = text[prefix.len()..].find('"')?;
    let begin = prefix.len() + signs + 1;
    if prefix.contains('r') {
        let end = format!("\"{}", "#".repeat(signs));
        return Some(begin + text[begin..].find(&end)? + end.len());
    }
    let mut escaped = false;
    let end = text[begin..].find(|it| {
        let ends = it == '"' && !escaped;
        escaped = it == '\\' && !escaped;
        ends
    })?;
    Some(begin + end + 1)
}

/// How long the character or lifetime at the beginning of `text` is.
fn character_length(text: &str) -> usize {
    if text.starts_with("'\\") {
        return 3 + text[3..].find('\'').unwrap() + 1;
    }
    let mut characters = text.char_indices().skip(2);
    match characters.next() {
        Some((at, '\'')) => at + 1,
        _ => 1,
    }
}

/// The tokens without the items that only tests see, and the names of the modules among those.
fn without_tests<'a>(tokens: &[&'a str]) -> (Vec<&'a str>, BTreeSet<String>) {
    let (mut kept, mut modules) = (Vec::new(), BTreeSet::new());
    let mut at = 0;
    while at < tokens.len() {
        if !tokens[at..].starts_with(&["#", "[", "cfg", "(", "test", ")", "]"]) {
            kept.push(tokens[at]);
            at += 1;
            continue;
        }
        let item = at;
        let mut depth = 0;
        while at < tokens.len() {
            at += 1;
            match tokens[at - 1] {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            if depth == 0 && [";", "}"].contains(&tokens[at - 1]) {
                break;
            }
        }
        if let Some(name) = tokens[item..at].iter().position(|it| *it == "mod") {
            modules.insert(tokens[item + name + 1].to_owned());
        }
    }
    (kept, modules)
}
