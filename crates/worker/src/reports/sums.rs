//! What a report adds to the day, by dimension.

use std::collections::BTreeMap;

use mtasts_store::Sum;

/// Values of one dimension that one report can bring; more count as [`OTHERS`].
const VALUES: usize = 200;
const OTHERS: &str = "(others)";

/// Adds up.
#[derive(Debug, Default)]
pub(super) struct Sums(BTreeMap<&'static str, BTreeMap<String, Figures>>);

#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    reports: u64,
    good: u64,
    bad: u64,
}

impl Figures {
    fn add(&mut self, other: Self) {
        self.reports = self.reports.saturating_add(other.reports);
        self.good = self.good.saturating_add(other.good);
        self.bad = self.bad.saturating_add(other.bad);
    }
}

impl Sums {
    /// One row of a value.
    pub(super) fn add(&mut self, dimension: &'static str, value: impl Into<String>, good: u64, bad: u64) {
        let values = self.0.entry(dimension).or_default();
        values.entry(value.into()).or_default().add(Figures { reports: 1, good, bad });
    }

    /// All of it; of each dimension the values that weigh most, and one for the others.
    pub(super) fn finish(self) -> Vec<Sum> {
        let mut sums = Vec::new();
        for (dimension, values) in self.0 {
            let mut values: Vec<(String, Figures)> = values.into_iter().collect();
            if values.len() > VALUES {
                values.sort_by_key(|(_, figures)| std::cmp::Reverse(figures.good.saturating_add(figures.bad)));
                let mut others = Figures::default();
                values.drain(VALUES - 1..).for_each(|(_, figures)| others.add(figures));
                values.push((OTHERS.to_owned(), others));
            }
            sums.extend(values.into_iter().map(|(value, Figures { reports, good, bad })| Sum {
                dimension,
                value,
                reports,
                good,
                bad,
            }));
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_values_is_cut_at_the_heaviest_and_loses_no_figure() {
        let mut sums = Sums::default();
        for number in 0..1_000_u64 {
            sums.add("sending_ip", format!("192.0.2.{number}"), 0, number);
        }
        let sums = sums.finish();
        assert_eq!(sums.len(), VALUES);
        assert_eq!(sums.iter().map(|sum| sum.bad).sum::<u64>(), (0..1_000).sum::<u64>());
        assert_eq!(sums.iter().map(|sum| sum.reports).sum::<u64>(), 1_000);
        assert_eq!(sums[0].bad, 999);
        assert_eq!(sums.last().unwrap().value, OTHERS);
    }
}
