//! Lines of standard input, one at a time: one that cannot be read does not end those after it.

use std::io::{BufRead, Read};

/// More than any context holds, bytes.
const LONGEST: u64 = 1 << 20;

/// A line of input.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    /// From 1.
    pub number: usize,
    /// What it says, or why that cannot be told.
    pub text: Result<String, String>,
}

/// Every line of `input`. One that the system cannot read is the last.
pub(super) fn lines(mut input: impl BufRead) -> impl Iterator<Item = Line> {
    let (mut number, mut is_broken) = (0, false);
    std::iter::from_fn(move || {
        if is_broken {
            return None;
        }
        let read = read_line(&mut input).transpose()?;
        is_broken = read.is_err();
        number += 1;
        let text = read.unwrap_or_else(|it| Err(format!("cannot be read: {it}")));
        let text = if number == 1 { text.map(|it| it.trim_start_matches('\u{feff}').to_owned()) } else { text };
        Some(Line { number, text })
    })
}

fn read_line(input: &mut impl BufRead) -> std::io::Result<Option<Result<String, String>>> {
    let mut bytes = Vec::new();
    input.by_ref().take(LONGEST).read_until(b'\n', &mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.len() as u64 == LONGEST && !bytes.ends_with(b"\n") {
        input.skip_until(b'\n')?;
        return Ok(Some(Err(format!("the line is longer than {LONGEST} bytes"))));
    }
    let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let text = text.strip_suffix(b"\r").unwrap_or(text).to_vec();
    let not_utf8 = |it: std::string::FromUtf8Error| format!("byte {} is not UTF-8", it.utf8_error().valid_up_to() + 1);
    Ok(Some(String::from_utf8(text).map_err(not_utf8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_18_a_line_that_cannot_be_read_does_not_end_the_others() {
        let long = vec![b'a'; LONGEST as usize + 7];
        let input = [b"\xef\xbb\xbfone\r\nt\xffo\n\n", &long[..], b"\nlast"].concat();
        let read: Vec<Line> = lines(&input[..]).collect();
        let expected = [
            Ok("one".to_owned()),
            Err("byte 2 is not UTF-8".to_owned()),
            Ok(String::new()),
            Err("the line is longer than 1048576 bytes".to_owned()),
            Ok("last".to_owned()),
        ];
        assert_eq!(read.iter().map(|it| it.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!(read.into_iter().map(|it| it.text).collect::<Vec<_>>(), expected);
    }
}
