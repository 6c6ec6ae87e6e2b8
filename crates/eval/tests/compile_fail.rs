//! Reward code cannot receive a thought: these programs must not compile.

#[test]
fn a_thought_cannot_be_passed_to_the_judges_of_answers() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
