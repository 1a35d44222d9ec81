//! Parts of rules that stay bytes until somebody asks for them.
//!
//! Of thousands of rules a run needs the conditions of those that can see its events, and the texts of the few that
//! match. Taking the others apart would cost more than everything else that a short run does.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::cache::CacheError;
use crate::cache::codec::{Stored, read_section};
use crate::cache::container::Container;

/// What a cache holds, as long as a part of a rule is needed from it.
pub(crate) struct Blob {
    parts: Container,
    /// A part could not be taken apart.
    damaged: AtomicBool,
}

impl Blob {
    pub(super) fn new(parts: Container) -> Self {
        Self { parts, damaged: AtomicBool::new(false) }
    }
}

/// A part of a rule. It is used like a `&T`; one that came from a cache is taken apart when it is first used.
///
/// A part that is damaged is an empty one, and its rule
/// [says so](crate::Rule::is_damaged).
pub struct Deferred<T> {
    value: OnceLock<Box<T>>,
    kept: Option<Kept<T>>,
}

/// Where a part lies, and how it is taken apart.
struct Kept<T> {
    blob: Arc<Blob>,
    part: u32,
    load: fn(&[u8]) -> Result<T, CacheError>,
    empty: fn() -> T,
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self { blob: Arc::clone(&self.blob), part: self.part, load: self.load, empty: self.empty }
    }
}

impl<T> Kept<T> {
    fn read(&self) -> Result<T, CacheError> {
        (self.load)(&self.blob.parts.part(self.part)?)
    }
}

impl<T> Deferred<T> {
    /// The part of this number; `empty` makes what stands for a damaged one.
    pub(super) fn kept(blob: &Arc<Blob>, part: u32, empty: fn() -> T) -> Self
    where
        T: Stored,
    {
        let kept = Kept { blob: Arc::clone(blob), part, load: read_section::<T>, empty };
        Self { value: OnceLock::new(), kept: Some(kept) }
    }

    /// Whether it is what the cache says, and nobody could change it since.
    pub(crate) fn is_as_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// The digest of the bytes that the cache keeps of it, as long as nobody could change it.
    pub(crate) fn digest(&self) -> Option<u64> {
        self.kept.as_ref().and_then(|kept| kept.blob.parts.digest(kept.part))
    }

    /// Takes it apart if it is not yet, and says what is wrong.
    pub(super) fn check(&self) -> Result<(), CacheError> {
        match &self.kept {
            Some(kept) if self.value.get().is_none() => {
                let value = kept.read()?;
                let _ = self.value.set(Box::new(value));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether a part of the cache that it came from turned out to be damaged.
    pub(crate) fn is_damaged(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.blob.damaged.load(Ordering::Relaxed))
    }
}

impl<T> Deref for Deferred<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.get_or_init(|| match &self.kept {
            Some(kept) => Box::new(kept.read().unwrap_or_else(|_| {
                kept.blob.damaged.store(true, Ordering::Relaxed);
                (kept.empty)()
            })),
            // Made with a value, and nothing takes it away.
            None => unreachable!("a part without a value"),
        })
    }
}

impl<T> DerefMut for Deferred<T> {
    fn deref_mut(&mut self) -> &mut T {
        let _: &T = self;
        self.kept = None;
        match self.value.get_mut() {
            Some(value) => value,
            None => unreachable!("a part without a value"),
        }
    }
}

impl<T> From<T> for Deferred<T> {
    fn from(value: T) -> Self {
        Self { value: OnceLock::from(Box::new(value)), kept: None }
    }
}

impl<T: Clone> Clone for Deferred<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), kept: self.kept.clone() }
    }
}

impl<T: fmt::Debug> fmt::Debug for Deferred<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}
