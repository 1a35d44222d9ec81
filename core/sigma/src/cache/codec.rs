//! Strings, numbers, lists and shared parts as bytes.
//!
//! A whole number is in groups of seven bits, the lowest first, each but the last with its high bit set (LEB128). A list
//! is its length and its items. What several owners share is stored once: 0 and the thing where it is first met, its
//! number from 1 after that.

use std::any::Any;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::cache::CacheError;

/// How deep conditions, trees of tests and JSON may be nested. A condition has two levels for each that was written
/// (`or`, `and`), and `1 of` adds one.
const DEPTH: u32 = 256;

/// Bytes that are reserved for a list at most before its items are there: its length may be a lie.
const RESERVED: usize = 64 << 10;

/// Collects what is stored.
#[derive(Default)]
pub(crate) struct Writer {
    text: String,
    structure: Vec<u8>,
    /// The addresses of shared things that are stored already, and their numbers.
    shared: HashMap<usize, u64>,
}

/// Takes apart what was stored.
pub(crate) struct Reader<'a> {
    text: &'a str,
    structure: &'a [u8],
    depth: u32,
    shared: Vec<Arc<dyn Any + Send + Sync>>,
}

/// What can be stored.
pub(crate) trait Stored: Sized {
    fn store(&self, out: &mut Writer);
    fn load(from: &mut Reader<'_>) -> Result<Self, CacheError>;
}

/// Appends something with all its texts: the length of the text (4 bytes, little-endian), the text, the structure.
pub(crate) fn write_section(out: &mut Vec<u8>, store: impl FnOnce(&mut Writer)) {
    let mut writer = Writer::default();
    store(&mut writer);
    out.extend_from_slice(&(writer.text.len() as u32).to_le_bytes());
    out.extend_from_slice(writer.text.as_bytes());
    out.extend_from_slice(&writer.structure);
}

/// A section that is one thing, to its last byte.
pub(crate) fn read_section<T: Stored>(section: &[u8]) -> Result<T, CacheError> {
    let mut from = open_section(section)?;
    let out = T::load(&mut from)?;
    if from.is_at_end() { Ok(out) } else { Err(CacheError::Damaged) }
}

pub(crate) fn open_section(section: &[u8]) -> Result<Reader<'_>, CacheError> {
    let (length, rest) = section.split_first_chunk::<4>().ok_or(CacheError::Damaged)?;
    let length = u32::from_le_bytes(*length) as usize;
    let (text, structure) = rest.split_at_checked(length).ok_or(CacheError::Damaged)?;
    let text = std::str::from_utf8(text).map_err(|_| CacheError::Damaged)?;
    Ok(Reader { text, structure, depth: 0, shared: Vec::new() })
}

impl Writer {
    pub fn byte(&mut self, byte: u8) {
        self.structure.push(byte);
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.structure.extend_from_slice(bytes);
    }

    pub fn number(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.structure.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.structure.push(n as u8);
    }

    pub fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.text.push_str(text);
    }
}

impl<'a> Reader<'a> {
    pub fn is_at_end(&self) -> bool {
        self.text.is_empty() && self.structure.is_empty()
    }

    pub fn byte(&mut self) -> Result<u8, CacheError> {
        let (byte, rest) = self.structure.split_first().ok_or(CacheError::Damaged)?;
        self.structure = rest;
        Ok(*byte)
    }

    pub fn bytes<const N: usize>(&mut self) -> Result<[u8; N], CacheError> {
        let (bytes, rest) = self.structure.split_first_chunk::<N>().ok_or(CacheError::Damaged)?;
        self.structure = rest;
        Ok(*bytes)
    }

    pub fn number(&mut self) -> Result<u64, CacheError> {
        let mut out = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            out |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                // A longer spelling of a number would be a second spelling of the same collection.
                return if byte == 0 && shift > 0 { Err(CacheError::Senseless) } else { Ok(out) };
            }
        }
        match self.byte()? {
            1 => Ok(out | 1 << 63),
            _ => Err(CacheError::Senseless),
        }
    }

    pub fn size(&mut self) -> Result<usize, CacheError> {
        usize::try_from(self.number()?).map_err(|_| CacheError::Senseless)
    }

    /// The length of a list, of which every item takes a byte at least.
    pub fn list(&mut self) -> Result<usize, CacheError> {
        let length = self.size()?;
        if length > self.structure.len() { Err(CacheError::Damaged) } else { Ok(length) }
    }

    pub fn text(&mut self) -> Result<&'a str, CacheError> {
        let length = self.size()?;
        let (text, rest) = self.text.split_at_checked(length).ok_or(CacheError::Damaged)?;
        self.text = rest;
        Ok(text)
    }

    /// Reads what lies one level deeper.
    pub fn deeper<T>(
        &mut self,
        load: impl FnOnce(&mut Self) -> Result<T, CacheError>,
    ) -> Result<T, CacheError> {
        if self.depth == DEPTH {
            return Err(CacheError::Limit);
        }
        self.depth += 1;
        let out = load(self)?;
        self.depth -= 1;
        Ok(out)
    }
}

impl Stored for String {
    fn store(&self, out: &mut Writer) {
        out.text(self);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, CacheError> {
        from.text().map(str::to_owned)
    }
}

impl Stored for Cow<'static, str> {
    fn store(&self, out: &mut Writer) {
        out.text(self);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, CacheError> {
        Ok(match from.text()? {
            "" => Cow::Borrowed(""),
            text => Cow::Owned(text.to_owned()),
        })
    }
}

impl Stored for Box<str> {
    fn store(&self, out: &mut Writer) {
        out.text(self);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, CacheError> {
        from.text().map(Self::from)
    }
}

impl Stored for bool {
    fn store(&self, out: &mut Writer) {
        out.byte(u8::from(*self));
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, CacheError> {
        match from.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(CacheError::Senseless),
        }
    }
}

impl Stored for u8 {
    fn store(&self, out: &mut Writer) {
        out.byte(*self);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, CacheError> {
        from.byte()
    }
}

impl Stored for u64 {
    fn store(&self, out: &mut Writer) {
        out.number(*self);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, CacheError> {
        from.number()
    }
}

impl Stored for i64 {
    fn store(&self, out: &mut Writer) {
        out.bytes(&self.to_le_bytes());
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, CacheError> {
        from.bytes().map(Self::from_le_bytes)
    }
}

impl Stored for usize {
    fn store(&self, out: &mut Writer) {
        out.number(*self as u64);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, CacheError> {
        from.size()
    }
}

impl Stored for u32 {
    fn store(&self, out: &mut Writer) {
        out.number(u64::from(*self));
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, CacheError> {
        Self::try_from(from.number()?).map_err(|_| CacheError::Senseless)
    }
}

impl Stored for f64 {
    fn store(&self, out: &mut Writer) {
        out.bytes(&self.to_bits().to_le_bytes());
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, CacheError> {
        let value = Self::from_bits(u64::from_le_bytes(from.bytes()?));
        if value.is_finite() { Ok(value) } else { Err(CacheError::Senseless) }
    }
}

impl<T: Stored> Stored for Option<T> {
    fn store(&self, out: &mut Writer) {
        self.is_some().store(out);
        if let Some(value) = self {
            value.store(out);
        }
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, CacheError> {
        Ok(if bool::load(from)? { Some(T::load(from)?) } else { None })
    }
}

impl<T: Stored> Stored for Box<T> {
    fn store(&self, out: &mut Writer) {
        T::store(self, out);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, CacheError> {
        T::load(from).map(Self::new)
    }
}

impl<A: Stored, B: Stored> Stored for (A, B) {
    fn store(&self, out: &mut Writer) {
        self.0.store(out);
        self.1.store(out);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, CacheError> {
        Ok((A::load(from)?, B::load(from)?))
    }
}

impl<T: Stored> Stored for Vec<T> {
    fn store(&self, out: &mut Writer) {
        self.len().store(out);
        for item in self {
            item.store(out);
        }
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, CacheError> {
        let length = from.list()?;
        let mut out = Self::with_capacity(length.min(RESERVED / size_of::<T>().max(1)));
        for _ in 0..length {
            out.push(T::load(from)?);
        }
        Ok(out)
    }
}

impl<T: Stored> Stored for Box<[T]> {
    fn store(&self, out: &mut Writer) {
        self.len().store(out);
        for item in self {
            item.store(out);
        }
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, CacheError> {
        Vec::load(from).map(Vec::into_boxed_slice)
    }
}

/// In the order of the keys.
impl<K: Stored + Ord, V: Stored> Stored for BTreeMap<K, V> {
    fn store(&self, out: &mut Writer) {
        self.len().store(out);
        for (key, value) in self {
            key.store(out);
            value.store(out);
        }
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, CacheError> {
        Vec::<(K, V)>::load(from).map(Self::from_iter)
    }
}

impl<T: Stored + Ord> Stored for BTreeSet<T> {
    fn store(&self, out: &mut Writer) {
        self.len().store(out);
        for item in self {
            item.store(out);
        }
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, CacheError> {
        Vec::load(from).map(Self::from_iter)
    }
}

impl<T: Stored + Send + Sync + 'static> Stored for Arc<T> {
    fn store(&self, out: &mut Writer) {
        let next = out.shared.len() as u64 + 1;
        match *out.shared.entry(Self::as_ptr(self) as usize).or_insert(next) {
            number if number < next => out.number(number),
            _ => {
                out.byte(0);
                T::store(self, out);
            }
        }
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, CacheError> {
        let number = from.size()?;
        let Some(index) = number.checked_sub(1) else {
            let new = Self::new(T::load(from)?);
            from.shared.push(new.clone());
            return Ok(new);
        };
        let known = from.shared.get(index).ok_or(CacheError::Senseless)?;
        Arc::clone(known).downcast().map_err(|_| CacheError::Senseless)
    }
}

// Both name every field, so that a field that is added is stored too or does not compile.

/// A struct is its fields in this order. After `where`: what must hold of one that was read.
macro_rules! fields {
    ($type:ty { $($field:ident),* $(,)? } $(where $holds:expr)?) => {
        impl $crate::cache::codec::Stored for $type {
            fn store(&self, out: &mut $crate::cache::codec::Writer) {
                let Self { $($field),* } = self;
                $($crate::cache::codec::Stored::store($field, out);)*
            }

            fn load(from: &mut $crate::cache::codec::Reader<'_>) -> Result<Self, $crate::cache::CacheError> {
                let out = Self { $($field: $crate::cache::codec::Stored::load(from)?),* };
                $(
                    let holds: fn(&Self) -> bool = $holds;
                    if !holds(&out) {
                        return Err($crate::cache::CacheError::Senseless);
                    }
                )?
                Ok(out)
            }
        }
    };
}

/// An enum is the number of its variant and then that one's fields.
macro_rules! variants {
    ($type:ty { $($mark:literal $variant:ident $(($($part:ident),*))? $({ $($field:ident),* })?),* $(,)? }) => {
        impl $crate::cache::codec::Stored for $type {
            fn store(&self, out: &mut $crate::cache::codec::Writer) {
                match self {
                    $(Self::$variant $(($($part),*))? $({ $($field),* })? => {
                        out.byte($mark);
                        $($($crate::cache::codec::Stored::store($part, out);)*)?
                        $($($crate::cache::codec::Stored::store($field, out);)*)?
                    })*
                }
            }

            fn load(from: &mut $crate::cache::codec::Reader<'_>) -> Result<Self, $crate::cache::CacheError> {
                from.deeper(|from| Ok(match from.byte()? {
                    $($mark => {
                        $($(let $part = $crate::cache::codec::Stored::load(from)?;)*)?
                        $($(let $field = $crate::cache::codec::Stored::load(from)?;)*)?
                        Self::$variant $(($($part),*))? $({ $($field),* })?
                    })*
                    _ => return Err($crate::cache::CacheError::Senseless),
                }))
            }
        }
    };
}

pub(crate) use {fields, variants};
