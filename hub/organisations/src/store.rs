//! Lists of organisations.

use serde::{Deserialize, Serialize};
use sqlx::Row;
use utoipa::ToSchema;
use wardline_kernel::db::{DbRow, Pool, Sql};
use wardline_kernel::tree::OrganisationKind;
use wardline_kernel::{Scope, StoreError};

/// In which order organisations are listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// By name.
    #[default]
    Name,
    /// By ODS code; those without one are left out.
    Ods,
}

/// The place of an organisation in a list, to go on from. As text: `ID-KEY`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    id: String,
    key: String,
}

impl Place {
    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, key) = text.split_once('-')?;
        let plain = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
        plain.then(|| Self { id: id.to_owned(), key: key.to_owned() })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.id, self.key)
    }
}

/// Which organisations to list. Empty: all, by name.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Query {
    /// Only those whose name begins with this, in any case, or that have this code.
    pub text: Option<String>,
    /// Only of this kind.
    pub kind: Option<OrganisationKind>,
    /// Only those directly below this one.
    pub parent: Option<String>,
    /// The order.
    pub order: Order,
    /// Only those after this one.
    pub after: Option<Place>,
    /// At most this many, 1 to 500.
    pub limit: u32,
}

/// An organisation in a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct Listed {
    /// 32 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What kind it is.
    pub kind: OrganisationKind,
    /// Its code of the Organisation Data Service, if it has one.
    pub ods: Option<String>,
    /// Where it is; empty if not known.
    pub town: String,
    /// The organisation directly above it, if that may be seen.
    pub parent: Option<String>,
    /// That organisation's name.
    pub parent_name: Option<String>,
    /// How many organisations are below it, at any depth.
    pub below: i64,
    /// How many devices it has itself.
    pub devices: i64,
}

/// A page of organisations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Page {
    /// The organisations.
    pub organisations: Vec<Listed>,
    /// Send as `after` for the next page; absent on the last.
    pub next: Option<String>,
}

fn listed(row: &DbRow) -> Result<Listed, StoreError> {
    let kind: String = row.get("kind");
    Ok(Listed {
        id: row.get("id"),
        name: row.get("name"),
        kind: OrganisationKind::parse(&kind).ok_or(StoreError::Corrupt { what: "kind of organisation" })?,
        ods: row.get("ods"),
        town: row.get("town"),
        parent: row.get("parent"),
        parent_name: row.get("parent_name"),
        below: row.get("below"),
        devices: row.get("devices"),
    })
}

/// Organisations within a scope, page by page.
pub async fn list(pool: &Pool, scope: &Scope, query: &Query) -> Result<Page, StoreError> {
    let limit = query.limit.clamp(1, 500);
    // The counts are taken of the rows that are shown, not of all.
    let mut sql = Sql::new(
        "SELECT o.id, o.name, o.sort_name, o.kind, o.ods, o.town, up.id AS parent, up.name AS parent_name, \
         (SELECT CAST(COUNT(*) AS BIGINT) - 1 FROM organisation_below c WHERE c.above = o.id) AS below, \
         (SELECT CAST(COUNT(*) AS BIGINT) FROM view_device_state d WHERE d.organisation = o.id) AS devices \
         FROM organisation o LEFT JOIN organisation up ON up.id = o.parent AND o.id <> ",
    );
    sql.push_bind(scope.id());
    sql.push(" WHERE EXISTS (SELECT 1 FROM organisation_below b WHERE b.above = ").push_bind(scope.id());
    sql.push(" AND b.below = o.id)");
    if let Some(text) = &query.text {
        let (name, code) = (text.to_lowercase(), text.to_uppercase());
        sql.push(" AND ((o.sort_name >= ").push_bind(name.clone());
        sql.push(" AND o.sort_name < ").push_bind(format!("{name}\u{10ffff}"));
        sql.push(") OR o.ods = ").push_bind(code).push(")");
    }
    if let Some(kind) = query.kind {
        sql.push(" AND o.kind = ").push_bind(kind.as_str());
    }
    if let Some(parent) = &query.parent {
        sql.push(" AND o.parent = ").push_bind(parent.as_str());
    }
    let column = match query.order {
        Order::Name => "o.sort_name",
        Order::Ods => "o.ods",
    };
    if query.order == Order::Ods {
        sql.push(" AND o.ods IS NOT NULL");
    }
    if let Some(place) = &query.after {
        sql.push(" AND (").push(column).push(", o.id) > (").push_bind(place.key.as_str());
        sql.push(", ").push_bind(place.id.as_str()).push(")");
    }
    sql.push(" ORDER BY ").push(column).push(", o.id LIMIT ").push_bind(i64::from(limit) + 1);
    let mut rows = sql.build().fetch_all(pool.within(scope)).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let place = |row: &DbRow| Place {
        id: row.get("id"),
        key: match query.order {
            Order::Name => row.get("sort_name"),
            Order::Ods => row.get("ods"),
        },
    };
    let next = rows.last().filter(|_| more).map(|row| place(row).to_string());
    Ok(Page { organisations: rows.iter().map(listed).collect::<Result<_, _>>()?, next })
}

/// How many organisations there are within a scope, by kind.
pub(crate) async fn counts(pool: &Pool, scope: &Scope) -> Result<Vec<(OrganisationKind, i64)>, StoreError> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT o.kind, CAST(COUNT(*) AS BIGINT) FROM organisation_below b JOIN organisation o ON o.id = b.below \
         WHERE b.above = $1 GROUP BY o.kind",
    )
    .bind(scope.id())
    .fetch_all(pool.within(scope))
    .await?;
    let known =
        |kind| rows.iter().find(|(word, _)| OrganisationKind::parse(word) == Some(kind)).map_or(0, |r| r.1);
    Ok(OrganisationKind::ALL.into_iter().map(|kind| (kind, known(kind))).collect())
}
