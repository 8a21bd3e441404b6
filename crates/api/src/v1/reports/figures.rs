//! What reports add up to, as it is shown: split by grade wherever it stands.

use mtasts_model::ReportGrade;
use mtasts_store::GradeSum;
use serde::Serialize;
use utoipa::ToSchema;

/// What reports add up to. `tls-rpt`: sessions; `dmarc`: messages that passed, and that did not.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = ReportFigures)]
pub(crate) struct Figures {
    /// Reports; within a breakdown by something else than organisation, the rows of them that have the value.
    #[schema(example = 12)]
    pub(crate) reports: u64,
    /// What went well.
    #[schema(example = 990)]
    pub(crate) good: u64,
    /// What did not.
    #[schema(example = 10)]
    pub(crate) bad: u64,
    /// `bad` of both, from 0 to 1; null where there is neither.
    #[schema(required, minimum = 0, maximum = 1, example = 0.01)]
    pub(crate) failure_rate: Option<f64>,
    /// The same by what is known of who reported it. Only `verified` has proved to come from whom it names.
    pub(crate) by_grade: ByGrade,
}

/// Figures by the grade of the reports that they come from.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = ReportFiguresByGrade)]
pub(crate) struct ByGrade {
    /// Signed mails of the reporting organisation.
    verified: GradeFigures,
    /// Mails without a signature.
    unsigned: GradeFigures,
    /// Mails with an invalid or a foreign signature.
    failed: GradeFigures,
    /// By HTTPS, where nobody proves who they are.
    anonymous: GradeFigures,
}

/// Figures of one grade.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = ReportGradeFigures)]
struct GradeFigures {
    /// Reports, or rows of them.
    reports: u64,
    /// What went well.
    good: u64,
    /// What did not.
    bad: u64,
}

impl Figures {
    /// Adds up.
    pub(crate) fn of<'a>(sums: impl IntoIterator<Item = &'a GradeSum>) -> Self {
        let mut figures = Self::default();
        for sum in sums {
            let of_grade = match sum.grade {
                ReportGrade::Verified => &mut figures.by_grade.verified,
                ReportGrade::Unsigned => &mut figures.by_grade.unsigned,
                ReportGrade::Failed => &mut figures.by_grade.failed,
                ReportGrade::Anonymous => &mut figures.by_grade.anonymous,
            };
            add(&mut of_grade.reports, sum.reports);
            add(&mut of_grade.good, sum.good);
            add(&mut of_grade.bad, sum.bad);
            add(&mut figures.reports, sum.reports);
            add(&mut figures.good, sum.good);
            add(&mut figures.bad, sum.bad);
        }
        figures.failure_rate = fraction(figures.bad, figures.good.saturating_add(figures.bad));
        figures
    }
}

fn add(sum: &mut u64, number: u64) {
    *sum = sum.saturating_add(number);
}

/// How much of it; None of nothing.
#[expect(clippy::cast_precision_loss, reason = "a fraction for people, of numbers that may be larger than 2^53")]
pub(crate) fn fraction(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| (part as f64 / whole as f64).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_split_by_grade_and_never_wrap_around() {
        let sum = |grade, good, bad| GradeSum { grade, reports: 1, good, bad };
        let sums = [sum(ReportGrade::Verified, 3, 1), sum(ReportGrade::Anonymous, u64::MAX, 0)];
        let figures = Figures::of(&sums);
        assert_eq!((figures.reports, figures.good, figures.bad), (2, u64::MAX, 1));
        assert_eq!((figures.by_grade.verified.good, figures.by_grade.anonymous.good), (3, u64::MAX));
        assert_eq!(Figures::of(&sums[..1]).failure_rate, Some(0.25));
        assert_eq!(Figures::of(&[]).failure_rate, None);
    }
}
