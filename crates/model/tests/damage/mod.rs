//! What happens to files: bits that flip, parts that are lost, repeated or exchanged, and numbers that become extreme.

use std::ops::Range;

use collimate_schema::Seed;
use rand::Rng;
use rand::seq::IndexedRandom;
use serde_json::Value;

pub(crate) const NAMES: [&str; 4] = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];

/// The bytes of the files of [`NAMES`].
#[derive(Clone)]
pub(crate) struct Checkpoint(pub(crate) [Vec<u8>; 4]);

const WEIGHTS: usize = 1;
const TEMPLATE: usize = 3;

const VALUES: [&str; 28] = [
    "0",
    "1",
    "-1",
    "2",
    "3",
    "63",
    "64",
    "65",
    "255",
    "4294967295",
    "4294967296",
    "2147483647",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e-320",
    "1e-45",
    "1e38",
    "1e308",
    "1e999",
    "-0.0",
    "0.5",
    "NaN",
    "null",
    "true",
    "[]",
    "\"x\"",
];

const FLOATS: [f32; 10] = [f32::NAN, f32::INFINITY, -1e38, 1e30, -1e20, 1e10, 1e-40, 0.0, -0.0, 1e4];

const JINJA: [&str; 14] = [
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{% macro m(x) %}{{ m(x ~ x) }}{% endmacro %}{{ m('aa') }}",
    "{{ 'a' * 999999999 }}",
    "{{ range(99999) | join('a') }}",
    "{% set x %}{% for i in range(3000) %}{{ messages }}{% endfor %}{% endset %}{{ x }}",
    "{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}",
    "{% set messages = none %}",
    "{{ message.thought.x.y }}",
    "{{ 1 // 0 }}",
    "{{ 9223372036854775807 + 1 }}",
    "{% if",
    "{{ ((((((((((((((((",
    "{# ",
    "{% raw %}",
];

/// One of `seeds`, damaged once or a few times as `seed` says.
pub(crate) fn damaged(seeds: &[Checkpoint], seed: Seed) -> Checkpoint {
    let rng = &mut seed.rng();
    let mut files = seeds.choose(rng).unwrap().clone();
    for _ in 0..1 << rng.random_range(0..3) {
        let which = rng.random_range(0..NAMES.len());
        damage(&mut files, which, rng);
    }
    files
}

fn damage(Checkpoint(files): &mut Checkpoint, which: usize, rng: &mut impl Rng) {
    let other = files.choose(rng).unwrap().clone();
    let file = &mut files[which];
    if file.len() < 16 {
        return;
    }
    match rng.random_range(0..9) {
        0 => {
            let at = at(file, rng);
            file[at] ^= 1 << rng.random_range(0..8);
        }
        1 => file.truncate(at(file, rng)),
        2 => drop(file.drain(range(file, rng))),
        3 => {
            let (part, to) = (other.get(range(&other, rng)).unwrap_or_default(), at(file, rng));
            drop(file.splice(to..to, part.iter().copied()));
        }
        4 => {
            let range = range(file, rng);
            file[range].fill(*[0, 0xff, b' '].choose(rng).unwrap());
        }
        5 if which == WEIGHTS => {
            let to = rng.random_range(0..file.len() / 4 - 1) * 4;
            file[to..to + 4].copy_from_slice(&FLOATS.choose(rng).unwrap().to_le_bytes());
        }
        6 if which == WEIGHTS => {
            let length = *[0, 1, 8, 1 << 20, 1 << 32, 1 << 63, u64::MAX, rng.random()].choose(rng).unwrap();
            file[..8].copy_from_slice(&length.to_le_bytes());
        }
        5 | 6 if which == TEMPLATE => rewrite(file, rng),
        _ => replace_value(file, which == WEIGHTS, rng),
    }
}

fn at(file: &[u8], rng: &mut impl Rng) -> usize {
    rng.random_range(0..file.len())
}

/// A part of `file`, short more often than long.
fn range(file: &[u8], rng: &mut impl Rng) -> Range<usize> {
    if file.is_empty() {
        return 0..0;
    }
    let start = at(file, rng);
    let longest = (file.len() - start).min(1 << rng.random_range(0..14));
    start..start + rng.random_range(0..=longest)
}

/// Puts something extreme in the place of a number; the header of a weights file then says its new length.
fn replace_value(file: &mut Vec<u8>, has_header: bool, rng: &mut impl Rng) {
    let start = if has_header { 8 } else { 0 };
    let length = if has_header { u64::from_le_bytes(file[..8].try_into().unwrap()) } else { file.len() as u64 };
    let end = length.saturating_add(start as u64).min(file.len() as u64) as usize;
    let text = &file[start..end.max(start)];
    let is_digit = |at: usize| text[at].is_ascii_digit();
    let firsts: Vec<usize> = (0..text.len()).filter(|at| is_digit(*at) && (*at == 0 || !is_digit(at - 1))).collect();
    let Some(first) = firsts.choose(rng) else { return };
    let n = (*first..text.len()).take_while(|at| is_digit(*at)).count();
    let value = VALUES.choose(rng).unwrap();
    drop(file.splice(start + first..start + first + n, value.bytes()));
    if has_header {
        let length = (end - start + value.len()).saturating_sub(n) as u64;
        file[..8].copy_from_slice(&length.to_le_bytes());
    }
}

/// Puts some Jinja into the template.
fn rewrite(file: &mut Vec<u8>, rng: &mut impl Rng) {
    let Ok(mut config) = serde_json::from_slice::<Value>(file) else { return };
    let Some(template) = config.get("chat_template").and_then(Value::as_str) else { return };
    let starts: Vec<usize> = template.char_indices().map(|it| it.0).collect();
    let mut template = template.to_owned();
    template.insert_str(starts.choose(rng).copied().unwrap_or(0), JINJA.choose(rng).unwrap());
    config["chat_template"] = template.into();
    *file = config.to_string().into_bytes();
}
