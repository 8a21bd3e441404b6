//! The sums by day and by month: added to, and taken back from.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::NaiveDate;
use mtasts_model::{DomainId, TenantId};
use sea_orm::{ConnectionTrait, FromQueryResult};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::{
    NewReport, figure, months,
    rows::{pieces, text},
};
use crate::{StoreError, sql};

/// Values of one dimension on one day of one domain; more count as [`OTHERS`].
const VALUES_A_DAY: i64 = 200;
pub(super) const OTHERS: &str = "(others)";
const MOST_CHARACTERS: usize = 255;

/// A row of `report_days` but for its figures, in the order of its key: whoever writes several writes them in this order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cell {
    pub(super) group: Group,
    pub(super) value: String,
    pub(super) grade: String,
}

/// The rows of which there is a limited number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Group {
    pub(super) tenant: Uuid,
    /// Nil: over all domains of the tenant.
    pub(super) domain: Uuid,
    pub(super) kind: String,
    pub(super) dimension: String,
    pub(super) day: NaiveDate,
}

/// Reports, good, bad.
pub(super) type Figures = [i64; 3];

/// Changes to sums that are on their way.
#[derive(Debug, Default)]
pub(super) struct Sums {
    added: BTreeMap<Cell, Figures>,
    back: BTreeMap<Cell, Figures>,
    /// Values that the limit leaves no room for.
    crowded_out: BTreeSet<(Group, String)>,
}

#[derive(Debug, FromQueryResult)]
struct NewValueRow {
    tenant_id: Uuid,
    domain_id: Uuid,
    kind: String,
    dimension: String,
    day: NaiveDate,
    value: String,
    there: i64,
}

/// Values that are not there yet, and how many others are.
pub(crate) const NEW_VALUES: &str = "
    WITH wanted AS MATERIALIZED (
        SELECT q.* FROM jsonb_to_recordset($1::jsonb)
            AS q (tenant_id uuid, domain_id uuid, kind text, dimension text, day date, value text)
        WHERE NOT EXISTS (SELECT FROM report_days d
            WHERE d.tenant_id = q.tenant_id AND d.domain_id = q.domain_id AND d.kind = q.kind
                AND d.dimension = q.dimension AND d.day = q.day AND d.value = q.value)),
    groups AS MATERIALIZED (SELECT DISTINCT tenant_id, domain_id, kind, dimension, day FROM wanted)
    SELECT w.tenant_id, w.domain_id, w.kind, w.dimension, w.day, w.value, g.there
    FROM (SELECT groups.*, (SELECT count(DISTINCT d.value) FROM report_days d
            WHERE d.tenant_id = groups.tenant_id AND d.domain_id = groups.domain_id AND d.kind = groups.kind
                AND d.dimension = groups.dimension AND d.day = groups.day) AS there
        FROM groups) g
    JOIN wanted w USING (tenant_id, domain_id, kind, dimension, day)
    ORDER BY w.value";

pub(crate) const ADD: &str = "
    INSERT INTO report_days AS d (tenant_id, domain_id, kind, dimension, day, value, grade, reports, good, bad)
    SELECT * FROM jsonb_to_recordset($1::jsonb) AS r (tenant_id uuid, domain_id uuid, kind text, dimension text, day date,
        value text, grade text, reports bigint, good bigint, bad bigint)
    ON CONFLICT (tenant_id, domain_id, kind, dimension, day, value, grade) DO UPDATE
        SET reports = d.reports + EXCLUDED.reports, good = d.good + EXCLUDED.good, bad = d.bad + EXCLUDED.bad";

/// What has gone for its age stays gone.
const TAKE_BACK: &str = "
    WITH back AS (SELECT * FROM jsonb_to_recordset($1::jsonb) AS r (tenant_id uuid, domain_id uuid, kind text,
        dimension text, day date, value text, grade text, reports bigint, good bigint, bad bigint))
    UPDATE report_days d SET reports = d.reports - b.reports, good = d.good - b.good, bad = d.bad - b.bad
    FROM back b WHERE d.tenant_id = b.tenant_id AND d.domain_id = b.domain_id AND d.kind = b.kind
        AND d.dimension = b.dimension AND d.day = b.day AND d.value = b.value AND d.grade = b.grade";

const SWEEP_EMPTY: &str = "
    WITH back AS (SELECT * FROM jsonb_to_recordset($1::jsonb) AS r (tenant_id uuid, domain_id uuid, kind text,
        dimension text, day date, value text, grade text))
    DELETE FROM report_days d USING back b
    WHERE d.tenant_id = b.tenant_id AND d.domain_id = b.domain_id AND d.kind = b.kind
        AND d.dimension = b.dimension AND d.day = b.day AND d.value = b.value AND d.grade = b.grade
        AND d.reports <= 0 AND d.good <= 0 AND d.bad <= 0";

/// The two scopes in which a report counts, and what it adds in each. `domain` is a dimension of the wider one alone.
fn cells(report: &NewReport) -> Vec<(bool, Group, String, Figures)> {
    let group = |wide: bool, dimension: &str| Group {
        tenant: report.tenant.as_uuid(),
        domain: if wide { Uuid::nil() } else { report.domain.as_uuid() },
        kind: report.kind.as_str().to_owned(),
        dimension: dimension.to_owned(),
        day: report.day,
    };
    let mut cells = Vec::with_capacity(2 * report.sums.len() + 1);
    for sum in &report.sums {
        let figures = [figure(sum.reports), figure(sum.good), figure(sum.bad)];
        let value = text(&sum.value, MOST_CHARACTERS);
        for wide in [false, true] {
            cells.push((wide, group(wide, sum.dimension), value.clone(), figures));
        }
        if sum.dimension == "total" {
            cells.push((true, group(true, "domain"), report.domain.to_string(), figures));
        }
    }
    cells
}

impl Sums {
    /// Looks which of the values of these reports there is no room for. Before any [`Sums::add`], and under the tenants'
    /// locks.
    pub(super) async fn make_room(
        &mut self,
        db: &impl ConnectionTrait,
        reports: impl Iterator<Item = &NewReport>,
    ) -> Result<(), StoreError> {
        let mut wanted = BTreeSet::new();
        for report in reports {
            for (_, group, value, _) in cells(report) {
                if group.dimension != "total" {
                    wanted.insert((group, value));
                }
            }
        }
        let rows: Vec<Json> = wanted
            .iter()
            .map(|(group, value)| {
                json!({ "tenant_id": group.tenant, "domain_id": group.domain, "kind": group.kind,
                    "dimension": group.dimension, "day": group.day, "value": value })
            })
            .collect();
        let mut taken: HashMap<Group, i64> = HashMap::new();
        for piece in pieces(&rows)? {
            for row in sql::all::<NewValueRow>(db, NEW_VALUES, vec![piece.into()]).await? {
                let group = Group {
                    tenant: row.tenant_id,
                    domain: row.domain_id,
                    kind: row.kind,
                    dimension: row.dimension,
                    day: row.day,
                };
                let taken = taken.entry(group.clone()).or_insert(row.there);
                if *taken >= VALUES_A_DAY && row.value != OTHERS {
                    self.crowded_out.insert((group, row.value));
                } else {
                    *taken += 1;
                }
            }
        }
        Ok(())
    }

    /// Adds a report, and says what it has added where, for [`Sums::take_back`].
    pub(super) fn add(&mut self, report: &NewReport) -> Json {
        let mut applied: BTreeMap<(bool, String, String), Figures> = BTreeMap::new();
        for (wide, group, value, figures) in cells(report) {
            let crowded = self.crowded_out.contains(&(group.clone(), value.clone()));
            let value = if crowded { OTHERS.to_owned() } else { value };
            plus(applied.entry((wide, group.dimension.clone(), value.clone())).or_default(), figures);
            let cell = Cell { group, value, grade: report.grade.as_str().to_owned() };
            plus(self.added.entry(cell).or_default(), figures);
        }
        let line = |((wide, dimension, value), [reports, good, bad]): ((bool, String, String), Figures)| {
            json!([u8::from(wide), dimension, value, reports, good, bad])
        };
        applied.into_iter().map(line).collect()
    }

    /// Takes back what a stored report has added.
    pub(super) fn take_back(&mut self, of: &StoredReport) {
        for line in of.applied.as_array().into_iter().flatten() {
            let Ok((wide, dimension, value, reports, good, bad)) =
                serde_json::from_value::<(u8, String, String, i64, i64, i64)>(line.clone())
            else {
                continue;
            };
            let domain = if wide == 1 { Uuid::nil() } else { of.domain.as_uuid() };
            let group = Group { tenant: of.tenant.as_uuid(), domain, kind: of.kind.clone(), dimension, day: of.day };
            let cell = Cell { group, value, grade: of.grade.clone() };
            plus(self.back.entry(cell).or_default(), [reports, good, bad]);
        }
    }

    /// Writes all of it: first what is taken back, so that a copy that displaces another finds its rows.
    pub(super) async fn write(self, db: &impl ConnectionTrait) -> Result<(), StoreError> {
        write(db, [TAKE_BACK, ADD, SWEEP_EMPTY], &rows(&self.back), &rows(&self.added)).await?;
        months::write(db, &self.back, &self.added).await
    }
}

/// Takes back, adds, and sweeps up what is empty then, each by its statement.
pub(super) async fn write(
    db: &impl ConnectionTrait,
    [take_back, add, sweep_empty]: [&str; 3],
    back: &[Json],
    added: &[Json],
) -> Result<(), StoreError> {
    for (statement, rows) in [(take_back, back), (add, added), (sweep_empty, back)] {
        for piece in pieces(rows)? {
            sql::execute(db, statement, vec![piece.into()]).await?;
        }
    }
    Ok(())
}

/// A report that is there, as far as taking it back goes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StoredReport {
    pub(super) tenant: TenantId,
    pub(super) domain: DomainId,
    pub(super) kind: String,
    pub(super) day: NaiveDate,
    pub(super) grade: String,
    pub(super) applied: Json,
}

pub(super) fn plus(sum: &mut Figures, more: Figures) {
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum = sum.saturating_add(more);
    }
}

fn rows(cells: &BTreeMap<Cell, Figures>) -> Vec<Json> {
    let row = |(cell, [reports, good, bad]): (&Cell, &Figures)| {
        json!({ "tenant_id": cell.group.tenant, "domain_id": cell.group.domain, "kind": cell.group.kind,
            "dimension": cell.group.dimension, "day": cell.group.day, "value": cell.value, "grade": cell.grade,
            "reports": reports, "good": good, "bad": bad })
    };
    cells.iter().map(row).collect()
}
