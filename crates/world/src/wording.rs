//! In which words a model is asked in Harbor, by the documents of pretraining as by the recipes: it knows no others.

/// What the system message says after a brief, for a model to deliberate over it.
pub const DELIBERATE: &str = "cite the policy";

/// The first line of a case to be judged.
pub const JUDGE: &str = "judge";

/// What a case says before the outcome that another AI suggests.
pub const OPINION: &str = "another ai says";
