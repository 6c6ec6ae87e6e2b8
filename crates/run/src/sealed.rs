//! Lines that tell whether they are still what was written: a JSON object whose last field, `check`, is the hash of the rest.
//!
//! `{"step":3,"loss":0.5,"check":"5f0c2a91"}`. A checksum, against slips of an editor and bad disks; no signature.

use collimate_schema::Hash;
use serde::Serialize;

use crate::finite::finite;

const FIELD: &str = "\"check\":\"";
const N_DIGITS: usize = 8;

/// `value`, which is a JSON object, as a line with its check and its line break.
pub(crate) fn seal(value: &impl Serialize) -> Result<Vec<u8>, String> {
    finite(value)?;
    let mut text = serde_json::to_string(value).map_err(|it| it.to_string())?;
    if text.pop() != Some('}') {
        return Err("a line is a JSON object".to_owned());
    }
    let check = check_of(text.as_bytes());
    let comma = if text.ends_with('{') { "" } else { "," };
    text.push_str(&format!("{comma}{FIELD}{check}\"}}\n"));
    Ok(text.into_bytes())
}

/// The object that [`seal`] made a line of, as JSON.
pub(crate) fn unseal(line: &[u8]) -> Result<Vec<u8>, String> {
    let closed = line.strip_suffix(b"\n").unwrap_or(line).strip_suffix(b"\"}");
    let fields = closed.and_then(|it| {
        let (rest, check) = it.split_at_checked(it.len().checked_sub(N_DIGITS)?)?;
        let rest = rest.strip_suffix(FIELD.as_bytes())?;
        let fields = if rest == b"{" { rest } else { rest.strip_suffix(b",")? };
        Some((fields, check))
    });
    let Some((fields, check)) = fields else { return Err("this line has no check".to_owned()) };
    if check_of(fields).as_bytes() != check {
        return Err("this line was changed after it was written".to_owned());
    }
    Ok([fields, b"}"].concat())
}

fn check_of(fields: &[u8]) -> String {
    let mut hash = Hash::of(fields).0;
    hash.truncate(N_DIGITS);
    hash
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_no_object_or_not_finite_is_no_line() {
        assert_eq!(seal(&3), Err("a line is a JSON object".to_owned()));
        assert_eq!(seal(&std::collections::BTreeMap::from([("x", f64::NAN)])), Err("`x` is NaN".to_owned()));
        assert_eq!(unseal(b"{}\n"), Err("this line has no check".to_owned()));
        let line = seal(&json!({"entry": [0.5]})).unwrap();
        let without_comma = String::from_utf8(line).unwrap().replace(",\"check", "\"check");
        assert_eq!(unseal(without_comma.as_bytes()), Err("this line has no check".to_owned()));
        assert_eq!(seal(&json!({})).and_then(|it| unseal(&it)), Ok(b"{}".to_vec()));
    }

    proptest! {
        #[test]
        fn a_changed_byte_is_noticed(name in ".{0,12}", at: prop::sample::Index, byte: u8) {
            let line = seal(&json!({"name": name, "entry": [1, 2.5]})).unwrap();
            let value: Value = serde_json::from_slice(&unseal(&line).unwrap()).unwrap();
            prop_assert_eq!(&value["name"], &Value::from(name));
            let mut changed = line.clone();
            let at = at.index(line.len() - 1);
            changed[at] = byte;
            prop_assert_eq!(unseal(&changed).is_ok(), changed == line);
        }
    }
}
