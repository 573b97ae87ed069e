use super::*;

/// Reads, and writes down what was understood: the mission between bars, then the options.
fn check(command: &str, raw: &str) -> String {
    match parse(Name::find(command).unwrap(), raw) {
        Ok(asked) => {
            let options = asked.options.iter().map(|(name, value)| match value {
                Some(value) => format!(" {name}={value}"),
                None => format!(" {name}"),
            });
            format!("|{}|{}", asked.mission.unwrap_or_default(), options.collect::<String>())
        }
        Err(error) => format!("{error} ({})", error.hint),
    }
}

fn table(command: &str, rows: &[(&str, &str)]) {
    for (raw, expected) in rows {
        assert_eq!(check(command, raw), *expected, "/{command} {raw}");
    }
}

#[test]
fn names_and_aliases_are_found() {
    for (name, meant) in Name::ALL {
        for spelled in
            [name.to_owned(), format!("/{name}"), format!("kapell:{name}"), format!("/kapell:{name}")]
        {
            assert_eq!(Name::find(&spelled), Some(meant), "{spelled}");
        }
    }
    for other in ["", "/", "orchestrate2", "other:orchestrate", "meta orchestrator"] {
        assert_eq!(Name::find(other), None, "{other}");
    }
}

#[test]
fn every_example_of_the_meta_orchestrator_is_read() {
    table(
        "meta-orchestrator",
        &[
            (
                "\"Design next-generation architecture\" --complexity=high --coordination=hybrid",
                "|Design next-generation architecture| complexity=high coordination=hybrid",
            ),
            (
                "\"Optimize performance across stack\" --resources=specialized --timeline=weeks",
                "|Optimize performance across stack| resources=specialized timeline=weeks",
            ),
            (
                "\"Investigate emerging technologies\" --coordination=peer-to-peer --complexity=extreme",
                "|Investigate emerging technologies| coordination=peer-to-peer complexity=extreme",
            ),
            (
                "\"Resolve security incident\" --complexity=medium --coordination=hierarchical --timeline=hours --resources=specialized",
                "|Resolve security incident| complexity=medium coordination=hierarchical timeline=hours resources=specialized",
            ),
        ],
    );
}

#[test]
fn missions_are_prose() {
    table(
        "meta-orchestrator",
        &[
            ("Design it", "|Design it|"),
            ("  Design   it \n", "|Design   it|"),
            (
                "\"Design it's $(rm -rf ~) and `x`\" --complexity=high",
                "|Design it's $(rm -rf ~) and `x`| complexity=high",
            ),
            ("Don't touch the users' data", "|Don't touch the users' data|"),
            ("'tis the season, isn't it", "|'tis the season, isn't it|"),
            ("'Design it' --timeline days", "|Design it| timeline=days"),
            ("“Design it” --timeline=days", "|Design it| timeline=days"),
            ("\"a \\\"b\\\" \\\\ \\d\"", "|a \"b\" \\ \\d|"),
            ("make a 5\" screen fit", "|make a 5\" screen fit|"),
            ("\"quoted\" and more", "|\"quoted\" and more|"),
            ("--complexity=low before", "|before| complexity=low"),
            ("before --complexity=low after", "|before after| complexity=low"),
            ("one\n- two\n- three --complexity low", "|one\n- two\n- three| complexity=low"),
            ("a - b -- c --d", "|a - b c --d|"),
            ("-- --complexity=high is prose", "|--complexity=high is prose|"),
            ("\"--complexity=high\"", "|--complexity=high|"),
            ("naïve übung 漢字 --complexity=low", "|naïve übung 漢字| complexity=low"),
        ],
    );
}

#[test]
fn values_come_with_or_without_an_equals_sign() {
    table(
        "meta-orchestrator",
        &[
            ("x --complexity high", "|x| complexity=high"),
            ("x --complexity=\"high\"", "|x| complexity=high"),
            ("x --complexity 'high'", "|x| complexity=high"),
            ("x --agents=3 --budget \"5usd, 2h\"", "|x| agents=3 budget=5usd, 2h"),
        ],
    );
}

#[test]
fn what_is_not_understood_is_said() {
    table(
        "meta-orchestrator",
        &[
            ("", "there is no mission (give a workflow file, or the mission in quotes)"),
            ("\"\" --complexity=low", "there is no mission (give a workflow file, or the mission in quotes)"),
            ("x --complexity=hgih", "`hgih` is no value of `--complexity` (did you mean `high`?)"),
            ("x --complexity=High", "`High` is no value of `--complexity` (did you mean `high`?)"),
            ("x --complexity", "`--complexity` needs a value (--complexity=low|medium|high|extreme)"),
            (
                "x --complexity --agents=2",
                "`--complexity` needs a value (--complexity=low|medium|high|extreme)",
            ),
            ("x --complexty=low", "there is no option `--complexty` (did you mean `--complexity`?)"),
            ("x --complexity=low --complexity=low", "`--complexity` is given twice (give it once)"),
            ("x --agents=11", "`11` is no number of agents (a whole number from 1 to 10)"),
            ("x --budget=", "`--budget` needs a value (--budget=5usd,2M,2h)"),
            ("\"x", "the quote \" is not closed (put a \" at the end of the mission)"),
        ],
    );
    assert!(check("meta-orchestrator", "x --zzz").ends_with("stands in quotes)"));
}

#[test]
fn improving_takes_its_options_and_perhaps_a_text() {
    table(
        "improve-orchestration",
        &[
            ("", "||"),
            ("--scope=claude-code --depth=quick", "|| scope=claude-code depth=quick"),
            (
                "--scope github --focus state --output report --dry-run",
                "|| scope=github focus=state output=report dry-run",
            ),
            ("--implement", "|| implement"),
            ("--validate-only", "|| validate-only"),
            (
                "--implement --dry-run",
                "`--implement` and `--dry-run` exclude each other (--implement, or --dry-run)",
            ),
            ("--implement=yes", "`--implement` takes no value (--implement)"),
            (
                "--focus=speed",
                "`speed` is no value of `--focus` (performance, resilience, conflicts, state, all)",
            ),
            (
                "\n\nFocus: AI Orchestrator\n\nGoals:\n- Eliminate race conditions",
                "|Focus: AI Orchestrator\n\nGoals:\n- Eliminate race conditions|",
            ),
        ],
    );
}

#[test]
fn an_objective_may_have_a_confidence_and_a_number_of_agents() {
    for command in ["command-orchestration-workflow", "orchestrate", "coordinate"] {
        table(
            command,
            &[
                ("\"Add user profile image upload\"", "|Add user profile image upload|"),
                ("\"Add upload\" 0.85", "|Add upload| confidence=0.85"),
                ("\"Add upload\" 0.85 6", "|Add upload| confidence=0.85 agents=6"),
                ("\"Add upload\" 85% 6", "|Add upload| confidence=0.85 agents=6"),
                ("\"Add upload\" 1 10", "|Add upload| confidence=1 agents=10"),
                ("\"Add upload\" 1.5", "`1.5` is no confidence (a number from 0 to 1, or 85%)"),
                ("\"Add upload\" 0.5 11", "`11` is no number of agents (a whole number from 1 to 10)"),
                ("\"Add upload\" 0.5 --confidence=0.6", "the confidence is given twice (give it once)"),
                ("Add upload 0.85 6", "|Add upload| confidence=0.85 agents=6"),
                ("Add upload .9", "|Add upload| confidence=0.9"),
                ("Reduce the latency to 5", "|Reduce the latency to 5|"),
                ("Reduce the latency by 0.5 7 times", "|Reduce the latency by 0.5 7 times|"),
                ("Reach a score of 0.9 --agents=2", "|Reach a score of 0.9| agents=2"),
                ("0.9", "|0.9|"),
                ("kapell/first.yaml 0.7 3", "|kapell/first.yaml| confidence=0.7 agents=3"),
            ],
        );
    }
}

#[test]
fn complex_missions_may_name_a_pattern() {
    table(
        "orchestrate-complex",
        &[
            (
                "Create a service with:\n- OAuth2 (Google, GitHub)\n- 90%+ test coverage",
                "|Create a service with:\n- OAuth2 (Google, GitHub)\n- 90%+ test coverage|",
            ),
            ("\"Migrate\" --pattern=blackboard", "|Migrate| pattern=blackboard"),
            ("Migrate --pattern event-sourcing", "|Migrate| pattern=event-sourcing"),
            ("Migrate 0.9 5", "|Migrate 0.9 5|"),
        ],
    );
}

#[test]
fn no_text_makes_it_panic() {
    let pieces =
        ["\"", "'", "“", "”", "\\", "--", "=", " ", "\n", "a", "ü", "--scope", "--complexity", "0.5", "%"];
    for first in pieces {
        for second in pieces {
            for third in pieces {
                for (_, name) in Name::ALL {
                    let _ = parse(name, &format!("{first}{second}{third}{first}"));
                    let _ = parse(name, &format!("{first} {second}{third}"));
                }
            }
        }
    }
}
