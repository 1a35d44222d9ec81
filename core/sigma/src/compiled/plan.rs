//! How the events of one layout are read: which of their positions are fields of the class.
//!
//! Records of one kind share their layout, so names are looked up once for each kind of record. What a layout does not
//! have is known to be missing before any event comes.

use std::sync::Arc;

use wardline_event::Layout;

use crate::compiled::class::Class;

/// Stands for "the layout does not have it".
pub(crate) const ABSENT: u32 = u32::MAX;

/// What is known of a field of an event.
pub(crate) mod state {
    /// It was read, or is known to be missing.
    pub const READ: u8 = 1;
    /// The event has it.
    pub const HAS: u8 = 2;
    /// It is missing, null, or a list with a null in it.
    pub const NULL: u8 = 4;
    /// It is one text, which lies folded in the buffer.
    pub const FOLDED: u8 = 8;
    /// It was searched for literals.
    pub const SEARCHED: u8 = 16;
}

/// How events are read.
#[derive(Debug)]
pub(crate) struct Plan {
    pub class: Arc<Class>,
    /// For each field of the class its position, or [`ABSENT`]; `None` if events are asked by name.
    pub positions: Option<Box<[u32]>>,
    /// What is read of every event.
    pub reads: Box<[Read]>,
    /// What is known of the fields before an event is read.
    pub states: Box<[u8]>,
    /// The rules that are looked at for every event: without a witness, or with a missing field for one.
    pub always: Box<[u32]>,
    /// The number of the class's first index.
    indices: u32,
}

/// One thing that is read of every event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read {
    /// The position in the layout; 0 if events are asked by name.
    pub position: u32,
    /// The field of the class.
    pub field: u32,
}

impl Plan {
    /// How many numbers the indices of a class need, under which the memo keeps what they find.
    pub fn indices_of(class: &Class) -> u32 {
        class.fields.len() as u32 * 2 + 1
    }

    /// The number of the index of a field.
    pub fn whole(&self, field: u32) -> u32 {
        self.indices + 1 + field * 2
    }

    /// The number of the same index for the items of a list: what probes come to is not known of them.
    pub fn items(&self, field: u32) -> u32 {
        self.indices + 2 + field * 2
    }

    /// The number of the index of keywords alone.
    pub fn keywords(&self) -> u32 {
        self.indices
    }

    /// For events that are asked by name. The class's indices have numbers from `indices` on.
    pub fn by_name(class: Arc<Class>, indices: u32) -> Self {
        let eager = class.fields.iter().zip(0..).filter(|(field, _)| field.eager);
        let reads = eager.map(|(_, field)| Read { position: 0, field }).collect();
        let states = vec![0; class.fields.len()].into();
        let always = class.always.as_slice().into();
        Self { class, positions: None, reads, states, always, indices }
    }

    /// For events of one layout.
    pub fn of_layout(class: Arc<Class>, indices: u32, layout: &Layout) -> Self {
        let mut positions = vec![ABSENT; class.fields.len()];
        let mut reads = Vec::new();
        for (name, position) in layout.names().iter().zip(0..) {
            let Some(field) = class.field_ids.get(name).copied() else { continue };
            positions[field as usize] = position;
            if class.fields[field as usize].eager {
                reads.push(Read { position, field });
            }
        }
        let mut states = vec![0; class.fields.len()];
        let mut always = class.always.clone();
        for (id, field) in class.fields.iter().enumerate() {
            if positions[id] == ABSENT {
                states[id] = state::READ | state::NULL;
                always.extend_from_slice(class.witnessed(field.null));
            }
        }
        always.sort_unstable();
        always.dedup();
        let (positions, states, always) = (Some(positions.into()), states.into(), always.into());
        Self { class, positions, reads: reads.into(), states, always, indices }
    }
}
