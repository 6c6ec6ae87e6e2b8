//! Numbers per step: `scalars.jsonl` for programs and `events.out.tfevents.collimate` for TensorBoard.
//!
//! The event file is a function of the JSON lines. When a run resumes, both lose the steps that will be taken again, so that no
//! step appears twice. TensorBoard's wall time is the step itself, in seconds: a result holds no clock, and stays reproducible.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::RunError;
use crate::journal::Journal;
use crate::whole::write_whole;

const SCALARS: &str = "scalars.jsonl";
const EVENTS: &str = "events.out.tfevents.collimate";

/// The numbers of one step; JSON `{"step": 3, "loss": 0.5}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Steps are counted from 0.
    pub step: u64,
    /// Tag and value, in the order they were logged. JSON has no NaN or infinity: those are null.
    #[serde(flatten)]
    pub values: Map<String, Value>,
}

impl Row {
    /// The number called `tag`, if it was logged and finite.
    pub fn get(&self, tag: &str) -> Option<f64> {
        self.values.get(tag).and_then(Value::as_f64)
    }
}

/// The metrics of one stage, open for more.
#[derive(Debug)]
pub struct Metrics {
    scalars: Journal,
    events: File,
    events_path: std::path::PathBuf,
}

impl Metrics {
    /// Opens or creates the metrics in the folder `dir`. Steps from `resume_at_step` on, which a killed process took after its
    /// last checkpoint, are forgotten; a new stage passes 0.
    pub fn open(dir: &Path, resume_at_step: u64) -> Result<Metrics, RunError> {
        let path = dir.join(SCALARS);
        let mut rows = Journal::open(&path)?.entries::<Row>()?;
        let n_stored = rows.len();
        rows.retain(|it| it.step < resume_at_step);
        if rows.len() < n_stored {
            let mut text = Vec::new();
            for row in &rows {
                serde_json::to_writer(&mut text, row).expect("a map of numbers serialises");
                text.push(b'\n');
            }
            write_whole(&path, &text)?;
        }
        let events_path = dir.join(EVENTS);
        let mut events = frame(&version_event());
        events.extend(rows.iter().flat_map(|it| frame(&scalar_event(it))));
        write_whole(&events_path, &events)?;
        let events = OpenOptions::new()
            .append(true)
            .open(&events_path)
            .map_err(|source| RunError::io("open", &events_path, source))?;
        Ok(Metrics { scalars: Journal::open(&path)?, events, events_path })
    }

    /// Appends the numbers of one step.
    pub fn log<'a>(&mut self, step: u64, values: impl IntoIterator<Item = (&'a str, f64)>) -> Result<(), RunError> {
        let values = values.into_iter().map(|(tag, value)| (tag.to_owned(), Value::from(value))).collect();
        let row = Row { step, values };
        self.scalars.append(&row)?;
        let written = self.events.write_all(&frame(&scalar_event(&row)));
        written.map_err(|source| RunError::io("append to", &self.events_path, source))
    }

    /// Every step so far, in order.
    pub fn rows(&self) -> Result<Vec<Row>, RunError> {
        self.scalars.entries()
    }
}

/// A TFRecord: length, its checksum, payload, its checksum.
fn frame(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length).to_le_bytes(), payload, &masked_crc(payload).to_le_bytes()].concat()
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
    let mut event = double_field(1, 0.0);
    bytes_field(&mut event, 3, b"brain.Event:2");
    event
}

/// `Event { wall_time = 1: double, step = 2: int64, summary = 5: Summary { value = 1: Value { tag = 1: string, simple_value = 2: float } } }`
fn scalar_event(row: &Row) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, value) in &row.values {
        let mut entry = Vec::new();
        bytes_field(&mut entry, 1, tag.as_bytes());
        entry.push(2 << 3 | 5);
        entry.extend((value.as_f64().unwrap_or(f64::NAN) as f32).to_le_bytes());
        bytes_field(&mut summary, 1, &entry);
    }
    let mut event = double_field(1, row.step as f64);
    event.push(2 << 3);
    varint(&mut event, row.step);
    bytes_field(&mut event, 5, &summary);
    event
}

fn double_field(number: u8, value: f64) -> Vec<u8> {
    [&[number << 3 | 1][..], &value.to_le_bytes()].concat()
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
