//! The tree of organisations: nation, region, trust, practice, supplier. Who is above whom decides what a scope covers.

mod store;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use store::{
    above, accountable, ancestors, by_ods, codes, edit, find, insert, is_within, new_id, organisation,
    reparent, root_of, within,
};

/// What kind of organisation it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrganisationKind {
    /// A country's health service.
    Nation,
    /// A region of it.
    Region,
    /// An NHS trust or foundation trust.
    Trust,
    /// A general practice.
    GpPractice,
    /// A pharmacy, or a company that runs pharmacies.
    Pharmacy,
    /// Who supplies the others.
    Supplier,
    /// Anything else, or not said yet.
    Other,
}

impl OrganisationKind {
    /// All kinds, the widest first.
    pub const ALL: [Self; 7] = [
        Self::Nation,
        Self::Region,
        Self::Trust,
        Self::GpPractice,
        Self::Pharmacy,
        Self::Supplier,
        Self::Other,
    ];

    /// Its word as stored: `nation`, `region`, `trust`, `gp_practice`, `pharmacy`, `supplier`, `other`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nation => "nation",
            Self::Region => "region",
            Self::Trust => "trust",
            Self::GpPractice => "gp_practice",
            Self::Pharmacy => "pharmacy",
            Self::Supplier => "supplier",
            Self::Other => "other",
        }
    }

    /// Its words for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Nation => "Nation",
            Self::Region => "Region",
            Self::Trust => "Trust",
            Self::GpPractice => "GP practice",
            Self::Pharmacy => "Pharmacy",
            Self::Supplier => "Supplier",
            Self::Other => "Other",
        }
    }

    /// Reads [`OrganisationKind::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What is known of an organisation beside its place in the tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Its name.
    pub name: String,
    /// What kind it is.
    pub kind: OrganisationKind,
    /// Its code of the Organisation Data Service, if it has one.
    pub ods: Option<String>,
    /// Where it is; empty if not known.
    pub town: String,
    /// Its postcode; empty if not known.
    pub postcode: String,
}

/// One organisation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct Organisation {
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
    /// Its postcode; empty if not known.
    pub postcode: String,
    /// The organisation above it; absent for the root of this hub.
    pub parent: Option<String>,
}

/// Organisations below each other at most, the root included.
pub const DEEPEST: i64 = 8;
/// Characters of an organisation's name, town or postcode at most.
pub const LONGEST_NAME: usize = 200;

/// Why the tree was not changed.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// There is no such organisation within the scope.
    #[error("there is no organisation `{0}` within yours")]
    NoOrganisation(String),
    /// A fact cannot be kept.
    #[error("{0}")]
    Fact(String),
    /// Another organisation has the code.
    #[error("another organisation of this hub has the ODS code {0} already")]
    OdsTaken(String),
    /// It would lie below itself.
    #[error("an organisation cannot lie below itself")]
    Loop,
    /// Too many levels.
    #[error("the tree would be deeper than {DEEPEST} levels")]
    TooDeep,
    /// The root of a scope stays where it is.
    #[error("the organisation at the top of what you may see cannot be moved by you")]
    Top,
    /// The store.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}

impl Facts {
    /// The facts as they are kept: trimmed, the code in capitals; or what is wrong with them.
    pub fn fit(self) -> Result<Self, TreeError> {
        let line = |what: &str, text: &str, needed: bool| {
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            match text.chars().count() {
                0 if needed => Err(TreeError::Fact(format!("the {what} is missing"))),
                n if n > LONGEST_NAME => Err(TreeError::Fact(format!(
                    "the {what} has {n} characters and at most {LONGEST_NAME} are kept"
                ))),
                _ if text.chars().any(char::is_control) => {
                    Err(TreeError::Fact(format!("the {what} has a control character in it")))
                }
                _ => Ok(text),
            }
        };
        let ods = self.ods.map(|ods| ods.trim().to_ascii_uppercase()).filter(|ods| !ods.is_empty());
        if let Some(ods) = ods.as_deref().filter(|ods| !is_ods(ods)) {
            let short: String = ods.chars().filter(|c| !c.is_control()).take(20).collect();
            return Err(TreeError::Fact(format!("`{short}` is no ODS code: 2 to 12 letters and digits")));
        }
        Ok(Self {
            name: line("name", &self.name, true)?,
            kind: self.kind,
            ods,
            town: line("town", &self.town, false)?,
            postcode: line("postcode", &self.postcode, false)?,
        })
    }
}

/// Whether a text may be a code of the Organisation Data Service.
pub fn is_ods(text: &str) -> bool {
    (2..=12).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

impl From<TreeError> for crate::ApiError {
    fn from(error: TreeError) -> Self {
        let detail = error.to_string();
        match error {
            TreeError::NoOrganisation(id) => Self::not_found("organisation", &id),
            TreeError::Fact(_) => Self::invalid(detail, "change it and send it again; nothing was changed"),
            TreeError::OdsTaken(_) => {
                Self::conflict(detail, "look for that organisation in the list; each code names one")
            }
            TreeError::Loop | TreeError::TooDeep | TreeError::Top => {
                Self::conflict(detail, "choose another organisation to put it under")
            }
            TreeError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_made_fit_or_refused_with_words() {
        let facts = |name: &str, ods: Option<&str>| Facts {
            name: name.into(),
            kind: OrganisationKind::Trust,
            ods: ods.map(str::to_owned),
            town: "  Leeds ".into(),
            postcode: String::new(),
        };
        let fit = facts("  St  Aldhelm's\tTrust ", Some(" rcf ")).fit().unwrap();
        assert_eq!(fit.name, "St Aldhelm's Trust");
        assert_eq!((fit.ods.as_deref(), fit.town.as_str()), (Some("RCF"), "Leeds"));
        assert_eq!(facts("x", Some(" ")).fit().unwrap().ods, None);
        for (name, ods, said) in [
            (" ", None, "the name is missing"),
            (&*"ä".repeat(201), None, "201 characters"),
            ("a\u{1b}b", None, "control character"),
            ("x", Some("R C"), "no ODS code"),
            ("x", Some("RCF';--"), "no ODS code"),
        ] {
            let text = facts(name, ods).fit().unwrap_err().to_string();
            assert!(text.contains(said), "{text}");
        }
    }

    #[test]
    fn kinds_survive_their_words() {
        for kind in OrganisationKind::ALL {
            assert_eq!(OrganisationKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(OrganisationKind::parse("Trust"), None);
    }
}
