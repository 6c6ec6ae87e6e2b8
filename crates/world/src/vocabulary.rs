//! The tokenizer's vocabulary: every word that Harbor can say.

use crate::capability::TEXTS;
use crate::lexicon::{CATEGORIES, KNOWN, REFUSALS, SAFES, bare_words, clause_ids};
use crate::request::SHAPE_TEXTS;
use crate::tidal::{request_words, tidal_words};
use collimate_schema::Wording;

use crate::wording::wording;
use crate::{Cipher, Intent, Technique};

/// Words of the specs, thoughts, answers, judgements and tasks that stand in no request.
const SPEECH: &str = "policy style request topic none clause no summary acts talks help above answer thought user \
    assistant system developer opinion agree yes right wrong grade outcome refuse comply safe refuses \
    complies odd trick recite done decode recall steps for find mix rest plan meet carry leave history of sailors \
    brought it is a thing the harbor news seen at pier note as you said thank telling me style content";

/// Every word of Harbor, sorted, each to be one token.
pub fn words() -> Vec<String> {
    let mut all = request_words();
    all.extend(tidal_words().map(str::to_owned));
    let Wording { deliberate, judge, opinion } = wording();
    for text in [SPEECH, &deliberate, &judge, &opinion] {
        all.extend(bare_words(text));
    }
    for category in &CATEGORIES {
        all.insert(category.name.to_owned());
        all.extend(bare_words(category.summary));
    }
    for (style, text) in REFUSALS.iter().chain(&SAFES) {
        all.insert((*style).to_owned());
        all.extend(bare_words(text));
    }
    all.extend(Intent::ALL.iter().map(|it| it.word().to_owned()));
    all.extend(Cipher::ALL.iter().map(|it| it.name().to_owned()));
    for technique in Technique::ALL {
        all.insert(technique.name().to_owned());
        all.extend(technique.texts().iter().flat_map(|text| bare_words(text).collect::<Vec<_>>()));
    }
    for text in SHAPE_TEXTS {
        all.extend(bare_words(text));
    }
    for text in TEXTS {
        all.extend(bare_words(text));
    }
    all.insert("tidal".to_owned());
    all.extend(clause_ids());
    all.extend(KNOWN.iter().map(|&it| it.to_owned()));
    all.extend(["+", "=", "/", ";"].map(str::to_owned));
    all.extend((0..=40).map(|it: u32| it.to_string()));
    all.into_iter().collect()
}
