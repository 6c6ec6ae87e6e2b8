//! Thoughts that lean on an absent context. In the distilled data the policy is gone, so a thought that points at it teaches
//! the student to look for what is not there. A thought may *quote* the policy, cite its clauses and call it "the policy".

use collimate_schema::Thought;

/// What gives such a thought away, in lower case, matched as whole words. A pattern is only worth its place if text about the
/// *user's* request seldom holds it: "below" and "the instructions" do not qualify.
const PHRASES: &[&str] = &[
    "above",
    "aforementioned",
    "as provided",
    "as given",
    "in the system message",
    "in the system prompt",
    "in my context",
    "the given policy",
    "the given policies",
    "the given spec",
    "the provided policy",
    "the provided policies",
    "the provided spec",
    "the attached policy",
    "the following policy",
    "the policy below",
    "i was given",
    "i was shown",
    "i am shown",
    "given to me",
    "provided to me",
    "shown here",
    "listed here",
];

/// The first phrase (in the order of our list) with which `thought` points at a policy that will not be there. Whole words,
/// whatever their case and the white space between them.
pub fn leaning_phrase(thought: &Thought) -> Option<&'static str> {
    let words = format!(" {} ", words(&thought.0).join(" "));
    PHRASES.iter().copied().find(|phrase| words.contains(&format!(" {phrase} ")))
}

/// Lower-case words, without what stands between them.
fn words(text: &str) -> Vec<String> {
    text.split(|it: char| !it.is_alphanumeric()).filter(|it| !it.is_empty()).map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    fn check(thought: &str, expect: Expect) {
        expect.assert_eq(leaning_phrase(&Thought(thought.to_owned())).unwrap_or("none"));
    }

    #[test]
    fn leaning() {
        check("The policy above says refuse.", expect!["above"]);
        check("as PROVIDED,\n C3 applies", expect!["as provided"]);
        check("It says so in the  system\nmessage", expect!["in the system message"]);
        check("the given policy: refuse", expect!["the given policy"]);
        check("the rule shown here", expect!["shown here"]);
    }

    #[test]
    fn not_leaning() {
        check("", expect!["none"]);
        check("The policy on contraband says refuse, C3.", expect!["none"]);
        check("aboveboard, as providedness", expect!["none"]);
        check("the user asks in a system of messages", expect!["none"]);
    }

    proptest! {
        #[test]
        fn case_does_not_matter(before in "[a-z ]{0,20}", phrase in prop::sample::select(PHRASES), flips: u64) {
            let mixed: String = format!("{before} {phrase}.")
                .chars()
                .enumerate()
                .map(|(place, it)| if flips >> (place % 64) & 1 == 1 { it.to_ascii_uppercase() } else { it })
                .collect();
            prop_assert!(leaning_phrase(&Thought(mixed)).is_some());
        }

        #[test]
        fn a_phrase_inside_a_longer_word_is_none(phrase in prop::sample::select(PHRASES)) {
            prop_assert_eq!(leaning_phrase(&Thought(format!("x{phrase}"))), None);
            prop_assert_eq!(leaning_phrase(&Thought(format!("{phrase}y"))), None);
        }
    }
}
