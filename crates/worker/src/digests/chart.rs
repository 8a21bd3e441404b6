//! A chart of good and failed per day: bars without any text, so that it needs no font and looks the same everywhere.

use std::fmt::Write;

use chrono::NaiveDate;
use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{Options, Tree},
};

/// Of the drawing, in its own units; it is rendered at twice that, for sharp screens.
pub(super) const WIDTH: u32 = 600;
pub(super) const HEIGHT: u32 = 120;
const SCALE: u8 = 2;

/// Left free at the top, and for the line at the bottom.
const TOP: u64 = 6;
const BASE: u64 = 112;

/// The newest days.
const MOST_DAYS: usize = 120;

/// A day with any failure shows one.
const LEAST: u64 = 3;

/// Why there is no chart.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChartError {
    /// The drawing cannot be read.
    #[error("the chart cannot be drawn")]
    Drawing(#[from] resvg::usvg::Error),
    /// It has no pixels.
    #[error("the chart is empty")]
    Empty,
    /// It cannot be written.
    #[error("the chart cannot be written as PNG")]
    Png(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The drawing: a bar for each day, what failed on top of what was good. Whole numbers alone, so that it is the same everywhere.
pub(super) fn svg(days: &[(NaiveDate, u64, u64)]) -> String {
    // More bars than this cannot be told apart.
    let days = days.get(days.len().saturating_sub(MOST_DAYS)..).unwrap_or(days);
    let count = u64::try_from(days.len()).unwrap_or(u64::MAX).max(1);
    let most = days.iter().map(|(_, good, bad)| good.saturating_add(*bad)).max().unwrap_or(0).max(1);
    let height = |part: u64| u64::try_from(u128::from(part) * u128::from(BASE - TOP) / u128::from(most)).unwrap_or(0);
    let slot = u64::from(WIDTH) / count;
    let (bar, left) = ((slot * 4 / 5).max(1), (u64::from(WIDTH) - slot * count) / 2);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         viewBox=\"0 0 {WIDTH} {HEIGHT}\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n"
    );
    for (index, (_, good, bad)) in (0_u64..).zip(days) {
        let x = left + index * slot + (slot - bar) / 2;
        let failed = if *bad == 0 { 0 } else { height(*bad).max(LEAST) };
        let fine = height(*good).min(BASE - TOP - failed);
        for (color, y, height) in [("#2f9e62", BASE - fine, fine), ("#c92a2a", BASE - fine - failed, failed)] {
            if height > 0 {
                let _ =
                    writeln!(svg, "<rect x=\"{x}\" y=\"{y}\" width=\"{bar}\" height=\"{height}\" fill=\"{color}\"/>");
            }
        }
    }
    let _ = write!(svg, "<rect x=\"0\" y=\"{BASE}\" width=\"{WIDTH}\" height=\"1\" fill=\"#868e96\"/>\n</svg>\n");
    svg
}

/// The drawing as PNG, which every mail program shows.
pub(super) fn png(svg: &str) -> Result<Vec<u8>, ChartError> {
    let tree = Tree::from_str(svg, &Options::default())?;
    let mut pixels = Pixmap::new(WIDTH * u32::from(SCALE), HEIGHT * u32::from(SCALE)).ok_or(ChartError::Empty)?;
    resvg::render(&tree, Transform::from_scale(SCALE.into(), SCALE.into()), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| ChartError::Png(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(figures: &[(u64, u64)]) -> Vec<(NaiveDate, u64, u64)> {
        let first = NaiveDate::from_ymd_opt(2025, 12, 18).unwrap();
        first.iter_days().zip(figures).map(|(day, (good, bad))| (day, *good, *bad)).collect()
    }

    #[test]
    fn a_chart_is_a_png_of_its_size_with_failures_in_red_and_the_same_each_time() {
        let svg = svg(&days(&[(100, 0), (50, 50), (0, 0), (1_000_000, 1)]));
        let image = png(&svg).unwrap();
        assert_eq!(image, png(&svg).unwrap());
        let decoded = Pixmap::decode_png(&image).unwrap();
        assert_eq!((decoded.width(), decoded.height()), (1200, 240));
        let red = |x: u32| {
            (0..240).filter(|y| decoded.pixel(x, *y).is_some_and(|p| p.red() == 0xC9 && p.green() == 0x2A)).count()
        };
        assert_eq!(red(150), 0);
        assert_eq!(red(1050), 6, "one of a million shows");
    }

    #[test]
    fn no_figures_are_too_large_or_too_few_for_a_chart() {
        for figures in
            [&[][..], &[(0, 0)], &[(u64::MAX, u64::MAX)], &[(0, u64::MAX), (1, 1)], &[(1, 1); 400], &[(1, 1); 900]]
        {
            let svg = svg(&days(figures));
            assert!(!svg.contains('-') || !svg.contains("=\"-"), "{svg}");
            assert!(Pixmap::decode_png(&png(&svg).unwrap()).is_ok());
        }
    }
}
