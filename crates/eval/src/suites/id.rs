//! Names of evaluations.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// An evaluation's name, as results spell it: lower-case letters, digits and `_`, at least one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SuiteId(Cow<'static, str>);

impl SuiteId {
    /// A name of ours; a bad one does not compile where it is a constant.
    pub const fn new(name: &'static str) -> SuiteId {
        assert!(is_name(name), "a suite's name has lower-case letters, digits and `_` only");
        SuiteId(Cow::Borrowed(name))
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

const fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !matches!(bytes[at], b'a'..=b'z' | b'0'..=b'9' | b'_') {
            return false;
        }
        at += 1;
    }
    at > 0
}

impl std::fmt::Display for SuiteId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl TryFrom<String> for SuiteId {
    type Error = String;
    fn try_from(name: String) -> Result<SuiteId, String> {
        if is_name(&name) {
            Ok(SuiteId(Cow::Owned(name)))
        } else {
            Err(format!("`{name}` is no name of a suite: use lower-case letters, digits and `_`"))
        }
    }
}

impl From<SuiteId> for String {
    fn from(it: SuiteId) -> String {
        it.0.into_owned()
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(text: &str, expect: Expect) {
        let read = serde_json::from_str::<SuiteId>(text);
        expect.assert_eq(&read.map_or_else(|it| it.to_string(), |it| serde_json::to_string(&it).expect("a string")));
    }

    #[test]
    fn a_bad_name_is_an_error_when_read() {
        check(r#""goodness_at_01""#, expect![[r#""goodness_at_01""#]]);
        check(r#""Jailbreak""#, expect!["`Jailbreak` is no name of a suite: use lower-case letters, digits and `_`"]);
        check(r#""a b""#, expect!["`a b` is no name of a suite: use lower-case letters, digits and `_`"]);
        check(r#""""#, expect!["`` is no name of a suite: use lower-case letters, digits and `_`"]);
        assert_eq!(serde_json::from_str::<SuiteId>(r#""x""#).expect("a name"), SuiteId::new("x"));
    }
}
