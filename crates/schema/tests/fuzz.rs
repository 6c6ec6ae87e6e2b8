//! Damaged policies: whatever the text is, reading it gives a policy or names lines, and never takes long.

use collimate_fuzz::{damaged, search};
use collimate_schema::{Spec, check};

const MARKDOWN: [&str; 20] = [
    "# ",
    "## ",
    "## Style ##",
    "- **C1** (refuse): ",
    "- style (safe): ",
    "**refuse**: ",
    "* ",
    "1. ",
    "> ",
    "```\n",
    "<!-- ",
    " -->",
    "| a | b |\n",
    "- **",
    "**",
    "(comply)",
    ":",
    "- term: ",
    "  - ",
    "see clause C9",
];

#[test]
fn damaged_policies_are_read_or_named_by_line() {
    let seed = include_bytes!("../../../specs/harbor.md").to_vec();
    let small = b"# P\n\n## Goods\n**refuse**: sold goods\n- **C1** (refuse): how to\n- **C2** (comply): history, see clause C1\n- style (refuse): short\n".to_vec();
    let seeds = [seed, small];
    let (n_tried, n_taken) = search(move |number| {
        let bytes = damaged(&seeds, &MARKDOWN, number);
        let text = String::from_utf8_lossy(&bytes);
        let n_lines = text.lines().count().max(1);
        let lints = check(&text, None);
        assert!(lints.iter().all(|it| it.line <= n_lines + 1), "{lints:?}");
        match Spec::parse(&text) {
            Ok(spec) => {
                for category in &spec.categories {
                    assert!(spec.brief(&category.name).is_some(), "{}", category.name);
                }
                assert!(!spec.summaries().0.is_empty());
                true
            }
            Err(errors) => {
                assert!(!errors.is_empty() && errors.iter().all(|it| it.line <= n_lines + 1), "{errors:?}");
                false
            }
        }
    });
    assert!(n_taken > 0 && n_taken < n_tried, "{n_taken} of {n_tried}");
}
