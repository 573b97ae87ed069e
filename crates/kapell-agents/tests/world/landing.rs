//! Many branches at once, some of them bad: everything good lands, in few runs of the checks.

use kapell_core::{event::Event, landing::Blame, mission::Mission, plan::Definition};
use kapell_engine::host::Rest;

use crate::rig::{Rig, plan, run_id, script};

const BRANCHES: u32 = 30;
const BAD: [u32; 3] = [4, 13, 22];
/// Fail only together; whichever comes later gives way when it is tried again.
const PAIR: [u32; 2] = [9, 17];

/// Every branch adds a file of its own, so that nothing conflicts.
fn branch(number: u32) -> Definition {
    let (own, other) = (format!("f/{number}"), PAIR.iter().find(|other| **other != number).unwrap());
    let text = match number {
        number if BAD.contains(&number) => format!("echo bad > {own}"),
        number if PAIR.contains(&number) => {
            format!("if test -e f/{other}; then echo mild > {own}; else echo half > {own}; fi")
        }
        _ => format!("echo good > {own}"),
    };
    script(&format!("mkdir -p f; {text}"))
}

#[test]
fn thirty_branches_some_bad_and_a_flaky_check() {
    let mut rig = Rig::new(&[("a", "1\n")]);
    let names: Vec<_> = (0..BRANCHES).map(|number| format!("b{number}")).collect();
    let tasks: Vec<_> =
        names.iter().zip(0..).map(|(name, number)| (name.as_str(), branch(number), [].as_slice())).collect();
    let accept = [
        "echo ran >> $OUT/runs",
        "! grep -qs bad f/*",
        "test $(cat f/* 2>/dev/null | grep -c half) -lt 2",
        // Fails once, on the first tree that is good.
        "test -e $OUT/flaked || { touch $OUT/flaked; exit 1; }",
    ];
    let mission = Mission { accept: accept.map(str::to_owned).to_vec(), ..rig.mission() };
    assert_eq!(rig.run(mission, plan(&tasks)), Rest::Over);

    for number in 0..BRANCHES {
        let state = rig.state(number);
        match BAD.contains(&number) {
            true => assert_eq!(state, "Failed { class: Verification }", "{number}"),
            false => assert!(state.starts_with("Landed"), "{number}: {state}: {}", rig.why(number)),
        }
    }
    let head = rig.head();
    for number in (0..BRANCHES).filter(|number| !BAD.contains(number)) {
        assert!(rig.file(head, &format!("f/{number}")).is_some(), "{number}");
    }
    assert_eq!(rig.world.own_repo().run_head(run_id()).unwrap(), Some(head));

    let events = rig.seen.0.lock().unwrap().clone();
    let blamed: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::SentBack { task, blame } => Some((task.0, blame.clone())),
            _ => None,
        })
        .collect();
    for (task, blame) in &blamed {
        match blame {
            Blame::Alone => assert!(BAD.contains(task), "{blamed:?}"),
            Blame::With(other) => assert!(PAIR.contains(task) && PAIR.contains(&other.0), "{blamed:?}"),
            Blame::Conflict(_) => panic!("{blamed:?}"),
        }
    }
    // Each culprit once, and one of the pair.
    assert_eq!(blamed.len(), BAD.len() + 1, "{blamed:?}");

    let probes = events.iter().filter(|event| matches!(event, Event::ProbeAsked { .. })).count();
    let batches =
        events.iter().filter(|event| matches!(event, Event::ProbeAsked { probe } if !probe.repeat)).count();
    let runs = rig.out("runs").len();
    let flaky = rig.host.run(run_id()).unwrap().landing().unwrap().flaky();
    println!("{runs} runs of the checks, {probes} probes ({batches} not repeated), {flaky} flaky");
    assert_eq!(flaky, 1);
    // A verdict is used again where the tree is the same, never made twice.
    assert!(runs <= probes, "{runs} runs for {probes} probes");
    // ceil(log2 30) + 1 for each culprit and the flaky one, as many again for the partner, the origin once, and a batch
    // before and after each.
    let search = 5 + 1;
    let bound = (BAD.len() + 1 + 1) * search + search + 1 + (BAD.len() + 1 + 1) + 2;
    assert!(runs <= bound, "{runs} > {bound}");
}
