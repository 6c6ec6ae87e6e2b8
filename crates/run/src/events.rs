//! TensorBoard's event file: TFRecords of protobuf events, appended to for as long as a run lives.
//!
//! A viewer that is open keeps reading the same file. When a run resumes, what a kill tore off is cut away, and an event that says
//! "a session starts at step N" makes viewers forget the steps from N on, which are taken again.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::RunError;
use crate::row::Row;
use crate::whole::{read, write_whole};

const NAME: &str = "events.out.tfevents.collimate";

/// The event file of one stage, open for more.
#[derive(Debug)]
pub(crate) struct Events {
    file: File,
    path: PathBuf,
}

impl Events {
    /// Opens or creates the event file in `dir`, so that a viewer sees exactly `rows`.
    pub(crate) fn open(dir: &Path, rows: &[Row], resume_at_step: u64) -> Result<Events, RunError> {
        let path = dir.join(NAME);
        let stored = if path.exists() { read(&path)? } else { Vec::new() };
        let (n_whole, mut steps) = shown(&stored);
        steps.retain(|it| *it < resume_at_step);
        let is_beginning = steps.len() <= rows.len() && steps.iter().zip(rows).all(|(step, row)| *step == row.step);
        if n_whole == 0 || !is_beginning {
            steps.clear();
            write_whole(&path, &frame(&version_event()))?;
        }
        let opened = OpenOptions::new().append(true).open(&path);
        let file = opened.map_err(|source| RunError::io("open", &path, source))?;
        let mut events = Events { file, path };
        if n_whole > 0 && is_beginning {
            let cut = events.file.set_len(n_whole as u64);
            cut.map_err(|source| RunError::io("truncate", &events.path, source))?;
            events.append(&frame(&start_event(resume_at_step)))?;
        }
        for row in &rows[steps.len()..] {
            events.log(row)?;
        }
        Ok(events)
    }

    /// Appends the numbers of a step.
    pub(crate) fn log(&mut self, row: &Row) -> Result<(), RunError> {
        self.append(&frame(&scalar_event(row)))
    }

    fn append(&mut self, record: &[u8]) -> Result<(), RunError> {
        self.file.write_all(record).map_err(|source| RunError::io("append to", &self.path, source))
    }
}

/// How much of a file is whole records, bytes, and the steps whose numbers a viewer shows of them, in order.
fn shown(bytes: &[u8]) -> (usize, Vec<u64>) {
    let (mut steps, mut at) = (Vec::new(), 0);
    while let Some(payload) = record(&bytes[at..]) {
        match step_of(payload) {
            Some((step, Kind::Scalars)) => steps.push(step),
            Some((start, Kind::Start)) => steps.retain(|it| *it < start),
            None => {}
        }
        at += payload.len() + N_FRAME;
    }
    (at, steps)
}

/// Length and checksums around a payload, bytes.
const N_FRAME: usize = 16;

/// A TFRecord: length, its checksum, payload, its checksum.
fn frame(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length).to_le_bytes(), payload, &masked_crc(payload).to_le_bytes()].concat()
}

/// The payload of the record that `bytes` begin with, if it is whole.
fn record(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    if masked_crc(length).to_le_bytes() != *crc {
        return None;
    }
    let (payload, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let (crc, _) = rest.split_first_chunk::<4>()?;
    (masked_crc(payload).to_le_bytes() == *crc).then_some(payload)
}

fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: events are a hundred bytes each.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

/// `Event { wall_time = 1: double, file_version = 3: string }`
fn version_event() -> Vec<u8> {
    let mut event = wall_time();
    bytes_field(&mut event, 3, b"brain.Event:2");
    event
}

/// `Event { wall_time = 1: double, step = 2: int64, session_log = 7: SessionLog { status = 1: START } }`
fn start_event(step: u64) -> Vec<u8> {
    let mut event = at_step(step);
    bytes_field(&mut event, START, &[1 << 3, 1]);
    event
}

/// `Event { wall_time = 1: double, step = 2: int64, summary = 5: Summary { value = 1: Value { tag = 1: string, simple_value = 2: float } } }`
fn scalar_event(row: &Row) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, value) in &row.values {
        let mut entry = Vec::new();
        bytes_field(&mut entry, 1, tag.as_bytes());
        entry.push(2 << 3 | 5);
        entry.extend((value.as_f64().unwrap_or_default() as f32).to_le_bytes());
        bytes_field(&mut summary, 1, &entry);
    }
    let mut event = at_step(row.step);
    bytes_field(&mut event, SCALARS, &summary);
    event
}

const SCALARS: u8 = 5;
const START: u8 = 7;

enum Kind {
    Scalars,
    Start,
}

/// Step and kind of an event that [`at_step`] began.
fn step_of(payload: &[u8]) -> Option<(u64, Kind)> {
    let mut rest = payload.get(wall_time().len()..)?.strip_prefix(&[2 << 3])?;
    let mut step = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        step |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    match rest.first()? >> 3 {
        SCALARS => Some((step, Kind::Scalars)),
        START => Some((step, Kind::Start)),
        _ => None,
    }
}

fn at_step(step: u64) -> Vec<u8> {
    let mut event = wall_time();
    event.push(2 << 3);
    varint(&mut event, step);
    event
}

/// Field 1: seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "when a number was logged is for viewers only and never read back")]
fn wall_time() -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |it| it.as_secs_f64());
    [&[1 << 3 | 1][..], &now.to_le_bytes()].concat()
}

fn bytes_field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
