//! The card as a whole. Every number names the hashes of its evidence, and a card whose evidence is not at hand is refused.

use std::collections::BTreeSet;

use collimate_schema::Hash;
use minijinja::{Value, context};
use serde::{Deserialize, Serialize};

use super::facts::RunFacts;
use super::numbers::Numbers;
use super::part::{Page, render};
use super::section::Section;

/// A card: what was run, what was measured, and sections about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SystemCard {
    /// The card's title.
    pub title: String,
    /// What was run.
    pub run: RunFacts,
    /// What was measured.
    pub numbers: Numbers,
    /// In the order of the page.
    pub sections: Vec<Section>,
}

/// Why a card may not be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StaleCard {
    /// A number rests on an artefact that is not there, or has changed.
    #[error(
        "{what} rests on evidence `{hash}`, which the run folder does not hold: run the recipe again to build the card anew"
    )]
    Evidence {
        /// What rests on it.
        what: String,
        /// The hash that is missing.
        hash: Hash,
    },
    /// A section does not follow from the numbers.
    #[error("the card's {section} do not follow from its numbers: run the recipe again to build the card anew")]
    Section {
        /// Which section.
        section: &'static str,
    },
}

impl SystemCard {
    /// Refuses a card, loaded from a file perhaps, if some number's evidence is not among the hashes `present` in the run
    /// folder, or if its claims do not follow from its numbers.
    pub fn verify(&self, present: &BTreeSet<Hash>) -> Result<(), StaleCard> {
        if let Some((what, hash)) = self.evidence().into_iter().find(|(_, hash)| !present.contains(hash)) {
            return Err(StaleCard::Evidence { what, hash: hash.clone() });
        }
        match self.sections.iter().find(|it| !it.part().follows(&self.numbers)) {
            Some(it) => Err(StaleCard::Section { section: it.part().key() }),
            None => Ok(()),
        }
    }

    /// Content address.
    pub fn hash(&self) -> Hash {
        Hash::of_json(self)
    }

    /// The text of `card.json`.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a card is plain data");
        text.push('\n');
        text
    }

    /// The text of `card.html`: one file without scripts or links to anything outside it.
    pub fn to_html(&self) -> String {
        let evidence = self.evidence();
        let page = Page { run: &self.run, numbers: &self.numbers, evidence: &evidence };
        let section = |it: &Section| {
            let part = it.part();
            context! { key => part.key(), name => part.name(), heading => part.heading(), html => part.html(&page) }
        };
        render(
            include_str!("card.html"),
            context! {
                title => self.title,
                run => self.run,
                hash => self.hash(),
                chips => self.sections.iter().flat_map(|it| it.part().chips()).collect::<Vec<Value>>(),
                sections => self.sections.iter().map(section).collect::<Vec<_>>(),
            },
        )
        .to_string()
    }

    /// Every artefact that some number rests on, with what rests on it.
    pub fn evidence(&self) -> Vec<(String, &Hash)> {
        let mut all = self.numbers.evidence();
        all.extend(self.sections.iter().flat_map(|it| it.part().evidence(&self.numbers)));
        all
    }
}
