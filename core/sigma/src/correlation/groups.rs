//! The groups of one correlation, oldest first.

use std::collections::HashMap;
use std::sync::Arc;

use crate::correlation::capture::Values;
use crate::correlation::evidence::Origin;
use crate::correlation::window::Window;

/// One group and its window.
#[derive(Debug)]
pub(crate) struct Group {
    pub key: Arc<[u8]>,
    pub window: Window,
    /// When the window began (for conditions that are looked at when it is over) or when the last event came.
    pub time: i64,
    /// When the group was last reported.
    pub reported: Option<i64>,
    /// Values of its last event that correlations over this one ask for.
    pub carried: Values,
    /// Its last event and its time, for conditions that are looked at when the window is over.
    pub last: Option<(i64, Origin)>,
    /// What it counted for in [`Groups::bytes`].
    bytes: usize,
    older: Option<u32>,
    newer: Option<u32>,
}

/// The groups of one correlation in the order of [`Group::time`].
#[derive(Debug, Default)]
pub(crate) struct Groups {
    by_key: HashMap<Arc<[u8]>, u32>,
    slots: Vec<Option<Group>>,
    free: Vec<u32>,
    oldest: Option<u32>,
    newest: Option<u32>,
    bytes: usize,
}

/// Bytes that a group takes beside its key and window, about: its slot, its place in the map, two counters.
const OVERHEAD: usize = size_of::<Group>() + 64;

impl Groups {
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Bytes that all groups take, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn find(&self, key: &[u8]) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    pub fn get(&mut self, slot: u32) -> Option<&mut Group> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// The group whose time is earliest.
    pub fn oldest(&self) -> Option<(u32, &Group)> {
        let slot = self.oldest?;
        Some((slot, self.slots[slot as usize].as_ref()?))
    }

    /// Adds a group as the newest one.
    pub fn add(&mut self, key: &[u8], window: Window, time: i64) -> u32 {
        let key: Arc<[u8]> = key.into();
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.by_key.insert(Arc::clone(&key), slot);
        let group = Group {
            key,
            window,
            time,
            reported: None,
            carried: Values::default(),
            last: None,
            bytes: 0,
            older: None,
            newer: None,
        };
        self.slots[slot as usize] = Some(group);
        self.append(slot);
        slot
    }

    /// Makes a group the newest one.
    pub fn touch(&mut self, slot: u32, time: i64) {
        if self.newest != Some(slot) {
            self.unlink(slot);
            self.append(slot);
        }
        if let Some(group) = self.get(slot) {
            group.time = time;
        }
    }

    /// Counts anew what a group takes.
    pub fn weigh(&mut self, slot: u32) {
        let Some(Some(group)) = self.slots.get_mut(slot as usize) else { return };
        let carried: usize = group.carried.iter().map(|(_, value)| 32 + value.bytes()).sum();
        let bytes = OVERHEAD + group.key.len() + group.window.bytes() + carried;
        self.bytes = self.bytes + bytes - group.bytes;
        group.bytes = bytes;
    }

    pub fn remove(&mut self, slot: u32) -> Option<Group> {
        self.unlink(slot);
        let group = self.slots.get_mut(slot as usize)?.take()?;
        self.by_key.remove(&group.key);
        self.bytes -= group.bytes;
        self.free.push(slot);
        // A burst of groups must not hold on to its memory for ever.
        if self.by_key.is_empty() {
            *self = Self::default();
        } else if self.by_key.capacity() > 1024 && self.by_key.len() * 8 < self.by_key.capacity() {
            self.by_key.shrink_to(self.by_key.len() * 2);
        }
        Some(group)
    }

    fn append(&mut self, slot: u32) {
        let before = self.newest.replace(slot);
        if let Some(group) = self.get(slot) {
            (group.older, group.newer) = (before, None);
        }
        match before {
            Some(before) => {
                if let Some(group) = self.get(before) {
                    group.newer = Some(slot);
                }
            }
            None => self.oldest = Some(slot),
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Some(group) = self.get(slot) else { return };
        let (older, newer) = (group.older.take(), group.newer.take());
        match older {
            Some(older) => {
                if let Some(group) = self.get(older) {
                    group.newer = newer;
                }
            }
            None => self.oldest = newer,
        }
        match newer {
            Some(newer) => {
                if let Some(group) = self.get(newer) {
                    group.older = older;
                }
            }
            None => self.newest = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlation::plan::Plan;
    use crate::correlation::tests::correlation;
    use proptest::prelude::*;

    proptest! {
        /// Against a plain list: order, lookup and accounting stay right whatever is added, touched and removed.
        #[test]
        fn keeps_groups_in_order(steps in prop::collection::vec((0_u8..3, 0_u8..12), 0..200)) {
            let plan = Plan::new(&correlation("type: event_count\nrules: a\ntimespan: 1m\ncondition: {gte: 2}"));
            let (mut groups, mut list) = (Groups::default(), Vec::new());
            for (time, (what, key)) in (0_i64..).zip(steps) {
                let slot = groups.find(&[key]);
                prop_assert_eq!(slot.is_some(), list.contains(&key));
                match (what, slot) {
                    (0 | 1, None) => {
                        let slot = groups.add(&[key], Window::new(&plan), time);
                        groups.weigh(slot);
                        list.push(key);
                    }
                    (0 | 1, Some(slot)) => {
                        groups.touch(slot, time);
                        list.retain(|k| *k != key);
                        list.push(key);
                    }
                    (_, slot) => {
                        let removed = slot.and_then(|slot| groups.remove(slot));
                        prop_assert_eq!(removed.is_some(), list.contains(&key));
                        list.retain(|k| *k != key);
                    }
                }
                prop_assert_eq!(groups.oldest().map(|(_, g)| g.key[0]), list.first().copied());
                prop_assert_eq!(groups.len(), list.len());
                prop_assert_eq!(groups.bytes(), list.len() * (OVERHEAD + 1));
            }
            let mut rest = Vec::new();
            while let Some((slot, _)) = groups.oldest() {
                rest.extend(groups.remove(slot).map(|g| g.key[0]));
            }
            prop_assert_eq!(rest, list);
        }
    }
}
