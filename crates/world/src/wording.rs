//! In which words a model is asked in Harbor, by the documents of pretraining as by the recipes: it knows no others.

use collimate_schema::Wording;

/// Harbor's words.
pub fn wording() -> Wording {
    let [deliberate, judge, opinion] = ["cite the policy", "judge", "another ai says"].map(str::to_owned);
    Wording { deliberate, judge, opinion }
}
