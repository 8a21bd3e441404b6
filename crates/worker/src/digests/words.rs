//! Figures and names as they stand in a digest.

use mtasts_store::DigestFigures;

/// The longest text of a stranger that is shown, in characters.
const LONGEST: usize = 100;

/// A text that a stranger wrote, on one line: without control characters and those that turn the direction of what comes
/// after them, and cut.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String =
        text.chars().take(LONGEST).map(|c| if is_unsafe(c) { char::REPLACEMENT_CHARACTER } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// Control characters, line and paragraph separators, marks and overrides of direction (UAX #9 §2), characters without width,
/// and tags.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

/// For HTML, in text and in attributes.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// With a comma between each three digits.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A share in percent, with a digit after the point. What is not nothing is not shown as nothing, nor as all.
pub(super) fn percent(part: u64, all: u64) -> String {
    let (part, all) = (u128::from(part), u128::from(all));
    let tenths = (part * 1000 + all / 2).checked_div(all).unwrap_or(0);
    match tenths {
        0 if part > 0 => "under 0.1%".to_owned(),
        1000 if part < all => "over 99.9%".to_owned(),
        tenths => format!("{}.{}%", tenths / 10, tenths % 10),
    }
}

/// Another name for one or many.
pub(super) fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

/// How it was in the period before.
pub(super) fn change(figures: &DigestFigures, before: &str) -> String {
    let (all, all_before) = (total(figures.good, figures.bad), total(figures.good_before, figures.bad_before));
    if all_before == 0 {
        return format!("{before}: no reports");
    }
    let share = percent(figures.bad_before, all_before);
    let trend = match (u128::from(figures.bad) * u128::from(all_before))
        .cmp(&(u128::from(figures.bad_before) * u128::from(all)))
    {
        std::cmp::Ordering::Less => "better now",
        std::cmp::Ordering::Equal => "the same",
        std::cmp::Ordering::Greater => "worse now",
    };
    format!("{before}: {} of {} failed ({share}); {trend}", number(figures.bad_before), number(all_before))
}

pub(super) fn total(good: u64, bad: u64) -> u64 {
    good.saturating_add(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_shown_as_people_read_them() {
        assert_eq!(
            (number(0), number(999), number(1000), number(u64::MAX)),
            ("0".into(), "999".into(), "1,000".into(), "18,446,744,073,709,551,615".into())
        );
        for (part, all, expected) in [
            (0, 0, "0.0%"),
            (0, 10, "0.0%"),
            (145, 2000, "7.3%"),
            (1, 10_000, "under 0.1%"),
            (9_999, 10_000, "over 99.9%"),
            (10, 10, "100.0%"),
            (u64::MAX, u64::MAX, "100.0%"),
        ] {
            assert_eq!(percent(part, all), expected);
        }
        let figures = |good, bad, good_before, bad_before| DigestFigures {
            good,
            bad,
            good_before,
            bad_before,
            ..DigestFigures::default()
        };
        assert_eq!(change(&figures(90, 10, 95, 5), "Before"), "Before: 5 of 100 failed (5.0%); worse now");
        assert_eq!(change(&figures(190, 10, 95, 5), "Before"), "Before: 5 of 100 failed (5.0%); the same");
        assert_eq!(change(&figures(0, 0, 95, 5), "Before"), "Before: 5 of 100 failed (5.0%); the same");
        assert_eq!(change(&figures(1, 1, 0, 0), "Before"), "Before: no reports");
    }

    #[test]
    fn what_strangers_wrote_breaks_neither_lines_nor_markup_nor_direction() {
        let nasty =
            "Org\r\nBcc: x@example.com <script>alert(1)</script> \u{202E}gro\u{2066}\u{200F}\u{0}\u{85}\u{2028}&\"'";
        let safe = shown(nasty);
        assert!(!safe.chars().any(is_unsafe), "{safe:?}");
        let html = escaped(&safe);
        assert!(
            !html.contains(['<', '>', '"', '\''])
                && html.contains("&lt;script&gt;")
                && html.contains("&amp;&quot;&#39;")
        );
        assert_eq!(shown(&"a".repeat(101)).chars().count(), 101);
        assert_eq!(shown(&"ü".repeat(100)), "ü".repeat(100));
    }
}
