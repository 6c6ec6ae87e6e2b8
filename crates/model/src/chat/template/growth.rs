//! How large the values of a template may become, told from its text before it is run: fuel counts steps, and a step may double
//! what a variable holds.

use std::collections::HashMap;

/// The longest tag, bytes: what stands in one is parsed and computed by recursion.
const LONGEST_TAG: usize = 2000;
/// How many times as large as what it is given, or as its own text, a variable may become.
const MOST_COPIES: u64 = 1000;
/// Unary operators and brackets inside each other.
const DEEPEST: usize = 60;
/// Tags that call code again with what it made.
const REPEATING: [&str; 6] = ["macro", "call", "import", "from", "include", "extends"];

/// Refuses a template that could make much of little.
pub(super) fn check(jinja: &str) -> Result<(), String> {
    let mut copies: HashMap<&str, u64> = HashMap::new();
    for tag in tags(jinja) {
        if tag.len() > LONGEST_TAG {
            return Err(format!("one of its tags is {} bytes long, at most {LONGEST_TAG} are read", tag.len()));
        }
        let mut depth = 0;
        for it in tag.chars().filter(|it| !it.is_whitespace()) {
            depth = if "-+([{".contains(it) { depth + 1 } else { 0 };
            if depth > DEEPEST {
                return Err(format!("it has more than {DEEPEST} operators or brackets in a row"));
            }
        }
        let words: Vec<&str> = words(tag).collect();
        let first = words.first().copied().unwrap_or_default();
        if REPEATING.contains(&first) || words.contains(&"recursive") || is_repeated(&words, "not") {
            return Err(format!("it uses `{}`, which could repeat without end: write it without", repeating(&words)));
        }
        let total = words.iter().fold(0_u64, |sum, it| sum.saturating_add(*copies.get(it).unwrap_or(&1)));
        if matches!(first, "set" | "with" | "for") {
            if total > MOST_COPIES {
                return Err(format!(
                    "its variable `{}` could become {total} times as large as what is put in",
                    words[1]
                ));
            }
            // Every word could be a target; one that is not grows with no harm.
            for word in words.iter().skip(1).filter(|it| assigns(tag, it)) {
                copies.insert(word, total);
            }
        }
    }
    Ok(())
}

/// The inside of every tag that is code.
fn tags(jinja: &str) -> impl Iterator<Item = &str> {
    let mut rest = jinja;
    std::iter::from_fn(move || {
        let start = [rest.find("{{"), rest.find("{%")].into_iter().flatten().min()?;
        let end = if rest[start..].starts_with("{{") { "}}" } else { "%}" };
        let inside = &rest[start + 2..];
        let len = inside.find(end).unwrap_or(inside.len());
        rest = inside.get(len + 2..).unwrap_or_default();
        Some(&inside[..len])
    })
}

fn words(tag: &str) -> impl Iterator<Item = &str> {
    tag.split(|it: char| !it.is_alphanumeric() && it != '_').filter(|it| !it.is_empty())
}

fn is_repeated(words: &[&str], word: &str) -> bool {
    words.windows(3).any(|it| it.iter().all(|it| *it == word))
}

fn repeating<'a>(words: &[&'a str]) -> &'a str {
    let named = words.iter().find(|it| REPEATING.contains(it) || **it == "recursive");
    named.or(words.first()).copied().unwrap_or_default()
}

/// Whether `tag` gives `word` a value: `set a = ..`, `set a, b = ..`, `with a = .., b = ..`, `for a in ..`.
fn assigns(tag: &str, word: &str) -> bool {
    tag.match_indices(word).any(|(at, _)| {
        let after = tag[at + word.len()..].trim_start();
        (after.starts_with('=') && !after.starts_with("==")) || after.starts_with(',') || after.starts_with("in ")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_16_what_could_grow_without_end_is_refused() {
        for jinja in [
            "{% set a='aa' %}".to_owned() + &"{% set a=a~a %}".repeat(60) + "{{a}}",
            "{% set a='aa' %}".to_owned() + &"{%- set a = a + a -%}".repeat(60),
            "{% set a=[1] %}".to_owned() + &"{% set a=[a,a] %}".repeat(60),
            "{% set a=[1] %}".to_owned() + &"{% set b=a+a %}{% set a=b+b %}".repeat(30),
            "{% set a='a' %}".to_owned() + &"{% with a = a ~ a %}".repeat(50) + &"{% endwith %}".repeat(50),
            "{{ ".to_owned() + &"-".repeat(65000) + "1 }}",
            "{{ ".to_owned() + &"not ".repeat(400) + "1 }}",
            "{{ a".to_owned() + &"~a".repeat(5000) + " }}",
            "{% macro m(x) %}{{ m(x ~ x) }}{% endmacro %}".to_owned(),
            "{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}".to_owned(),
        ] {
            assert!(check(&jinja).is_err(), "{}", &jinja[..jinja.len().min(80)]);
        }
        let usual = "{%- set first = messages[0]['content'] -%}{% for m in messages %}{% set text = '<|' + m.role + '|>' + m.content %}\
                     {% if not loop.last and (m.role == 'user' or first is defined) %}{{ text ~ eos_token }}{% endif %}{% endfor %}";
        assert_eq!(check(usual), Ok(()));
    }
}
