use proptest::prelude::*;

use super::*;
use crate::reach::{Cell, LastOfType, Target, Whereabouts, measure};

const ISOLATE: Order = Order::Isolate { for_s: 3600 };
const LOGONS: Order = Order::Contain { rung: Rung::Logons, for_s: 3600 };

fn party(name: &str, role: Role) -> Party {
    Party { name: name.into(), role, from_above: false }
}

fn warrant(approvals: &[Party]) -> Warrant {
    Warrant {
        organisation: "o1".into(),
        requester: party("ann", Role::Responder),
        basis: Basis::Role,
        approvals: approvals.to_vec(),
        reach: Reach { devices: 1, ..Reach::default() },
    }
}

fn needs(order: &Order, class: DeviceClass, warrant: &Warrant) -> Vec<Agreement> {
    match judge(order, class, warrant) {
        Verdict::Go => Vec::new(),
        Verdict::Needs(needs) => needs.into_iter().map(|need| need.of).collect(),
        Verdict::Refused(no) => panic!("refused: {no}"),
    }
}

#[test]
fn one_person_contains_a_workstation_and_two_what_others_depend_on() {
    use Agreement::SecondPerson;
    use DeviceClass::{Clinical, Server, Workstation};
    let none: &[Agreement] = &[];
    for (order, class, expected) in [
        (&ISOLATE, Workstation, none),
        (&Order::KillProcess, Workstation, none),
        (&LOGONS, Workstation, &[SecondPerson]),
        (&ISOLATE, Server, &[SecondPerson]),
        (&Order::KillProcess, Server, none),
        (&ISOLATE, Clinical, &[SecondPerson]),
        (&Order::KillProcess, Clinical, &[SecondPerson]),
        (&Order::Quarantine, Clinical, &[SecondPerson]),
        (&Order::Release, Clinical, none),
        (&Order::Lift { rung: Rung::Logons }, Clinical, none),
        (&Order::Restore, Clinical, none),
    ] {
        assert_eq!(needs(order, class, &warrant(&[])), expected, "{order:?} {class:?}");
        let agreed = warrant(&[party("lee", Role::TrustLead)]);
        assert_eq!(needs(order, class, &agreed), none, "{order:?} {class:?}");
    }
}

#[test]
fn nobody_is_their_own_second_person_and_not_every_role_is_one() {
    for agreed in [party("ann", Role::TrustLead), party("lee", Role::Responder), party("lee", Role::Analyst)]
    {
        let open = needs(&ISOLATE, DeviceClass::Clinical, &warrant(std::slice::from_ref(&agreed)));
        assert_eq!(open, [Agreement::SecondPerson], "{agreed:?}");
    }
    let mut analyst = warrant(&[party("lee", Role::TrustLead)]);
    analyst.requester.role = Role::Analyst;
    let Verdict::Refused(no) = judge(&ISOLATE, DeviceClass::Workstation, &analyst) else { panic!() };
    assert_eq!(no.because, "the policies do not permit you, as analyst, to order");
    // Whoever takes orders back may undo them, and order nothing else.
    analyst.requester.role = Role::ClinicalEngineer;
    assert_eq!(judge(&Order::Release, DeviceClass::Clinical, &analyst), Verdict::Go);
    assert!(matches!(judge(&ISOLATE, DeviceClass::Clinical, &analyst), Verdict::Refused(_)));
}

#[test]
fn the_last_of_its_type_needs_a_clinician_whatever_glass_is_broken() {
    let mut last = warrant(&[party("lee", Role::TrustLead)]);
    last.reach.last_of_type = LastOfType::Yes;
    assert_eq!(needs(&ISOLATE, DeviceClass::Workstation, &last), [Agreement::Clinician]);
    last.requester.role = Role::OnCallManager;
    last.basis = Basis::BreakGlass;
    assert_eq!(needs(&ISOLATE, DeviceClass::Clinical, &last), [Agreement::Clinician]);
    last.reach.last_of_type = LastOfType::Unknown;
    assert_eq!(judge(&ISOLATE, DeviceClass::Clinical, &last), Verdict::Go);
    last.basis = Basis::Role;
    assert_eq!(needs(&ISOLATE, DeviceClass::Clinical, &last), [Agreement::Clinician]);
    last.approvals.push(party("kim", Role::ClinicalEngineer));
    assert_eq!(judge(&ISOLATE, DeviceClass::Clinical, &last), Verdict::Go);
}

#[test]
fn from_above_one_proposes_unless_there_is_consent() {
    let mut centre = warrant(&[]);
    centre.requester.from_above = true;
    assert_eq!(needs(&ISOLATE, DeviceClass::Workstation, &centre), [Agreement::OwnPerson]);
    assert_eq!(needs(&Order::Release, DeviceClass::Workstation, &centre), [Agreement::OwnPerson]);
    let above = Party { from_above: true, ..party("lee", Role::TrustLead) };
    centre.approvals = vec![above];
    assert_eq!(needs(&ISOLATE, DeviceClass::Workstation, &centre), [Agreement::OwnPerson]);
    centre.approvals.push(party("kim", Role::TrustLead));
    assert_eq!(judge(&ISOLATE, DeviceClass::Workstation, &centre), Verdict::Go);
    centre.approvals.clear();
    centre.basis = Basis::Consent;
    assert_eq!(judge(&ISOLATE, DeviceClass::Workstation, &centre), Verdict::Go);
    // Consent replaces the own organisation, not the second person.
    assert_eq!(needs(&ISOLATE, DeviceClass::Clinical, &centre), [Agreement::SecondPerson]);
}

#[test]
fn the_glass_is_broken_by_named_roles_and_has_a_limit_of_its_own() {
    let mut glass = warrant(&[]);
    glass.basis = Basis::BreakGlass;
    assert!(matches!(judge(&ISOLATE, DeviceClass::Clinical, &glass), Verdict::Refused(_)), "a responder");
    glass.requester = Party { from_above: true, ..party("ann", Role::OnCallManager) };
    assert_eq!(judge(&ISOLATE, DeviceClass::Clinical, &glass), Verdict::Go);
    glass.reach.devices = 26;
    assert_eq!(needs(&ISOLATE, DeviceClass::Workstation, &glass), [Agreement::SecondPerson]);
}

#[test]
fn what_is_missing_is_said_in_words() {
    let mut order = warrant(&[]);
    order.reach.devices = 6;
    let Verdict::Needs(open) = judge(&LOGONS, DeviceClass::Workstation, &order) else { panic!() };
    assert_eq!(
        needs_in_words(&open),
        "needs approval by a second person (nobody could log on any more) and a second person (one person may \
         contain at most 5 devices in an hour alone)"
    );
    let open = [Need { of: Agreement::Clinician, because: "x".into() }];
    assert_eq!(serde_json::to_string(&open).unwrap(), r#"[{"of":"clinician","because":"x"}]"#);
}

#[test]
fn every_policy_says_what_it_needs_and_fits_the_schema() {
    let orders = Authority::parse(ORDERS).unwrap();
    for policy in orders.policies.policies() {
        if policy.effect() == cedar_policy::Effect::Forbid {
            assert!(policy.annotation("because").is_some(), "{policy}");
            assert!(policy.annotation("needs").and_then(Agreement::parse).is_some(), "{policy}");
        }
    }
    let wrong = "forbid (principal, action, resource) when { context.of_world > 3 };";
    assert!(Authority::parse(wrong).is_err());
}

fn any_order() -> impl Strategy<Value = Order> {
    let rung = prop_oneof![Just(Rung::EastWest), Just(Rung::Logons)];
    prop_oneof![
        Just(ISOLATE),
        rung.prop_map(|rung| Order::Contain { rung, for_s: 600 }),
        Just(Order::KillProcess),
        Just(Order::Quarantine),
    ]
}

fn any_class() -> impl Strategy<Value = DeviceClass> {
    prop_oneof![Just(DeviceClass::Workstation), Just(DeviceClass::Server), Just(DeviceClass::Clinical)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// More agreement never makes an order harder, and a wider reach never makes it easier.
    #[test]
    fn agreement_only_helps_and_reach_only_hinders(
        order in any_order(), class in any_class(), devices in 0u32..40, more in 0u32..40, share in 0u32..100,
    ) {
        let mut narrow = warrant(&[]);
        narrow.reach = Reach { devices, of_ward: share, of_site: share / 2, ..Reach::default() };
        let mut wide = narrow.clone();
        wide.reach.devices += more;
        let (few, many) = (needs(&order, class, &narrow), needs(&order, class, &wide));
        prop_assert!(few.iter().all(|need| many.contains(need)));
        wide.approvals = vec![party("lee", Role::TrustLead)];
        prop_assert!(needs(&order, class, &wide).len() <= many.len());
    }

    /// Whatever one person orders in whatever portions: alone they contain at most five devices, and of a group of
    /// devices no more than its share unless it is a single one.
    #[test]
    fn nobody_contains_more_than_the_limits_alone(
        wards in prop::collection::vec(0usize..4, 3..40),
        portions in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 1..8), 1..20),
    ) {
        let at = |ward: usize| Whereabouts {
            site: "north".into(),
            ward: format!("w{ward}"),
            device_type: String::new(),
            class: DeviceClass::Workstation,
        };
        let mut contained = vec![false; wards.len()];
        for portion in portions {
            let mut chosen: Vec<usize> = portion.iter().map(|i| i.index(wards.len())).collect();
            chosen.sort_unstable();
            chosen.dedup();
            let cells: Vec<Cell> = wards.iter().zip(&contained).map(|(ward, contained)| Cell {
                at: at(*ward),
                devices: 1,
                contained: u32::from(*contained),
                standing: u32::from(!contained),
            }).collect();
            let target = |i: &usize| Target { at: at(wards[*i]), contained: contained[*i], standing: !contained[*i] };
            let targets: Vec<Target> = chosen.iter().map(target).collect();
            let mut all: Vec<usize> = (0..wards.len()).filter(|i| contained[*i]).chain(chosen.clone()).collect();
            all.sort_unstable();
            all.dedup();
            let reaches = measure(&cells, &targets, all.len() as u32);
            let mut alone = warrant(&[]);
            for (i, reach) in chosen.iter().zip(reaches) {
                alone.reach = reach;
                if judge(&ISOLATE, DeviceClass::Workstation, &alone) == Verdict::Go {
                    contained[*i] = true;
                }
            }
            let total = contained.iter().filter(|c| **c).count();
            prop_assert!(total <= 5);
            prop_assert!(total <= 1 || total * 10 <= wards.len(), "{total} of {}", wards.len());
            for ward in 0..4 {
                let of = |wanted: bool| wards.iter().zip(&contained).filter(|(w, c)| **w == ward && (**c || !wanted)).count();
                prop_assert!(of(true) <= 1 || of(true) * 4 <= of(false));
            }
        }
    }
}
