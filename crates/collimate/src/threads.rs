//! How many threads compute.

use crate::output;

const VARIABLE: &str = "RAYON_NUM_THREADS";

/// Threads per processor beyond which more cannot help; each takes memory and time to start.
const PER_PROCESSOR: usize = 4;

/// Keeps `RAYON_NUM_THREADS` within what this machine can use, with a word if it asked for more.
pub fn limit() {
    let Ok(given) = std::env::var(VARIABLE) else { return };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let most = PER_PROCESSOR * processors;
    match given.trim().parse::<usize>() {
        Ok(n) if n <= most => {}
        Ok(_) => {
            output::note(&format!(
                "{VARIABLE}={given} is more than {processors} processors can use: computing with {most} threads"
            ));
            build(most);
        }
        Err(_) => {
            output::note(&format!("{VARIABLE}={given} is no number of threads: computing with {processors}"));
            build(processors);
        }
    }
}

fn build(n: usize) {
    // An error says that the pool is there already, which nothing before this can have made.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(n).build_global();
}
