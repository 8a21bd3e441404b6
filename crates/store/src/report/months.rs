//! The sums by month, which follow those by day.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate};
use sea_orm::ConnectionTrait;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::sums::{self, Cell, Figures, plus};
use crate::StoreError;

pub(crate) const ADD: &str = "
    INSERT INTO report_months AS m (tenant_id, domain_id, kind, dimension, month, value, grade, reports, good, bad, first_day, last_day)
    SELECT * FROM jsonb_to_recordset($1::jsonb) AS r (tenant_id uuid, domain_id uuid, kind text, dimension text, month date, value text,
        grade text, reports bigint, good bigint, bad bigint, first_day date, last_day date)
    ON CONFLICT (tenant_id, domain_id, kind, dimension, month, value, grade) DO UPDATE
        SET reports = m.reports + EXCLUDED.reports, good = m.good + EXCLUDED.good, bad = m.bad + EXCLUDED.bad,
            first_day = least(m.first_day, EXCLUDED.first_day), last_day = greatest(m.last_day, EXCLUDED.last_day)";

/// What has gone for its age stays gone.
const TAKE_BACK: &str = "
    WITH back AS (SELECT * FROM jsonb_to_recordset($1::jsonb) AS r (tenant_id uuid, domain_id uuid, kind text, dimension text, month date,
        value text, grade text, reports bigint, good bigint, bad bigint))
    UPDATE report_months m SET reports = m.reports - b.reports, good = m.good - b.good, bad = m.bad - b.bad
    FROM back b WHERE m.tenant_id = b.tenant_id AND m.domain_id = b.domain_id AND m.kind = b.kind AND m.dimension = b.dimension AND m.month = b.month
        AND m.value = b.value AND m.grade = b.grade";

const SWEEP_EMPTY: &str = "
    WITH back AS (SELECT * FROM jsonb_to_recordset($1::jsonb) AS r (tenant_id uuid, domain_id uuid, kind text, dimension text, month date,
        value text, grade text))
    DELETE FROM report_months m USING back b
    WHERE m.tenant_id = b.tenant_id AND m.domain_id = b.domain_id AND m.kind = b.kind AND m.dimension = b.dimension AND m.month = b.month
        AND m.value = b.value AND m.grade = b.grade AND m.reports <= 0 AND m.good <= 0 AND m.bad <= 0";

/// A row of `report_months` but for what it says, in the order of its key.
type Key<'a> = (Uuid, Uuid, &'a str, &'a str, NaiveDate, &'a str, &'a str);

#[derive(Debug, Default)]
struct Month {
    figures: Figures,
    days: Option<(NaiveDate, NaiveDate)>,
}

/// Writes the same changes as those of the days, and in the same order.
pub(super) async fn write(
    db: &impl ConnectionTrait,
    back: &BTreeMap<Cell, Figures>,
    added: &BTreeMap<Cell, Figures>,
) -> Result<(), StoreError> {
    sums::write(db, [TAKE_BACK, ADD, SWEEP_EMPTY], &rows(back), &rows(added)).await
}

fn rows(cells: &BTreeMap<Cell, Figures>) -> Vec<Json> {
    let mut months: BTreeMap<Key<'_>, Month> = BTreeMap::new();
    for (Cell { group, value, grade }, figures) in cells {
        let first = group.day.with_day(1).unwrap_or(group.day);
        let key = (
            group.tenant,
            group.domain,
            group.kind.as_str(),
            group.dimension.as_str(),
            first,
            value.as_str(),
            grade.as_str(),
        );
        let month = months.entry(key).or_default();
        plus(&mut month.figures, *figures);
        let (from, to) = month.days.unwrap_or((group.day, group.day));
        month.days = Some((from.min(group.day), to.max(group.day)));
    }
    let row = |((tenant, domain, kind, dimension, first, value, grade), month): (Key<'_>, Month)| {
        let [reports, good, bad] = month.figures;
        let (first_day, last_day) = month.days.unwrap_or((first, first));
        json!({ "tenant_id": tenant, "domain_id": domain, "kind": kind, "dimension": dimension, "month": first, "value": value, "grade": grade,
            "reports": reports, "good": good, "bad": bad, "first_day": first_day, "last_day": last_day })
    };
    months.into_iter().map(row).collect()
}
