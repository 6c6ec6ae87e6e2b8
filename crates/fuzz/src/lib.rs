//! Damaged input for tests: bytes that flip, parts that are lost, repeated or exchanged, words that do not belong.
//!
//! An input is made from its number alone, so that what was found once is found again. `COLLIMATE_FUZZ_SECONDS` says for how long to
//! look; without it a test looks for two seconds.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use collimate_schema::Seed;
use rand::Rng;
use rand::seq::IndexedRandom;

/// The longest that an input may take.
const LONGEST: Duration = Duration::from_secs(5);

/// The most memory that looking may take, bytes.
const MOST_MEMORY: u64 = 1 << 30;

/// What hurts readers of numbers and of text.
const WORDS: [&str; 34] = [
    "0",
    "-1",
    "2",
    "65536",
    "4294967296",
    "9223372036854775808",
    "18446744073709551616",
    "1e-320",
    "1e38",
    "1e999",
    "-0.0",
    "NaN",
    "inf",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "\"",
    "'",
    "\\u0000",
    "\0",
    "\u{1b}[2J",
    "\u{202e}",
    "\u{feff}",
    "\u{2028}",
    "\r\n",
    "\n",
    "\n\n",
    "\t",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":",
    "e\u{301}",
    "\u{1f44d}\u{1f3fd}",
];

/// One of `seeds`, damaged once or a few times as `number` says; `words` are put in beside those that hurt any reader.
pub fn damaged(seeds: &[Vec<u8>], words: &[&str], number: u64) -> Vec<u8> {
    let rng = &mut Seed(number).rng();
    let mut bytes = seeds.choose(rng).cloned().unwrap_or_default();
    for _ in 0..1 << rng.random_range(0..4) {
        let at = rng.random_range(0..=bytes.len());
        let longest = (bytes.len() - at).min(1 << rng.random_range(0..10));
        let part = at..at + rng.random_range(0..=longest);
        match rng.random_range(0..7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            1 if rng.random_range(0..4) == 0 => bytes.truncate(at),
            2 => drop(bytes.drain(part)),
            3 => {
                let other = seeds.choose(rng).map_or(&[][..], |it| it);
                let from = rng.random_range(0..=other.len());
                let to = other.len().min(from + (1 << rng.random_range(0..10)));
                drop(bytes.splice(part, other[from..to].iter().copied()));
            }
            4 => {
                let copy = bytes[part].to_vec();
                drop(bytes.splice(at..at, copy));
            }
            _ => {
                let word = if rng.random() { WORDS.choose(rng) } else { words.choose(rng) };
                let end = if rng.random() { part.end } else { at };
                drop(bytes.splice(at..end, word.unwrap_or(&"").bytes()));
            }
        }
    }
    bytes
}

/// Tries numbered inputs until the time is over. `accepts` says whether an input was taken; that it panics, or takes long, or that
/// much memory was needed, fails the test. Returns how many were tried, and how many were taken.
///
/// # Panics
/// On the first input that fails, by its number.
#[expect(clippy::print_stderr, reason = "how much was tried is worth seeing")]
pub fn search(accepts: impl Fn(u64) -> bool + Send + 'static) -> (u64, u64) {
    let seconds = std::env::var("COLLIMATE_FUZZ_SECONDS").ok().and_then(|it| it.parse().ok()).unwrap_or(2);
    let end = Instant::now() + Duration::from_secs(seconds);
    let (to, from) = channel();
    let worker = std::thread::spawn(move || {
        for number in 0.. {
            let tried = catch_unwind(AssertUnwindSafe(|| accepts(number)));
            if to.send(tried.map_err(|_| ())).is_err() {
                return;
            }
        }
    });
    let (mut n_tried, mut n_taken) = (0, 0);
    while Instant::now() < end {
        match from.recv_timeout(LONGEST) {
            Ok(Ok(taken)) => n_taken += u64::from(taken),
            Ok(Err(())) => panic!("input {n_tried} panics: see above"),
            Err(RecvTimeoutError::Timeout) => panic!("input {n_tried} takes longer than {LONGEST:?}"),
            Err(RecvTimeoutError::Disconnected) => unreachable!("it works until nobody listens"),
        }
        n_tried += 1;
    }
    drop(from);
    let _ = worker.join(); // it was listened to
    let peak = peak_resident();
    assert!(peak < MOST_MEMORY, "{} MiB were in use at once", peak >> 20);
    eprintln!("{n_tried} inputs, {n_taken} of them taken");
    (n_tried, n_taken)
}

/// The most memory that this process has had, bytes; 0 where the system does not say.
fn peak_resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().map_or(0, |it| it << 10)
}
