//! Progress on standard error: bars with the time left on a terminal, a plain line every few seconds elsewhere.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;

const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// The speed shown is that of the last half minute.
const WINDOW: Duration = Duration::from_secs(30);

/// Shows how far a run is.
#[derive(Clone, Debug)]
pub struct Progress {
    shown: Shown,
    plan: Vec<(String, f64)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shown {
    Bars,
    Lines,
    Nothing,
}

impl Progress {
    /// Bars or lines on standard error, or nothing if `quiet`.
    pub fn new(quiet: bool) -> Progress {
        let shown = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Shown::Nothing,
            (false, true) => Shown::Bars,
            (false, false) => Shown::Lines,
        };
        Progress { shown, plan: Vec::new() }
    }

    /// No output, for tests.
    pub fn hidden() -> Progress {
        Progress { shown: Shown::Nothing, plan: Vec::new() }
    }

    /// Lets every stage tell the time left of the whole run, too. `plan` names the stages in order, each with its expected
    /// share of the time, in any unit.
    pub fn with_plan<'a>(self, plan: impl IntoIterator<Item = (&'a str, f64)>) -> Progress {
        Progress { plan: plan.into_iter().map(|(name, cost)| (name.to_owned(), cost)).collect(), ..self }
    }

    /// Says something that the numbers of a stage would not show.
    pub fn warn(&self, text: &str) {
        if self.shown != Shown::Nothing {
            output::note(&format!("warning: {text}"));
        }
    }

    /// Begins a stage of `total` units; it ends when the returned value is dropped.
    pub fn stage(&self, name: &str, total: u64) -> Stage {
        let target =
            if self.shown == Shown::Bars { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total), target).with_prefix(name.to_owned());
        let style = ProgressStyle::with_template("{prefix:>24} {bar:28} {pos}/{len}  {msg}");
        bar.set_style(style.expect("the template is valid"));
        if self.shown == Shown::Lines {
            output::note(&format!("{name}: 0/{total}"));
        }
        let later = self.plan.iter().position(|it| it.0 == name).map(|it| {
            let later: f64 = self.plan[it + 1..].iter().map(|it| it.1).sum();
            later / self.plan[it].1
        });
        let state = State { done: 0, speed: Speed::default(), note: String::new(), last_line: Instant::now() };
        Stage { name: name.to_owned(), total, shown: self.shown, later, bar, state: Mutex::new(state) }
    }
}

/// A stage that is under way.
#[derive(Debug)]
pub struct Stage {
    name: String,
    total: u64,
    shown: Shown,
    /// Time that the stages after this one take, in units of this one's.
    later: Option<f64>,
    bar: ProgressBar,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    done: u64,
    speed: Speed,
    note: String,
    last_line: Instant,
}

impl Stage {
    /// Adds `n` finished units. What an earlier process finished is added first, at once, and does not count as speed.
    pub fn advance(&self, n: u64) {
        let mut state = self.state();
        state.done += n;
        let done = state.done;
        state.speed.saw(Instant::now(), done);
        self.show(&mut state);
    }

    /// Shows `text` beside the numbers from now on.
    pub fn note(&self, text: &str) {
        let mut state = self.state();
        text.clone_into(&mut state.note);
        self.show(&mut state);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, state: &mut State) {
        let left = state.speed.seconds_per_unit().map(|it| it * self.total.saturating_sub(state.done) as f64);
        let all = left.zip(state.speed.seconds_per_unit()).zip(self.later);
        let all = all.map(|((left, per_unit), later)| left + later * per_unit * self.total as f64);
        let parts = [
            left.map(|it| format!("{} left", duration(it))),
            all.map(|it| format!("{} in all", duration(it))),
            (!state.note.is_empty()).then(|| state.note.clone()),
        ];
        let message = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
        match self.shown {
            Shown::Nothing => {}
            Shown::Bars => {
                self.bar.set_message(message);
                self.bar.set_position(state.done);
            }
            Shown::Lines if state.last_line.elapsed() >= PLAIN_EVERY => {
                state.last_line = Instant::now();
                let comma = if message.is_empty() { "" } else { ", " };
                output::note(&format!("{}: {}/{}{comma}{message}", self.name, state.done, self.total));
            }
            Shown::Lines => {}
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let state = self.state();
        match self.shown {
            Shown::Nothing => {}
            Shown::Bars => self.bar.abandon_with_message(state.note.clone()),
            Shown::Lines => {
                let comma = if state.note.is_empty() { "" } else { ", " };
                output::note(&format!("{}: {}/{}{comma}{}", self.name, state.done, self.total, state.note));
            }
        }
    }
}

/// Units and when they were done, over the last [`WINDOW`].
#[derive(Debug, Default)]
struct Speed(VecDeque<(Instant, u64)>);

impl Speed {
    fn saw(&mut self, now: Instant, done: u64) {
        while self.0.len() > 2 && self.0[1].0 + WINDOW < now {
            self.0.pop_front();
        }
        self.0.push_back((now, done));
    }

    fn seconds_per_unit(&self) -> Option<f64> {
        let ((start, before), (end, done)) = (self.0.front()?, self.0.back()?);
        let seconds = end.duration_since(*start).as_secs_f64();
        (done > before && seconds > 0.0).then(|| seconds / (done - before) as f64)
    }
}

/// `42 s`, `7:05 min`, `1:30 h`.
fn duration(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{}:{:02} min", seconds / 60, seconds % 60),
        _ => format!("{}:{:02} h", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_is_that_of_this_process() {
        let start = Instant::now();
        let mut speed = Speed::default();
        speed.saw(start, 500); // resumed
        assert_eq!(speed.seconds_per_unit(), None);
        speed.saw(start + Duration::from_secs(2), 504);
        assert_eq!(speed.seconds_per_unit(), Some(0.5));
        speed.saw(start + Duration::from_secs(100), 505);
        speed.saw(start + Duration::from_secs(101), 507);
        assert!(speed.seconds_per_unit().is_some_and(|it| it > 0.5));
    }

    #[test]
    fn durations_read_well() {
        assert_eq!([0.4, 59.0, 425.0, 5400.0].map(duration), ["0 s", "59 s", "7:05 min", "1:30 h"]);
    }
}
