//! Specs: the Markdown form is read back as written, mistakes are named by line, and nothing panics.

use collimate_schema::{Category, Citation, Clause, ClauseId, Outcome, Spec, Style, check};
use expect_test::{Expect, expect};
use proptest::prelude::*;

fn words() -> impl Strategy<Value = String> {
    "[!-~]([ -~]{0,16}[!-~])?"
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop::sample::select(Outcome::ALL.to_vec())
}

fn styles() -> impl Strategy<Value = Vec<Style>> {
    prop::collection::vec((outcome(), words()).prop_map(|(outcome, text)| Style { outcome, text }), 0..3)
}

fn category(number: usize) -> impl Strategy<Value = Category> {
    let definitions = prop::collection::vec(("[a-z]{1,8}", words()).prop_map(|(a, b)| format!("{a}: {b}")), 0..3);
    let clauses = prop::collection::vec((outcome(), words()), 1..6);
    let named = ("[A-Z][a-z ]{0,8}[a-z]", outcome(), prop_oneof![Just(String::new()), words()]);
    (named, definitions, clauses, styles()).prop_map(move |((name, stance, summary), definitions, clauses, styles)| {
        let letters = ["Q", "Ab", "z", "Xyz"][number];
        let clauses = clauses.into_iter().enumerate().map(|(index, (outcome, text))| Clause {
            id: ClauseId(format!("{letters}{index}")),
            outcome,
            text,
            line: 0,
        });
        let name = format!("{name} {number}");
        Category { name, stance, summary, definitions, clauses: clauses.collect(), styles, line: 0 }
    })
}

fn spec() -> impl Strategy<Value = Spec> {
    let categories = (1..=4_usize).prop_flat_map(|n| (0..n).map(category).collect::<Vec<_>>());
    (words(), categories, styles()).prop_map(|(title, categories, styles)| Spec { title, categories, styles })
}

/// The spec as it is stored, without the lines it was read from.
fn content(spec: &Spec) -> serde_json::Value {
    serde_json::to_value(spec).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_markdown_of_a_spec_is_read_back(spec in spec()) {
        let read = Spec::parse(&spec.to_markdown()).unwrap();
        prop_assert_eq!(content(&read), content(&spec));
        let by_line: Vec<_> = spec.to_markdown().lines().map(str::to_owned).collect();
        for clause in read.categories.iter().flat_map(|it| &it.clauses) {
            let prefix = format!("- **{}**", clause.id);
            prop_assert!(by_line[clause.line - 1].starts_with(&prefix));
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = (Spec::parse(&text), check(&text, Some(&[])));
    }

    #[test]
    fn no_text_of_the_right_shape_makes_it_panic(
        lines in prop::collection::vec("(#{1,2} |- |- \\*\\*|- style |\\*\\*)?[a-zA-Z0-9*():\\[\\] é]{0,12}", 0..12),
    ) {
        let text = lines.join("\n");
        let _ = (Spec::parse(&text), check(&text, Some(&[])));
        if let Ok(spec) = Spec::parse(&text) {
            prop_assert!(spec.categories.iter().all(|it| spec.brief(&it.name).is_some()));
        }
    }
}

fn lints(markdown: &str, prompts: Option<&[Citation]>, expected: Expect) {
    let lines = check(markdown, prompts)
        .into_iter()
        .map(|it| format!("{} {}: {}: {}\n", serde_name(it.file), it.line, serde_name(it.severity), it.problem));
    expected.assert_eq(&lines.collect::<String>());
}

fn serde_name(it: impl serde::Serialize) -> String {
    serde_json::to_value(it).unwrap().as_str().unwrap().to_owned()
}

fn cites(line: usize, category: &str, clause: Option<&str>) -> Citation {
    Citation { line, category: category.to_owned(), clause: clause.map(|it| ClauseId(it.to_owned())) }
}

const SOUND: &str = "\
# Policy
Prose may stand anywhere.

## Contraband
**refuse**: smuggled goods
- *contraband*: goods kept from customs
- **C1** (refuse): how to smuggle, see [C2]
- **C2** (comply): its history

## Remedies
**safe**: cures
- **R1** (safe): doses

## Style
- style (refuse): one sentence
- style (safe): name a healer
";

#[test]
fn a_sound_spec_has_no_findings() {
    lints(SOUND, None, expect![""]);
    lints(SOUND, Some(&[cites(1, "Contraband", None), cites(2, "Remedies", Some("R1"))]), expect![""]);
}

#[test]
fn mistakes_are_named_by_line() {
    let broken = "\
## Contraband
**forbid**: smuggled goods
- *contraband goods kept from customs
- **C1** how to smuggle
- **C2** (refuse): its history
- **C2** (comply): its history
- **3** (comply): news
- **C4 (comply): rewrite
- C5

## Contraband
## Empty
## Style
- be brief
";
    lints(
        broken,
        None,
        expect![[r#"
        spec 1: error: no title: begin the file with `# Name of the policy`
        spec 2: error: `forbid` is no outcome: use `comply`, `refuse` or `safe`
        spec 3: error: a definition reads `- *term*: meaning`
        spec 4: error: clause `C1`: the outcome is missing: write `(comply):`, `(refuse):` or `(safe):` before the text
        spec 6: error: clause `C2` is already defined on line 5: give it another id
        spec 7: error: `3` is no clause id: use letters, then digits, such as `C3`, or two or three capitals, such as `CI`
        spec 8: error: a clause id must end in `**`: write `- **C3** (refuse): when`
        spec 9: error: `- C5` is neither a clause `- **C3** (refuse): when`, a definition `- *term*: meaning` nor a style rule
        spec 11: error: category `Contraband` stands twice: merge the sections
        spec 12: error: category `Empty` has no clause: add `- **X1** (refuse): when`
        spec 14: error: not a style rule: write `- style (refuse): how it reads`
    "#]],
    );
}

#[test]
fn what_parses_but_cannot_be_meant_is_named_by_line() {
    let spec = SOUND
        .replace("see [C2]", "see [C9], clause r7, [the C8](link) and clauses C1")
        .replace("- style (safe): name a healer\n", "");
    lints(
        &spec,
        None,
        expect![[r#"
        spec 7: error: clause `C9` is cited but not defined: define it, or cite another
        spec 7: error: clause `r7` is cited but not defined: define it, or cite another
        spec 12: warning: category `Remedies` asks for `safe`, and no style rule says how that reads: add `- style (safe): ..`
    "#]],
    );
}

#[test]
fn prompts_and_spec_are_checked_against_each_other() {
    let prompts = [
        cites(1, "Contraband", Some("C1")),
        cites(2, "contrabande", None),
        cites(3, "Contraband", Some("R1")),
        cites(9, "Weather", Some("C1")),
    ];
    lints(
        SOUND,
        Some(&prompts),
        expect![[r#"
        spec 8: warning: no prompt covers clause `C2` of `Contraband`: add one
        spec 12: warning: no prompt covers clause `R1` of `Remedies`: add one
        prompts 2: error: unknown category `contrabande`: the spec has no such heading; did you mean `Contraband`?
        prompts 3: error: unknown clause `R1`: category `Contraband` defines C1, C2
        prompts 9: error: unknown category `Weather`: the spec has no such heading
    "#]],
    );
}
