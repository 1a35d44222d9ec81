//! What an executable is: the digests of its bytes, and whose package it came with.

use std::borrow::Cow;
use std::fmt::Write;

use crate::fields::Value;
use crate::hex::hex;

/// Something that is found out after the event, if at all.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Known<T> {
    /// Nobody was asked: the sensor does not find it out, or the record is of an older version.
    #[default]
    Unasked,
    /// It is being found out.
    Awaited,
    /// It is this.
    Is(T),
    /// It is not known, and this is why.
    Not(Cow<'static, str>),
}

impl<T> Known<T> {
    /// What it is, if that is known.
    pub fn get(&self) -> Option<&T> {
        match self {
            Self::Is(value) => Some(value),
            _ => None,
        }
    }

    /// Why it is not known, if somebody tried.
    pub fn why_not(&self) -> Option<&str> {
        match self {
            Self::Not(why) => Some(why),
            _ => None,
        }
    }

    /// Whether it is still being found out.
    pub fn is_awaited(&self) -> bool {
        matches!(self, Self::Awaited)
    }
}

/// Digests of a file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    /// SHA-256.
    pub sha256: [u8; 32],
    /// MD5: what package databases and many lists of indicators still have.
    pub md5: [u8; 16],
}

impl Digests {
    /// As Sysmon writes them, and so rules compare them.
    pub fn sysmon(&self) -> String {
        format!("MD5={},SHA256={}", hex(&self.md5).to_uppercase(), hex(&self.sha256).to_uppercase())
    }
}

/// Whose a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// No package that is installed has a file of that name.
    Nobody,
    /// The file of a package.
    Package {
        /// The package's name.
        name: String,
        /// Its version.
        version: String,
        /// Whether the file is as the package gave it; `None` if the package does not say how it was.
        intact: Option<bool>,
    },
}

/// What is known of an executable.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Identity {
    /// Its bytes.
    pub digests: Known<Digests>,
    /// How many they are, if that is known.
    pub size: Option<u64>,
    /// Whose it is.
    pub owner: Known<Owner>,
}

/// The field names that an identity answers to.
pub(crate) const IDENTITY_FIELDS: &[&str] =
    &["Hashes", "sha256", "md5", "Package", "PackageVersion", "PackageState"];

impl Identity {
    /// An identity that is being found out.
    pub fn awaited() -> Self {
        Self { digests: Known::Awaited, size: None, owner: Known::Awaited }
    }

    /// An identity of which nothing will be known.
    pub fn unknown(why: impl Into<Cow<'static, str>>) -> Self {
        let why = why.into();
        Self { digests: Known::Not(why.clone()), size: None, owner: Known::Not(why) }
    }

    /// Whether a part of it is still being found out.
    pub fn is_awaited(&self) -> bool {
        self.digests.is_awaited() || self.owner.is_awaited()
    }

    /// What was not found out in time never will be.
    pub fn give_up(&mut self, why: &'static str) {
        if self.digests.is_awaited() {
            self.digests = Known::Not(why.into());
        }
        if self.owner.is_awaited() {
            self.owner = Known::Not(why.into());
        }
    }

    pub(crate) fn field(&self, name: &str) -> Option<Value<'_>> {
        let package = || match self.owner.get()? {
            Owner::Package { name, version, intact } => Some((name, version, intact)),
            Owner::Nobody => None,
        };
        match name {
            "Hashes" => self.digests.get().map(|d| Value::from(d.sysmon())),
            "sha256" => self.digests.get().map(|d| Value::from(hex(&d.sha256))),
            "md5" => self.digests.get().map(|d| Value::from(hex(&d.md5))),
            "Package" => package().map(|(name, ..)| Value::str(name)),
            "PackageVersion" => package().map(|(_, version, _)| Value::str(version)),
            "PackageState" => Some(Value::str(match &self.owner {
                Known::Unasked => return None,
                Known::Awaited | Known::Not(_) => "unknown",
                Known::Is(Owner::Nobody) => "none",
                Known::Is(Owner::Package { intact: Some(true), .. }) => "intact",
                Known::Is(Owner::Package { intact: Some(false), .. }) => "changed",
                Known::Is(Owner::Package { intact: None, .. }) => "unchecked",
            })),
            _ => None,
        }
    }

    /// In a few words, for people: `coreutils 9.1-1, as the package gave it`.
    pub fn words(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = match &self.owner {
            Known::Is(Owner::Package { name, version, intact }) => {
                let state = match intact {
                    Some(true) => "as the package gave it",
                    Some(false) => "changed since the package gave it",
                    None => "the package does not say how it was",
                };
                write!(text, "{name} {version}, {state}")
            }
            Known::Is(Owner::Nobody) => write!(text, "of no package"),
            Known::Not(why) => write!(text, "package not known: {why}"),
            Known::Awaited | Known::Unasked => Ok(()),
        };
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_answers_to_names_that_rules_use() {
        let owner = |intact| {
            let (name, version) = ("coreutils".to_owned(), "9.1-1".to_owned());
            Known::Is(Owner::Package { name, version, intact })
        };
        let digests = Known::Is(Digests { sha256: [0xab; 32], md5: [0xcd; 16] });
        let mut identity = Identity { digests, size: Some(7), owner: owner(Some(false)) };
        let field = |identity: &Identity, name: &str| {
            identity.field(name).and_then(|v| v.as_text().map(Cow::into_owned))
        };
        let hashes = format!("MD5={},SHA256={}", "CD".repeat(16), "AB".repeat(32));
        let said: Vec<_> = IDENTITY_FIELDS.iter().map(|name| field(&identity, name).unwrap()).collect();
        assert_eq!(
            said,
            [&hashes, &"ab".repeat(32), &"cd".repeat(16), "coreutils", "9.1-1", "changed"].map(str::to_owned)
        );
        for (owner, state) in [
            (owner(Some(true)), Some("intact")),
            (owner(None), Some("unchecked")),
            (Known::Is(Owner::Nobody), Some("none")),
            (Known::Not("why".into()), Some("unknown")),
            (Known::Unasked, None),
        ] {
            identity.owner = owner;
            assert_eq!(field(&identity, "PackageState").as_deref(), state);
        }
        let mut late = Identity::awaited();
        assert!(late.is_awaited() && field(&late, "Hashes").is_none());
        late.give_up("too late");
        assert_eq!(late, Identity::unknown("too late"));
    }
}
