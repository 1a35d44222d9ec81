//! How far an order reaches: the blast radius, counted in one place. The limits are in `policies/orders.cedar`.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::device::DeviceClass;

/// For how long what one person contained counts, in milliseconds.
pub const WINDOW_MS: i64 = 60 * 60 * 1000;

/// Whether no other device of its type would be left at its site.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LastOfType {
    /// Others are left, or nothing depends on it that is known.
    #[default]
    No,
    /// Patients depend on it, and its type or site is not known.
    Unknown,
    /// It is the last.
    Yes,
}

impl LastOfType {
    /// `no`, `unknown` or `yes`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Unknown => "unknown",
            Self::Yes => "yes",
        }
    }

    /// Reads [`LastOfType::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::No, Self::Unknown, Self::Yes].into_iter().find(|one| one.as_str() == text)
    }
}

/// How far an order reaches, as seen from one device that it is for. All zero: it contains nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Reach {
    /// Devices that the person has contained within [`WINDOW_MS`] without a second one, with this order.
    pub devices: u32,
    /// Per cent of its ward's devices that would be contained at once, rounded up; 0 if it would be the only one.
    pub of_ward: u32,
    /// The same of its site.
    pub of_site: u32,
    /// The same of its organisation.
    pub of_organisation: u32,
    /// The same of the organisation's devices of its type; of its class if its type is not known.
    pub of_type: u32,
    /// Whether no other of its type would be left at its site.
    pub last_of_type: LastOfType,
}

/// What is known of a device that matters here. Empty: not known.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Whereabouts {
    /// The hospital, the practice, the building.
    pub site: String,
    /// The ward or department.
    pub ward: String,
    /// What it is: "CT scanner", "ward PC".
    pub device_type: String,
    /// What kind of device, as far as safety cares.
    pub class: DeviceClass,
}

/// Devices of one organisation that share their whereabouts, counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cell {
    /// What they share.
    pub at: Whereabouts,
    /// How many there are.
    pub devices: u32,
    /// Of these, contained or ordered to be.
    pub contained: u32,
    /// Of these, of use: heard, and not contained.
    pub standing: u32,
}

/// A device that is to be contained.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// What is known of it.
    pub at: Whereabouts,
    /// True if it is contained already, or ordered to be.
    pub contained: bool,
    /// True if it is of use now.
    pub standing: bool,
}

/// What is counted together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Group<'a> {
    Ward(&'a str, &'a str),
    Site(&'a str),
    Organisation,
    Type(&'a str),
    Class(DeviceClass),
    TypeAtSite(&'a str, &'a str),
}

/// The group of its type in its organisation.
fn type_group(at: &Whereabouts) -> Group<'_> {
    if at.device_type.is_empty() { Group::Class(at.class) } else { Group::Type(&at.device_type) }
}

/// Every group to which a device belongs. What is not known makes no group: devices without a ward are no ward.
fn groups(at: &Whereabouts) -> Vec<Group<'_>> {
    let mut groups = vec![Group::Organisation, type_group(at)];
    if !at.site.is_empty() {
        groups.push(Group::Site(&at.site));
        if !at.device_type.is_empty() {
            groups.push(Group::TypeAtSite(&at.device_type, &at.site));
        }
    }
    if !at.ward.is_empty() {
        groups.push(Group::Ward(&at.site, &at.ward));
    }
    groups
}

#[derive(Clone, Copy, Default)]
struct Count {
    devices: u64,
    contained: u64,
    standing: u64,
}

/// Per cent, rounded up. One device alone is no share of anything.
fn share(count: Count) -> u32 {
    if count.contained <= 1 || count.devices == 0 {
        return 0;
    }
    u32::try_from((count.contained * 100).div_ceil(count.devices)).unwrap_or(u32::MAX)
}

/// Measures an order that contains these devices of one organisation, for each of them. `cells` are all devices of that
/// organisation as they are without the order; `by_person` is how many devices the person will have contained alone within
/// the window, with this order.
pub fn measure(cells: &[Cell], targets: &[Target], by_person: u32) -> Vec<Reach> {
    let mut counts: HashMap<Group<'_>, Count> = HashMap::new();
    for cell in cells {
        for group in groups(&cell.at) {
            let count = counts.entry(group).or_default();
            count.devices += u64::from(cell.devices);
            count.contained += u64::from(cell.contained);
            count.standing += u64::from(cell.standing);
        }
    }
    for target in targets {
        for group in groups(&target.at) {
            let count = counts.entry(group).or_default();
            count.contained += u64::from(!target.contained);
            count.standing = count.standing.saturating_sub(u64::from(target.standing));
        }
    }
    let of = |group: Group<'_>| counts.get(&group).copied().unwrap_or_default();
    let known = |name: &str, group: Group<'_>| if name.is_empty() { 0 } else { share(of(group)) };
    targets
        .iter()
        .map(|Target { at, .. }| Reach {
            devices: by_person,
            of_ward: known(&at.ward, Group::Ward(&at.site, &at.ward)),
            of_site: known(&at.site, Group::Site(&at.site)),
            of_organisation: share(of(Group::Organisation)),
            of_type: share(of(type_group(at))),
            last_of_type: if at.site.is_empty() || at.device_type.is_empty() {
                if at.class == DeviceClass::Clinical { LastOfType::Unknown } else { LastOfType::No }
            } else if of(Group::TypeAtSite(&at.device_type, &at.site)).standing == 0 {
                LastOfType::Yes
            } else {
                LastOfType::No
            },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(site: &str, ward: &str, device_type: &str, class: DeviceClass) -> Whereabouts {
        Whereabouts { site: site.into(), ward: ward.into(), device_type: device_type.into(), class }
    }

    fn cell(at: Whereabouts, devices: u32, contained: u32, standing: u32) -> Cell {
        Cell { at, devices, contained, standing }
    }

    fn fresh(at: Whereabouts) -> Target {
        Target { at, contained: false, standing: true }
    }

    #[test]
    fn shares_are_counted_with_the_order_and_one_device_is_none() {
        let ward = at("north", "7", "ward PC", DeviceClass::Workstation);
        let cells = [
            cell(ward.clone(), 10, 1, 9),
            cell(at("north", "8", "ward PC", DeviceClass::Workstation), 10, 0, 10),
            cell(at("south", "7", "", DeviceClass::Server), 20, 0, 20),
        ];
        let reach = measure(&cells, &[fresh(ward.clone()), fresh(ward)], 2)[0];
        // Three of ten in the ward, of twenty at the site and of the type, of forty in all.
        assert_eq!((reach.of_ward, reach.of_site, reach.of_type, reach.of_organisation), (30, 15, 15, 8));
        let alone = measure(&cells, &[fresh(at("south", "7", "", DeviceClass::Server))], 1)[0];
        assert_eq!((alone.of_ward, alone.of_site, alone.of_type, alone.of_organisation), (0, 0, 0, 5));
    }

    #[test]
    fn the_last_of_a_type_is_known_or_known_to_be_unknown() {
        let ct = at("north", "imaging", "CT scanner", DeviceClass::Clinical);
        let other = at("south", "imaging", "CT scanner", DeviceClass::Clinical);
        let last = |cells: &[Cell], targets: &[Target]| measure(cells, targets, 1)[0].last_of_type;
        let two = [cell(ct.clone(), 2, 0, 2), cell(other.clone(), 1, 0, 1)];
        assert_eq!(last(&two, &[fresh(ct.clone())]), LastOfType::No);
        assert_eq!(last(&two, &[fresh(ct.clone()), fresh(ct.clone())]), LastOfType::Yes, "both at once");
        assert_eq!(last(&two, &[fresh(other)]), LastOfType::Yes);
        // The other one is contained, or has not been heard: it is of no use.
        assert_eq!(last(&[cell(ct.clone(), 2, 0, 1)], &[fresh(ct)]), LastOfType::Yes);
        for (class, expected) in
            [(DeviceClass::Clinical, LastOfType::Unknown), (DeviceClass::Workstation, LastOfType::No)]
        {
            for (site, device_type) in [("", "CT scanner"), ("north", "")] {
                let target = at(site, "", device_type, class);
                assert_eq!(last(&[cell(target.clone(), 9, 0, 9)], &[fresh(target)]), expected);
            }
        }
    }

    proptest! {
        /// One cell for many devices says the same as one for each, in any order.
        #[test]
        fn how_devices_are_counted_together_changes_nothing(
            places in prop::collection::vec((0u8..3, 0u8..3, 0u8..3, any::<bool>()), 1..30),
            chosen in prop::collection::vec(any::<prop::sample::Index>(), 1..5),
        ) {
            let at = |(site, ward, kind, _): &(u8, u8, u8, bool)| at(
                ["", "north", "south"][*site as usize], ["", "7", "8"][*ward as usize],
                ["", "CT scanner", "ward PC"][*kind as usize], DeviceClass::Clinical,
            );
            let single = |place| cell(at(place), 1, u32::from(place.3), u32::from(!place.3));
            let singles: Vec<Cell> = places.iter().map(single).collect();
            let mut together: Vec<Cell> = Vec::new();
            for one in &singles {
                match together.iter_mut().find(|cell| cell.at == one.at) {
                    Some(cell) => {
                        cell.devices += one.devices;
                        cell.contained += one.contained;
                        cell.standing += one.standing;
                    }
                    None => together.insert(0, one.clone()),
                }
            }
            let mut chosen: Vec<usize> = chosen.iter().map(|i| i.index(places.len())).collect();
            chosen.sort_unstable();
            chosen.dedup();
            let targets: Vec<Target> = chosen.iter().map(|i| Target {
                at: at(&places[*i]), contained: places[*i].3, standing: !places[*i].3,
            }).collect();
            let measured = measure(&singles, &targets, 1);
            prop_assert_eq!(&measured, &measure(&together, &targets, 1));
            for reach in measured {
                for share in [reach.of_ward, reach.of_site, reach.of_organisation, reach.of_type] {
                    prop_assert!(share <= 100);
                }
            }
        }
    }
}
