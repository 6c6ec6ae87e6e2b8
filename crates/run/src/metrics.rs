//! Numbers per step: `scalars.jsonl` for programs and an event file for TensorBoard.
//!
//! When a run resumes, both lose the steps that will be taken again, so that no step appears twice.

use std::path::Path;

use serde_json::{Number, Value};

use crate::error::RunError;
use crate::events::Events;
use crate::journal::Journal;
use crate::row::Row;
use crate::sealed::seal;
use crate::whole::write_whole;

pub(crate) const SCALARS: &str = "scalars.jsonl";

/// The metrics of one stage, open for more.
#[derive(Debug)]
pub struct Metrics {
    scalars: Journal,
    events: Events,
    path: std::path::PathBuf,
}

impl Metrics {
    /// Opens or creates the metrics in the folder `dir`. Steps from `resume_at_step` on, which a killed process took after its
    /// last checkpoint, are forgotten; a new stage passes 0.
    pub fn open(dir: &Path, resume_at_step: u64) -> Result<Metrics, RunError> {
        let path = dir.join(SCALARS);
        let mut scalars = Journal::open(&path)?;
        let mut rows = scalars.entries::<Row>()?;
        rows.retain(|it| it.step < resume_at_step);
        if rows.len() < scalars.len() {
            let lines = rows.iter().map(seal).collect::<Result<Vec<_>, _>>();
            let lines = lines.map_err(|problem| RunError::Unwritable { path: path.clone(), problem })?;
            write_whole(&path, &lines.concat())?;
            scalars = Journal::open(&path)?;
        }
        Ok(Metrics { scalars, events: Events::open(dir, &rows, resume_at_step)?, path })
    }

    /// Appends the numbers of one step. One that is not finite is an error, and nothing of the step is kept.
    pub fn log<'a>(&mut self, step: u64, values: impl IntoIterator<Item = (&'a str, f64)>) -> Result<(), RunError> {
        let number = |(tag, value): (&str, f64)| {
            let number = Number::from_f64(value).ok_or_else(|| format!("step {step}: `{tag}` is {value}"))?;
            Ok((tag.to_owned(), Value::Number(number)))
        };
        let values = values.into_iter().map(number).collect::<Result<_, String>>();
        let values = values.map_err(|problem| RunError::Unwritable { path: self.path.clone(), problem })?;
        let row = Row { step, values };
        self.scalars.append(&row)?;
        self.events.log(&row)
    }

    /// Every step so far, in order.
    pub fn rows(&self) -> Result<Vec<Row>, RunError> {
        self.scalars.entries()
    }
}
