use kapell_core::time::{Millis, Wall};
use kapell_view::{
    audit::{
        AUDIT_VIEW_VERSION, AntiPattern, Asset, AssetKind, AuditView, Confidence, Edge, EdgeKind, Edit,
        Finding, Fix, FixClass, Foreign, Inventory, Pattern, PatternKind, Place, RULES_VIEW_VERSION, Related,
        RuleView, RulesView, Scope, Severity, Strength,
    },
    forecast::Forecast,
    inbox::InboxView,
    logs::LogReader,
    schema::schemas,
    status::StatusView,
    summary::{ListView, RunSummary},
};
use serde_json::{Value, json, to_value};

use crate::world::{START, World, plan, view};

/// An audit with something in every field.
pub(crate) fn audit() -> AuditView {
    let place = Place {
        path: ".github/workflows/ci.yml".to_owned(),
        line: 3,
        column: 5,
        end_line: 3,
        end_column: 9,
        start: 20,
        end: 24,
    };
    let asset = Asset {
        id: 0,
        kind: AssetKind::Job,
        name: "test".to_owned(),
        scope: Scope::Workflow(place.path.clone()),
        place: place.clone(),
        hash: "00".repeat(32),
        events: vec!["push (branches: main)".to_owned()],
    };
    let edge = Edge {
        from: 0,
        to: None,
        beside: true,
        name: "lint".to_owned(),
        kind: EdgeKind::Awaits,
        strength: Strength::Certain,
        place: place.clone(),
        data: Some("artifact dist".to_owned()),
    };
    let related = Related { place: place.clone(), text: "awaited here".to_owned() };
    let fix = Fix {
        title: "drop it".to_owned(),
        class: FixClass::Safe,
        edits: vec![Edit { place: place.clone(), text: String::new() }],
    };
    let finding = Finding {
        rule: "needs-without-data".to_owned(),
        severity: Severity::Medium,
        confidence: Confidence::High,
        message: "`test` awaits `lint` for nothing".to_owned(),
        place: place.clone(),
        related: vec![related.clone()],
        hint: Some("let them run side by side".to_owned()),
        fix: Some(fix),
        saving_seconds: Some(40),
        spared_seconds: None,
        saving_recorded: true,
        explained: None,
        fingerprint: "0123456789abcdef".to_owned(),
    };
    let foreign = Foreign {
        tool: "zizmor".to_owned(),
        rule: "artipacked".to_owned(),
        severity: Severity::Medium,
        message: "credential persistence".to_owned(),
        place: related.place.clone(),
        same_as: Some(finding.fingerprint.clone()),
    };
    AuditView {
        version: AUDIT_VIEW_VERSION,
        inventory: Inventory { assets: vec![asset], edges: vec![edge] },
        findings: vec![finding],
        suppressed: 1,
        unread: vec![related],
        imported: vec![foreign],
        patterns: vec![Pattern {
            kind: PatternKind::Choreography,
            place,
            text: "`ci.yml` starts after `build`.".to_owned(),
        }],
        anti_patterns: vec![AntiPattern {
            name: "tight coupling".to_owned(),
            count: 1,
            worst: Severity::Low,
            rules: vec!["matrix-extract".to_owned()],
        }],
        patch: "--- a/ci.yml\n+++ b/ci.yml\n".to_owned(),
    }
}

/// A rule as programs get it.
fn rule() -> RuleView {
    RuleView {
        version: RULES_VIEW_VERSION,
        name: "no-timeout".to_owned(),
        summary: "a job that may hang".to_owned(),
        family: "safety".to_owned(),
        focus: "resilience".to_owned(),
        severity: Severity::Low,
        confidence: Confidence::High,
        depth: "standard".to_owned(),
        page: Some("# no-timeout".to_owned()),
    }
}

fn samples() -> Vec<(&'static str, Value)> {
    let world = World::to_the_end();
    let early = World::standard();
    let mut waiting = World::standard();
    waiting.gives(1, None, &[]).gives(0, None, &[]).gives(2, None, &[]);
    let forecast = Some(Forecast::new(Millis(1), Millis(2), 3, u64::MAX));
    let summary = RunSummary::of(&world.run, world.now());
    let list = ListView::new([
        (world.run.id(), Wall(START), false, Some(summary.clone())),
        (world.run.id(), Wall(START), true, None),
    ]);
    let mut samples = vec![
        ("plan", to_value(view(&plan())).unwrap()),
        ("status", to_value(StatusView::new(&world.run, world.now(), false, None)).unwrap()),
        ("status", to_value(StatusView::new(&early.run, early.now(), true, forecast)).unwrap()),
        ("runs", to_value(list).unwrap()),
        ("inbox", to_value(InboxView::new([(&waiting.run, true)])).unwrap()),
        ("summary", to_value(summary).unwrap()),
        ("report", to_value(world.report()).unwrap()),
        ("report", to_value(early.report()).unwrap()),
        ("audit", to_value(audit()).unwrap()),
        ("inventory", to_value(audit().inventory).unwrap()),
        ("rule", to_value(rule()).unwrap()),
        (
            "rules",
            to_value(RulesView {
                version: RULES_VIEW_VERSION,
                rules: vec![RuleView { page: None, ..rule() }],
            })
            .unwrap(),
        ),
    ];
    let mut reader = LogReader::new();
    for (row, events) in &world.rows {
        samples.extend(reader.entries(row, events).iter().map(|entry| ("log", to_value(entry).unwrap())));
    }
    samples
}

#[test]
fn what_goes_out_is_what_its_schema_says() {
    let schemas = schemas();
    let samples = samples();
    for (name, schema) in &schemas {
        jsonschema::meta::validate(schema).unwrap();
        let validator = jsonschema::validator_for(schema).unwrap();
        let mut any = false;
        for (_, sample) in samples.iter().filter(|(of, _)| of == name) {
            any = true;
            if let Err(error) = validator.validate(sample) {
                panic!("{name}: {error}\n{sample:#}");
            }
        }
        assert!(any, "no sample of {name}");
        assert!(!validator.is_valid(&json!({})), "the schema of {name} says nothing");
        assert!(schema["description"].is_string(), "{name} is not described");
    }
}
