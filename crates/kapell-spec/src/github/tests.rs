//! What is read of workflows and actions.

use super::*;

fn read(text: &str) -> (Workflow, Vec<Finding>) {
    workflow(&Source::new("ci.yml", text))
}

const SMALL: &str = "\
name: CI
on:
  push: { branches: [main, 'release/*'], paths-ignore: ['**.md'] }
  workflow_dispatch:
    inputs:
      level: { type: choice, options: [low, high], default: low }
  schedule:
    - cron: '0 0 * * *'
env: { A: '${{ github.sha }}' }
jobs:
  build:
    runs-on: &runner ubuntu-latest
    strategy:
      matrix:
        os: [linux, mac]
        py: [3.10, '3.11']
        include: [{ os: linux, extra: yes }, { os: windows, py: 3 }]
        exclude: [{ os: mac, py: '3.11' }]
    outputs:
      v: ${{ steps.v.outputs.v }}
    steps:
      - uses: Actions/Checkout@v4
        with: { fetch-depth: 0 }
      - id: v
        if: always() && github.event_name == 'push'
        run: |
          echo \"v=${{ matrix.os }}\" >> $GITHUB_OUTPUT
          echo ${{ needs.none.result }}
  call:
    needs: build
    if: ${{ needs.build.outputs.v }}
    uses: $/.github/workflows/other.yml
  last:
    needs: [build, call]
    runs-on: *runner
    steps: [{ run: echo }]
";

#[test]
fn a_workflow_is_read_with_places() {
    let (workflow, findings) = read(SMALL);
    assert!(findings.is_empty(), "{findings:?}");
    let push = workflow.event("push").unwrap();
    let branches = push.filter("branches").unwrap();
    assert_eq!(branches.items.iter().map(|item| &*item.text).collect::<Vec<_>>(), ["main", "release/*"]);
    assert_eq!(&SMALL[branches.items[1].span.range()], "'release/*'");
    assert_eq!(workflow.event("workflow_dispatch").unwrap().inputs[0].options.len(), 2);
    assert_eq!(workflow.event("schedule").unwrap().crons.len(), 1);
    let build = workflow.job("BUILD").unwrap();
    assert!(build.steps[0].is("actions/checkout") && !build.steps[0].is("actions/checkout/x"));
    assert_eq!(build.steps[0].input("FETCH-depth").map(|text| &*text.text), Some("0"));
    assert!(build.steps[1].condition.as_ref().unwrap().asks_status());
    let spans: Vec<&str> = build.expressions.iter().map(|found| &SMALL[found.span(SMALL).range()]).collect();
    assert_eq!(
        spans,
        [
            "${{ steps.v.outputs.v }}",
            "always() && github.event_name == 'push'",
            "${{ matrix.os }}",
            "${{ needs.none.result }}"
        ]
    );
    let call = workflow.job("call").unwrap();
    assert_eq!(call.called(), Some(&Uses::Local(".github/workflows/other.yml".into())));
    assert_eq!(&*call.condition.as_ref().unwrap().text, "needs.build.outputs.v");
    let last = workflow.job("last").unwrap();
    assert!(last.runs_on[0].aliased && &*last.runs_on[0].text == "ubuntu-latest");
    assert!(!last.steps[0].keys.open && build.keys.open);
    assert_eq!(workflow.expressions.len(), 1);
}

#[test]
fn cells_of_a_matrix_are_those_of_github() {
    let (workflow, _) = read(SMALL);
    let matrix = workflow.job("build").unwrap().matrix.clone().unwrap();
    let show = |cell: &Vec<(&str, &kapell_core::expr::Value)>| {
        let parts = cell.iter().map(|(name, value)| format!("{name}={}", value.text().unwrap_or_default()));
        parts.collect::<Vec<_>>().join(" ")
    };
    let cells: Vec<String> = matrix.cells().unwrap().iter().map(show).collect();
    assert_eq!(
        cells,
        ["os=linux py=3.1 extra=yes", "os=linux py=3.11 extra=yes", "os=mac py=3.1", "os=windows py=3"]
    );
}

#[test]
fn what_is_broken_is_noted_and_the_rest_is_read() {
    let (workflow, findings) = read(
        "on: push\nnew-key: 1\njobs:\n  a:\n    needs: {x: 1}\n    steps:\n      - run: ${{ 1 + }}\n      - text\n      - run: ok\n",
    );
    assert_eq!(workflow.jobs[0].steps.len(), 3);
    assert!(findings.iter().all(|finding| !finding.is_error()));
    assert_eq!(findings.len(), 4, "{findings:?}");
    for text in ["", "- a\n", "jobs: []\n", "on: [push\n", "jobs:\n  a: 1\n"] {
        let _ = read(text);
    }
}

#[test]
fn a_condition_with_text_around_is_mixed() {
    let condition = |text: &str| {
        let (workflow, _) = read(&format!("jobs:\n  a:\n    if: {text}\n"));
        let found = workflow.jobs[0].condition.clone().unwrap();
        (found.mixed, found.expr.is_some())
    };
    assert_eq!(condition("${{ a }} && b"), (true, false));
    assert_eq!(condition("${{ a }}${{ b }}"), (true, false));
    assert_eq!(condition("${{ a && b }}"), (false, true));
    assert_eq!(condition("a && b"), (false, true));
    assert_eq!(condition("|\n      ${{ a }}\n"), (true, false));
    assert_eq!(condition("|\n      a &&\n      b\n"), (false, true));
    assert_eq!(condition(">-\n      ${{ a\n      && b }}\n"), (false, true));
}

#[test]
fn an_action_is_read() {
    let (action, findings) = action(&Source::new(
        "action.yml",
        "name: x\ninputs:\n  a: { required: true }\noutputs:\n  o: { value: '${{ steps.s.outputs.o }}' }\nruns:\n  using: composite\n  steps:\n    - id: s\n      run: echo\n      shell: bash\n",
    ));
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!((action.inputs.len(), action.outputs.len(), action.steps.len()), (1, 1, 1));
    assert!(action.inputs[0].required);
}
