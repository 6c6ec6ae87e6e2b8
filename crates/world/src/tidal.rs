//! Tidal, the invented language: a coined word for every word of the requests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use crate::ask::template_texts;
use crate::lexicon::{BENIGN, CATEGORIES, MODIFIERS, PLACES, TRIGGERS, UNKNOWN, bare_words};

/// Turns words into the invented language, word by word; what has no translation stays.
pub fn to_tidal(text: &str) -> String {
    text.split(' ').map(|word| TIDAL.get(word).map_or(word, String::as_str)).collect::<Vec<_>>().join(" ")
}

/// Every word that stands in the requests, in order.
pub(crate) fn request_words() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    all.extend(CATEGORIES.iter().flat_map(|it| it.objects).map(str::to_owned));
    for list in [&BENIGN[..], &UNKNOWN, &TRIGGERS, &MODIFIERS, &PLACES] {
        all.extend(list.iter().map(|&it| it.to_owned()));
    }
    for text in template_texts() {
        all.extend(bare_words(text));
    }
    all
}

/// Every word of the language.
pub(crate) fn tidal_words() -> impl Iterator<Item = &'static str> {
    TIDAL.values().map(String::as_str)
}

static TIDAL: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    // Syllables with an initial cluster occur nowhere else in Harbor, so the two vocabularies never meet.
    const HEADS: [&str; 9] = ["ch", "sh", "th", "kw", "bl", "gr", "pl", "sk", "tr"];
    const VOWELS: [&str; 5] = ["a", "e", "i", "o", "u"];
    const TAILS: [&str; 12] = ["x", "lx", "mp", "nt", "rk", "sk", "lm", "rn", "ng", "ft", "nk", "lt"];
    let coin = |n: usize| format!("{}{}{}", HEADS[n % 9], VOWELS[n / 9 % 5], TAILS[n / 45 % 12]);
    let mut coined = (0..).map(coin).filter(|it| !ENGLISH_ACCIDENTS.contains(&it.as_str()));
    request_words().into_iter().map(|word| (word, coined.next().expect("endless"))).collect()
});

const ENGLISH_ACCIDENTS: [&str; 16] = [
    "chant", "plant", "grant", "blank", "plank", "shaft", "graft", "shark", "thank", "trunk", "skunk", "blink",
    "think", "tramp", "plump", "shrimp",
];
