//! Running the chat template of a checkpoint, which anybody may have written: in bounded steps, depth and text. Filters and
//! functions of which one step can make much of little are not there; no chat template needs them.

use std::sync::atomic::{AtomicUsize, Ordering};

mod growth;

use minijinja::{Environment, Error, ErrorKind, Value, escape_formatter};

/// The longest template, bytes.
const MOST_SOURCE: usize = 1 << 16;
/// Instructions of a run; a template of one message each takes some twenty for each of them.
const MOST_STEPS: u64 = 10_000;
/// Values that are written, also where only a variable catches them, and the whole text; bytes.
const MOST_TEXT: usize = 1 << 20;
/// Blocks inside blocks; a call of a macro is several.
const DEEPEST: usize = 60;

const GROWING_FILTERS: [&str; 16] = [
    "batch", "center", "chain", "dictsort", "format", "groupby", "indent", "join", "pprint", "replace", "round",
    "slice", "sort", "sum", "unique", "zip",
];

/// What `jinja` makes of `variables`, or why nothing.
pub(crate) fn render(jinja: &str, variables: Value) -> Result<String, String> {
    if jinja.len() > MOST_SOURCE {
        return Err(format!("it is {} bytes long, at most {MOST_SOURCE} are read", jinja.len()));
    }
    growth::check(jinja)?;
    if jinja.contains('*') {
        return Err("it holds a `*`, which could repeat text at will: write it without".to_owned());
    }
    let mut text = Text(Vec::new());
    let rendered =
        bounded().template_from_str(jinja).and_then(|it| it.render_captured_to(variables, &mut text).map(drop));
    match rendered {
        Ok(()) => Ok(String::from_utf8_lossy(&text.0).into_owned()),
        Err(error) => Err(match error.kind() {
            ErrorKind::OutOfFuel => format!("it runs out of fuel after {MOST_STEPS} steps: does it loop without end?"),
            ErrorKind::WriteFailure => format!("it writes more than {MOST_TEXT} bytes"),
            ErrorKind::UnknownFilter | ErrorKind::UnknownFunction => {
                format!("{error}: a template runs here without what makes much text of little")
            }
            _ => error.to_string(),
        }),
    }
}

fn bounded() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(MOST_STEPS));
    environment.set_recursion_limit(DEEPEST);
    GROWING_FILTERS.into_iter().for_each(|it| environment.remove_filter(it));
    environment.remove_global("namespace"); // what a loop puts there may double each time
    let left = AtomicUsize::new(MOST_TEXT);
    environment.set_formatter(move |out, state, value| {
        let n = value.as_str().map_or_else(|| value.to_string().len(), str::len);
        let has_room = left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(n)).is_ok();
        if has_room {
            escape_formatter(out, state, value)
        } else {
            Err(Error::new(ErrorKind::WriteFailure, "too long"))
        }
    });
    environment
}

/// What is written, as long as it is short enough.
struct Text(Vec<u8>);

impl std::io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MOST_TEXT {
            return Err(std::io::Error::other("too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
