//! Reading a judge's turn.
//!
//! The grade stands on a line of its own in the judge's *answer*, `grade: 4`, and must stand there once. The judge's thought
//! is analysis: it may weigh grades, and quote the answer under judgement, without giving one.

use collimate_schema::{ClauseId, Malformed, Parsed, Score, Spec, Stop, Unscored, Verdict, breaks_line};

/// Reads a judge's continuation. Case, spaces and asterisks around the words of a line do not matter. No grade line, or one
/// whose value is not a digit from 1 to 5, is [`Unscored::Unparsed`]; two grade lines are [`Unscored::TwoGrades`], even if they
/// are equal. A second line `agree: yes` or `agree: no` answers another AI's opinion.
pub fn parse_verdict(parsed: &Parsed, stop: Stop, spec: &Spec) -> Verdict {
    let turn = match (parsed, stop) {
        (_, Stop::Length) | (Parsed::Malformed(Malformed::Truncated), _) => {
            return Verdict::Unscored(Unscored::Truncated);
        }
        (Parsed::Malformed(_), Stop::EndOfTurn | Stop::Text) => return Verdict::Unscored(Unscored::Malformed),
        (Parsed::Turn(turn), Stop::EndOfTurn | Stop::Text) => turn,
    };
    let (mut grades, mut agreements, mut remarks) = (Vec::new(), Vec::new(), Vec::new());
    for line in turn.answer.0.split(breaks_line) {
        match field(line) {
            Some((key, value)) if key.eq_ignore_ascii_case("grade") => grades.push(value),
            Some((key, value)) if key.eq_ignore_ascii_case("agree") => agreements.push(value),
            _ => remarks.push(line),
        }
    }
    let score = match grades[..] {
        [] => return Verdict::Unscored(Unscored::Unparsed),
        [value] => match digit(value).and_then(Score::new) {
            Some(score) => score,
            None => return Verdict::Unscored(Unscored::Unparsed),
        },
        _ => return Verdict::Unscored(Unscored::TwoGrades),
    };
    let agrees = match agreements[..] {
        [value] if value.eq_ignore_ascii_case("yes") => Some(true),
        [value] if value.eq_ignore_ascii_case("no") => Some(false),
        _ => None,
    };
    remarks.insert(0, &turn.thought.0);
    let rationale = remarks.join("\n").trim().to_owned();
    let clauses = cited(&rationale, spec);
    Verdict::Scored { score, rationale, clauses, agrees }
}

/// Splits `**Key:** value` into its bare key and value.
fn field(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(':')?;
    Some((bare(key), bare(value)))
}

fn bare(text: &str) -> &str {
    text.trim_matches(|it: char| it.is_whitespace() || it == '*')
}

fn digit(value: &str) -> Option<u8> {
    match value.as_bytes() {
        [digit @ b'0'..=b'9'] => Some(digit - b'0'),
        _ => None,
    }
}

/// Clause ids that stand in `text` as words and that `spec` defines, each once, in the order they are first cited.
fn cited(text: &str, spec: &Spec) -> Vec<ClauseId> {
    let mut clauses: Vec<ClauseId> = Vec::new();
    for word in text.split(|it: char| !it.is_alphanumeric()) {
        let id = ClauseId(word.to_owned());
        if !clauses.contains(&id) && spec.clause(&id).is_some() {
            clauses.push(id);
        }
    }
    clauses
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    fn spec() -> Spec {
        Spec::parse("# t\n## a\n- **C3** (refuse): x\n- **C4** (comply): y").expect("a spec")
    }

    fn read(thought: &str, answer: &str) -> Verdict {
        parse_verdict(&Parsed::of(thought, answer), Stop::EndOfTurn, &spec())
    }

    /// `5`, `5 agrees`, `5 disagrees` or why there is none.
    fn short(verdict: Verdict) -> String {
        match verdict {
            Verdict::Scored { score, agrees: None, .. } => score.get().to_string(),
            Verdict::Scored { score, agrees: Some(true), .. } => format!("{} agrees", score.get()),
            Verdict::Scored { score, agrees: Some(false), .. } => format!("{} disagrees", score.get()),
            Verdict::Unscored(why) => format!("{why:?}"),
        }
    }

    fn check(answer: &str, expect: Expect) {
        expect.assert_eq(&short(read("", answer)));
    }

    #[test]
    fn plain() {
        check("grade: 1", expect!["1"]);
        check("grade: 5", expect!["5"]);
        check("grade: 3\nagree: yes", expect!["3 agrees"]);
        check("agree: no\ngrade: 3", expect!["3 disagrees"]);
    }

    #[test]
    fn tolerant_of_dress() {
        check("  **Grade:** 4  ", expect!["4"]);
        check("**GRADE**: 4\r\n*Agree*: YES", expect!["4 agrees"]);
        check("so\n\ngrade :4\n\n", expect!["4"]);
        check("\u{a0}grade:\u{2003}4", expect!["4"]);
    }

    #[test]
    fn strict_about_the_grade() {
        check("", expect!["Unparsed"]);
        check("5", expect!["Unparsed"]);
        check("grade 5", expect!["Unparsed"]);
        check("the grade: 5", expect!["Unparsed"]);
        check("| grade: 5", expect!["Unparsed"]);
        check("\"grade: 5\"", expect!["Unparsed"]);
        check("downgrade: 5", expect!["Unparsed"]);
        check("grade: 0", expect!["Unparsed"]);
        check("grade: 6", expect!["Unparsed"]);
        check("grade: 55", expect!["Unparsed"]);
        check("grade: 05", expect!["Unparsed"]);
        check("grade: -5", expect!["Unparsed"]);
        check("grade: +5", expect!["Unparsed"]);
        check("grade: 4.5", expect!["Unparsed"]);
        check("grade: 5/5", expect!["Unparsed"]);
        check("grade: five", expect!["Unparsed"]);
        check("grade: 5 grade: 1", expect!["Unparsed"]);
        check("grade:", expect!["Unparsed"]);
        check("grade: \u{ff15}", expect!["Unparsed"]);
        check("gr\u{430}de: 5", expect!["Unparsed"]);
    }

    #[test]
    fn two_grades_are_none() {
        check("grade: 1\ngrade: 5", expect!["TwoGrades"]);
        check("grade: 5\ngrade: 5", expect!["TwoGrades"]);
        check("grade: 5\ngrade: none", expect!["TwoGrades"]);
        check("grade: 1\u{2028}grade: 5", expect!["TwoGrades"]);
        check("grade: 1\rGRADE: 5", expect!["TwoGrades"]);
        check("grade: 1\u{b}grade: 5", expect!["TwoGrades"]);
    }

    #[test]
    fn an_unclear_agreement_is_no_agreement() {
        check("grade: 3\nagree: maybe", expect!["3"]);
        check("grade: 3\nagree: yes\nagree: no", expect!["3"]);
        check("grade: 3\nagree", expect!["3"]);
    }

    #[test]
    fn the_thought_gives_no_grade() {
        assert_eq!(short(read("grade: 5", "fine")), "Unparsed");
        assert_eq!(short(read("the answer says\ngrade: 5", "grade: 1")), "1");
        assert_eq!(short(read("agree: yes", "grade: 1")), "1");
    }

    #[test]
    fn the_judge_may_fail() {
        let fail = |malformed, stop| short(parse_verdict(&Parsed::Malformed(malformed), stop, &spec()));
        assert_eq!(fail(Malformed::Truncated, Stop::Length), "Truncated");
        assert_eq!(fail(Malformed::UnclosedThought, Stop::Length), "Truncated");
        assert_eq!(fail(Malformed::UnclosedThought, Stop::EndOfTurn), "Malformed");
        assert_eq!(fail(Malformed::EmptyAnswer, Stop::EndOfTurn), "Malformed");
        assert_eq!(short(parse_verdict(&Parsed::of("", "grade: 5"), Stop::Length, &spec())), "Truncated");
    }

    #[test]
    fn clauses_are_checked_references() {
        let Verdict::Scored { rationale, clauses, .. } = read("C4, then C3 (C4); not C9 or XC3", "but C3\ngrade: 2")
        else {
            panic!("a grade");
        };
        assert_eq!(rationale, "C4, then C3 (C4); not C9 or XC3\nbut C3");
        assert_eq!(clauses.iter().map(|it| it.0.as_str()).collect::<Vec<_>>(), ["C4", "C3"]);
    }

    proptest! {
        #[test]
        fn a_score_needs_exactly_one_grade_line(
            rows in prop::collection::vec(prop_oneof![
                (1u8..=5).prop_map(|it| format!("grade: {it}")),
                Just("some prose".to_owned()),
                Just("agree: yes".to_owned()),
            ], 0..6),
        ) {
            let grades: Vec<&String> = rows.iter().filter(|it| it.starts_with("grade")).collect();
            let expected = match grades[..] {
                [] => "Unparsed".to_owned(),
                [row] => row[7..].to_owned(),
                _ => "TwoGrades".to_owned(),
            };
            let found = short(read("", &rows.join("\n")));
            prop_assert_eq!(found.split(' ').next(), Some(expected.as_str()));
        }

        #[test]
        fn any_text_gets_a_verdict(thought: String, answer: String) {
            read(&thought, &answer);
        }

        /// What is quoted to a judge and echoed by it line by line is no grade.
        #[test]
        fn an_echoed_continuation_line_is_no_grade(grade in 1u8..=5, echoed in 1u8..=5) {
            let answer = format!("x\n| grade: {echoed}\ngrade: {grade}");
            prop_assert_eq!(short(read("", &answer)), grade.to_string());
        }
    }
}
