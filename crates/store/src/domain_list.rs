//! Lists of domains: any filters together, in any order, and never more work for a page than a bound.
//!
//! One filter drives: its index yields domains in the wanted order, and the others are looked at row by row. Which one is
//! found out by counting a little way into each: what matches few is read whole, in whatever order, and sorted. Where all
//! match many, at most [`SCAN`] rows are read for a page, which may then be short and yet have a next one.

use mtasts_model::{ConditionKind, DomainId, Mode, Status, Tag};
use sea_orm::{ConnectionTrait, QueryResult, Value};
use uuid::Uuid;

use crate::{
    DomainFilter, DomainState, DomainView, StoreError, domain_rows,
    domain_rows::status_word,
    sql::{self, MAX_LIST},
};

/// What matches at most as many is read whole. A few milliseconds.
const FEW: u32 = 1_000;

/// Rows that are looked at for one page. A few milliseconds as well.
const SCAN: u32 = 1_000;

/// Trigrams are made from letters and digits alone: a text without three in a row would be sought in every name.
const TRIGRAM: usize = 3;

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DomainSort {
    /// Oldest first: by id, which begins with the millisecond of registration.
    #[default]
    Created,
    /// Newest first.
    CreatedDescending,
    /// By name.
    Name,
    /// By name, backwards.
    NameDescending,
}

impl DomainSort {
    /// All orders.
    pub const ALL: [Self; 4] = [Self::Created, Self::CreatedDescending, Self::Name, Self::NameDescending];

    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created_at",
            Self::CreatedDescending => "-created_at",
            Self::Name => "name",
            Self::NameDescending => "-name",
        }
    }

    fn is_by_name(self) -> bool {
        matches!(self, Self::Name | Self::NameDescending)
    }

    fn direction(self) -> &'static str {
        match self {
            Self::Created | Self::Name => "ASC",
            Self::CreatedDescending | Self::NameDescending => "DESC",
        }
    }

    fn beyond(self) -> char {
        match self {
            Self::Created | Self::Name => '>',
            Self::CreatedDescending | Self::NameDescending => '<',
        }
    }
}

/// A place in a list, whether or not a domain is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainPosition {
    /// The domain's id.
    pub id: DomainId,
    /// Its name, where the list is ordered by name.
    pub name: Option<String>,
}

/// What to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DomainQuery {
    /// Which domains.
    pub filter: DomainFilter,
    /// In which order.
    pub sort: DomainSort,
    /// Behind which place; None: from the beginning.
    pub after: Option<DomainPosition>,
    /// How many: 1 to 200.
    pub limit: u32,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct DomainPage {
    /// The domains: fewer than were asked for, even none, where few among many match.
    pub domains: Vec<DomainView>,
    /// Behind which place the list goes on; None: this was the end.
    pub next: Option<DomainPosition>,
}

/// Where rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Driver<'a> {
    All,
    State(DomainState),
    Mode(Mode),
    Prefix(&'a str),
    Tag(&'a Tag),
    Condition(ConditionKind, Status),
    /// What has the text in its name.
    Part(&'a str),
}

impl<'a> Driver<'a> {
    /// What the filters offer, those that mostly match fewest first.
    fn offered(filter: &'a DomainFilter) -> Vec<Self> {
        let gone = filter.state == Some(DomainState::Gone);
        let tags = filter.tags.iter().map(Driver::Tag);
        let conditions = filter.conditions.iter().map(|(kind, status)| Driver::Condition(*kind, *status));
        let prefix = filter.name_prefix.as_deref().map(Driver::Prefix);
        // The index by mode has nothing of what is gone.
        let mode = filter.mode.filter(|_| !gone).map(Driver::Mode);
        tags.chain(conditions).chain(prefix).chain(mode).chain(filter.state.map(Driver::State)).collect()
    }

    /// Whether an index yields it in this order.
    fn is_ordered(&self, sort: DomainSort) -> bool {
        match self {
            Self::All | Self::State(_) | Self::Mode(_) | Self::Tag(_) => true,
            Self::Prefix(_) => sort.is_by_name(),
            Self::Condition(..) => !sort.is_by_name(),
            Self::Part(_) => false,
        }
    }

    /// What to read, by the columns that it is ordered by.
    fn source(&self, filter: &DomainFilter, values: &mut Values) -> Source {
        let domains =
            |condition: String| Source { id: "x.id", name: "x.name", from: "domains x".to_owned(), condition };
        match self {
            Self::All => domains(state_of(filter)),
            Self::State(one) => domains(format!("x.state = '{}'", one.as_str())),
            Self::Mode(mode) => domains(format!("x.state <> 'gone' AND x.mode = {}", values.place(mode.as_str()))),
            Self::Prefix(prefix) => domains(format!("{} AND {}", state_of(filter), begins(prefix, values))),
            Self::Tag(tag) => {
                let condition = format!("t.tag = {}", values.place(tag.as_str()));
                Source { id: "t.domain_id", name: "t.name", from: "domain_tags t".to_owned(), condition }
            }
            Self::Condition(kind, status) => {
                let (kind, status) = (values.place(kind.as_str()), values.place(status_word(*status)));
                let condition = format!("k.kind = {kind} AND k.status = {status}");
                Source { id: "k.domain_id", name: "NULL::text", from: "domain_conditions k".to_owned(), condition }
            }
            Self::Part(part) => {
                let from = format!("domains_with_name_part({}, {}) AS p (id)", values.place(*part), FEW + 1);
                Source { id: "p.id", name: "NULL::text", from, condition: "true".to_owned() }
            }
        }
    }
}

struct Source {
    id: &'static str,
    name: &'static str,
    from: String,
    condition: String,
}

/// A statement's parameters.
#[derive(Default)]
struct Values(Vec<Value>);

impl Values {
    fn place(&mut self, value: impl Into<Value>) -> String {
        self.0.push(value.into());
        format!("${}", self.0.len())
    }
}

/// Words of ours, written out so that the partial indexes can be recognised.
fn state_of(filter: &DomainFilter) -> String {
    filter.state.map_or_else(|| "x.state <> 'gone'".to_owned(), |state| format!("x.state = '{}'", state.as_str()))
}

/// Names are LDH and dots: nothing that begins with the prefix comes after this bound.
fn begins(prefix: &str, values: &mut Values) -> String {
    let (least, bound) = (values.place(prefix), values.place(format!("{prefix}\u{7f}")));
    format!("x.name >= {least} AND x.name < {bound}")
}

/// Every filter, on a domain `x`. The sub-queries are scalar, so that each is one look into an index and none is made into
/// a join with all that matches.
fn matches(filter: &DomainFilter, values: &mut Values) -> String {
    let mut wheres = vec![state_of(filter)];
    wheres.extend(filter.mode.map(|mode| format!("x.mode = {}", values.place(mode.as_str()))));
    wheres.extend(filter.name_prefix.as_deref().map(|prefix| begins(prefix, values)));
    wheres.extend(filter.text.as_deref().map(|text| format!("position({} IN x.name) > 0", values.place(text))));
    for tag in &filter.tags {
        let tag = values.place(tag.as_str());
        wheres.push(format!("(SELECT true FROM domain_tags o WHERE o.domain_id = x.id AND o.tag = {tag})"));
    }
    for (kind, status) in &filter.conditions {
        let (kind, status) = (values.place(kind.as_str()), values.place(status_word(*status)));
        let of = "SELECT o.status FROM domain_conditions o WHERE o.domain_id = x.id AND o.kind";
        wheres.push(format!("({of} = {kind}) = {status}"));
    }
    wheres.join(" AND ")
}

/// What lies behind a place, by these columns.
fn behind(query: &DomainQuery, id: &str, name: &str, values: &mut Values) -> Option<String> {
    let (after, beyond) = (query.after.as_ref()?, query.sort.beyond());
    let place = values.place(after.id.as_uuid());
    Some(if query.sort.is_by_name() {
        let text = values.place(after.name.as_deref().unwrap_or_default());
        format!("({name}, {id}) {beyond} ({text}, {place})")
    } else {
        format!("{id} {beyond} {place}")
    })
}

fn order(sort: DomainSort, id: &str, name: &str) -> String {
    let direction = sort.direction();
    if sort.is_by_name() { format!("{name} {direction}, {id} {direction}") } else { format!("{id} {direction}") }
}

/// One page. Reads at most some thousands of rows.
pub(crate) async fn page(db: &impl ConnectionTrait, query: &DomainQuery) -> Result<DomainPage, StoreError> {
    keep_to_indexes(db).await?;
    let offered = Driver::offered(&query.filter);
    let mut few = None;
    let decided = offered.len() < 2 && offered.iter().all(|driver| driver.is_ordered(query.sort));
    if !decided {
        few = fewest(db, query, &offered).await?;
    }
    let driver = few.clone().or_else(|| offered.into_iter().find(|driver| driver.is_ordered(query.sort)));
    let driver = driver.unwrap_or(Driver::All);
    let limit = query.limit.clamp(1, MAX_LIST);
    let mut domains = read(db, query, &driver, few.is_some(), limit + 1).await?;
    if let Some(next) = cut(&mut domains, query.sort, limit) {
        return Ok(DomainPage { domains, next: Some(next) });
    }
    if few.is_some() {
        return Ok(DomainPage { domains, next: None });
    }
    // Not filled: the end, or the bound.
    let Some(next) = bound(db, query, &driver).await? else { return Ok(DomainPage { domains, next: None }) };
    if let Some(part) = query.filter.text.as_deref().filter(|text| has_trigram(text))
        && let Some(part) = fewest(db, query, &[Driver::Part(part)]).await?
    {
        let mut domains = read(db, query, &part, true, limit + 1).await?;
        let next = cut(&mut domains, query.sort, limit);
        return Ok(DomainPage { domains, next });
    }
    Ok(DomainPage { domains, next: Some(next) })
}

/// Each source has its index, and each row that it yields is looked at by key. Where statistics make something else look
/// cheaper, they are old, or the tenant is most of the table: the bound would be lost.
async fn keep_to_indexes(db: &impl ConnectionTrait) -> Result<(), StoreError> {
    let set = "SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
        set_config('enable_mergejoin', 'off', true)";
    sql::execute(db, set, vec![]).await?;
    Ok(())
}

fn has_trigram(text: &str) -> bool {
    text.split(|letter: char| !letter.is_ascii_alphanumeric()).any(|run| run.len() >= TRIGRAM)
}

/// One more than a page has was asked for: where it came, the list goes on behind the page's last.
fn cut(domains: &mut Vec<DomainView>, sort: DomainSort, limit: u32) -> Option<DomainPosition> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if domains.len() <= limit {
        return None;
    }
    domains.truncate(limit);
    domains.last().map(|last| DomainPosition { id: last.id, name: sort.is_by_name().then(|| last.name.to_string()) })
}

/// The driver that matches fewest, if that is few.
async fn fewest<'a>(
    db: &impl ConnectionTrait,
    query: &DomainQuery,
    offered: &[Driver<'a>],
) -> Result<Option<Driver<'a>>, StoreError> {
    let mut values = Values::default();
    let counts = offered.iter().enumerate().map(|(index, driver)| {
        let Source { from, condition, .. } = driver.source(&query.filter, &mut values);
        format!("(SELECT count(*) FROM (SELECT FROM {from} WHERE {condition} LIMIT {}) n) AS c{index}", FEW + 1)
    });
    let sql = format!("SELECT {}", counts.collect::<Vec<_>>().join(", "));
    let row = sql::row(db, &sql, values.0).await?.ok_or(StoreError::NotFound)?;
    let mut fewest = None;
    for (index, driver) in offered.iter().enumerate() {
        let count: i64 = row.try_get("", &format!("c{index}"))?;
        if count <= i64::from(FEW) && fewest.as_ref().is_none_or(|(least, _)| count < *least) {
            fewest = Some((count, driver.clone()));
        }
    }
    Ok(fewest.map(|(_, driver)| driver))
}

/// The rows of a driver in order, from behind the query's place on, up to the bound.
fn scanned(query: &DomainQuery, driver: &Driver<'_>, values: &mut Values) -> String {
    let Source { id, name, from, condition } = driver.source(&query.filter, values);
    let behind = behind(query, id, name, values).map(|behind| format!(" AND {behind}")).unwrap_or_default();
    let order = order(query.sort, id, name);
    let name = if query.sort.is_by_name() || query.filter.text.is_some() { name } else { "NULL::text" };
    format!("SELECT {id} AS id, {name} AS name FROM {from} WHERE {condition}{behind} ORDER BY {order} LIMIT {SCAN}")
}

async fn read(
    db: &impl ConnectionTrait,
    query: &DomainQuery,
    driver: &Driver<'_>,
    whole: bool,
    limit: u32,
) -> Result<Vec<DomainView>, StoreError> {
    let mut values = Values::default();
    let page = if whole {
        let Source { id, from, condition, .. } = driver.source(&query.filter, &mut values);
        let matches = matches(&query.filter, &mut values);
        let behind = behind(query, "x.id", "x.name", &mut values);
        let behind = behind.map(|behind| format!(" AND {behind}")).unwrap_or_default();
        format!(
            "SELECT x.* FROM (SELECT {id} AS id FROM {from} WHERE {condition}) s JOIN domains x ON x.id = s.id
                WHERE {matches}{behind} ORDER BY {} LIMIT {limit}",
            order(query.sort, "x.id", "x.name")
        )
    } else {
        let scanned = scanned(query, driver, &mut values);
        let matches = matches(&query.filter, &mut values);
        // Where the source knows the name, most rows are passed over before their domain is looked up.
        let early = query.filter.text.as_deref().map(|text| values.place(text));
        let early = early.map(|text| format!("coalesce(position({text} IN s.name) > 0, true) AND "));
        format!(
            "SELECT x.* FROM ({scanned}) s JOIN domains x ON x.id = s.id WHERE {}{matches} ORDER BY {} LIMIT {limit}",
            early.unwrap_or_default(),
            order(query.sort, "s.id", "s.name")
        )
    };
    domain_rows::of_page(db, &page, &order(query.sort, "d.id", "d.name"), values.0).await
}

/// The last row within the bound, where there are more.
async fn bound(
    db: &impl ConnectionTrait,
    query: &DomainQuery,
    driver: &Driver<'_>,
) -> Result<Option<DomainPosition>, StoreError> {
    let mut values = Values::default();
    let sql = format!("SELECT * FROM ({}) s OFFSET {}", scanned(query, driver, &mut values), SCAN - 1);
    let row = sql::row(db, &sql, values.0).await?;
    row.map(|row: QueryResult| {
        let name = if query.sort.is_by_name() { row.try_get("", "name")? } else { None };
        Ok(DomainPosition { id: DomainId::from_uuid(row.try_get::<Uuid>("", "id")?), name })
    })
    .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_three_letters_or_digits_in_a_row_is_sought_by_trigrams() {
        assert!(has_trigram("shop") && has_trigram("a.bcd") && has_trigram("123"));
        assert!(!has_trigram("a.b") && !has_trigram("ab-cd") && !has_trigram("..."));
    }
}
