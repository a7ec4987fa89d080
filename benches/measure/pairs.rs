//! Two measurements, made in pairs one right after the other, as what else the machine does changes with time.

/// Options of every benchmark that measures pairs.
#[derive(clap::Args)]
pub struct Pairs {
    /// Pairs of runs in a row
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// cargo bench says so; cargo test does not
    #[arg(long, hide = true)]
    pub bench: bool,
}

/// The pair, of so many, with the middle ratio of the second to the first; seconds.
pub fn median(rounds: u32, pair: impl FnMut(u32) -> (f64, f64)) -> (f64, f64) {
    let mut pairs: Vec<(f64, f64)> = (0..rounds).map(pair).collect();
    pairs.sort_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
    pairs.get(pairs.len() / 2).copied().unwrap()
}
