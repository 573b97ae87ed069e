//! Budgets that attempts share: with the proxy a wall, without it exceeded by the requests under way at most.

use std::fs;

use kapell_mock::{Mock, Scenario, Turn, Usage};
use serde_json::{Value, json};

use crate::rig::{Ended, Rig};

/// A client that asks its model again and again, in the manner of Claude Code: it says what each reply cost, waits until
/// it is heard, and heeds an interrupt.
const CLIENT: &str = r#"#!/usr/bin/env bash
export LC_ALL=C
while IFS= read -r line; do case $line in *'"user"'*) break ;; esac; done
place=${ANTHROPIC_BASE_URL#http://}; path=/${place#*/}; place=${place%%/*}
body='{"model":"mock-1","max_tokens":64,"messages":[{"role":"user","content":"mock:'$KAPELL_TASK'"}]}'
number() { local rest=${reply#*\"$1\":}; echo "${rest%%[!0-9]*}"; }
result() { echo '{"type":"result","subtype":"success","is_error":'$1',"api_error_status":'$2',"result":"said"}'; exit "$3"; }
echo '{"type":"system","subtype":"init","session_id":"s","model":"mock-1","tools":[]}'
for ((turn = 1; turn <= TURNS; turn++)); do
    exec 3<>"/dev/tcp/${place%:*}/${place#*:}" || exit 1
    printf 'POST %s/v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: %s\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s' \
        "${path%/}" "$ANTHROPIC_API_KEY" "${#body}" "$body" >&3
    reply=$(tr -d '\r' <&3)
    [ "${reply:9:3}" = 200 ] || result true "${reply:9:3}" 1
    echo '{"type":"assistant","message":{"id":"m'$turn'","content":[{"type":"text","text":"so"}],"usage":{"input_tokens":'"$(number input_tokens)"',"output_tokens":'"$(number output_tokens)"'}}}'
    echo '{"type":"control_request","request_id":"t'$turn'","request":{"subtype":"heard"}}'
    while IFS= read -r line; do
        case $line in *'"interrupt"'*) result true null 0 ;; *'"t'$turn'"'*) break ;; esac
    done
done
result false null 0
"#;

/// How many attempts work at the same time.
const AGENTS: u64 = 4;

/// More than a request of the client can cost: its bytes, what providers put around them, and what it lets the model
/// write.
const WORST: u64 = 2_400;

/// A model, a run with tasks that ask it, and what both of them count.
struct Purse {
    rig: Rig,
    mock: Mock,
    tasks: u64,
    settings: String,
}

impl Purse {
    /// Prepares `tasks` that ask `turns` times each, for `cost` tokens a time. With a `key` the proxy is between them.
    fn new(key: &str, tasks: u64, turns: u64, cost: Usage) -> Self {
        let (rig, mock) = (Rig::plain(), Mock::start().unwrap());
        let settings = format!("base_url = \"{}\"\n{key}", mock.url());
        for task in 0..tasks {
            mock.play(&format!("t{task}"), Scenario::of([Turn::Say("so".to_owned())]).costing(cost));
        }
        let purse = Self { rig, mock, tasks, settings };
        purse.asks(turns);
        purse
    }

    /// From now on each task asks so often.
    fn asks(&self, turns: u64) {
        self.rig.install_claude(&CLIENT.replace("TURNS", &turns.to_string()), &self.settings);
    }

    /// Runs it, the first task with `own` tokens for itself, if any.
    fn run(&self, tokens: u64, own: Option<u64>) -> Ended {
        let task = |number: u64| {
            let mut task = json!({"agent": "coder", "prompt": "Ask", "workspace": "none"});
            if let (0, Some(own)) = (number, own) {
                task["budget"] = json!({"tokens": own});
            }
            (format!("t{number}"), task)
        };
        let tasks: serde_json::Map<String, Value> = (0..self.tasks).map(task).collect();
        let budget = json!({"agents": AGENTS, "tokens": tokens});
        let agents = json!({"coder": {"use": "claude-code"}});
        let flow = json!({"mission": "Ask", "budget": budget, "agents": agents, "tasks": tasks});
        fs::write(self.rig.dir().join("ask.yaml"), flow.to_string()).unwrap();
        self.program(&["run", "../ask.yaml"])
    }

    fn program(&self, args: &[&str]) -> Ended {
        let mut command = self.rig.command(args.iter().chain(&["--sandbox", "1", "--no-input"]));
        command.env("THE_KEY", "sk-real-and-never-written-down-2");
        self.rig.ended(command)
    }

    fn events(&self) -> Vec<Value> {
        let logs = self.rig.run(["logs", "--json"]).stdout;
        logs.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Returns what the model says that it was asked for.
    fn asked(&self) -> u64 {
        let usages = self.mock.counts().into_values().map(|count| count.usage);
        usages.map(|usage| usage.input + usage.output + usage.cache_read + usage.cache_write).sum()
    }

    /// Returns what the journal says was spent, and the most that was ever spent and reserved together.
    fn booked(&self) -> (u64, u64) {
        let (mut spent, mut reserved, mut most) = (0, 0, 0);
        let mut held = std::collections::BTreeMap::new();
        for event in self.events() {
            let tokens = |name: &str| event["data"][name]["tokens"].as_u64().unwrap_or(0);
            let task = event["data"]["task"].as_u64();
            match event["event"].as_str().unwrap() {
                "started" => {
                    held.insert(task, tokens("reserved"));
                    reserved += tokens("reserved");
                }
                "completed" | "submitted" | "attempt_failed" => {
                    reserved -= held.remove(&task).unwrap_or(0);
                    spent += tokens("spent");
                }
                _ => {}
            }
            most = most.max(spent + reserved);
        }
        (spent, most)
    }

    /// Returns how many attempts were under way at the same time at most, and what was held for each when it started.
    fn under_way(&self) -> (usize, Vec<u64>) {
        let (mut open, mut most, mut held) = (0, 0, Vec::new());
        for event in self.events() {
            match event["event"].as_str().unwrap() {
                "started" => {
                    open += 1;
                    held.push(event["data"]["held"]["tokens"].as_u64().unwrap_or(0));
                }
                "completed" | "submitted" | "attempt_failed" => open -= 1,
                _ => {}
            }
            most = most.max(open);
        }
        (most, held)
    }

    fn count(&self, name: &str) -> u64 {
        self.events().iter().filter(|event| event["event"] == name).count() as u64
    }
}

fn cost(input: u64, output: u64) -> Usage {
    Usage { input, output, ..Usage::default() }
}

#[test]
fn without_the_proxy_a_budget_is_exceeded_by_the_requests_under_way_at_most() {
    // Nobody gets to an end by itself; and some do, so that others begin.
    for (tasks, turns) in [(6, 50), (9, 3)] {
        let purse = Purse::new("", tasks, turns, cost(80, 20));
        let ended = purse.run(1_150, None);
        assert_eq!(ended.code, Some(4), "{ended}");
        let asked = purse.asked();
        assert!((1_150..=1_150 + AGENTS * 100).contains(&asked), "{asked} tokens: {ended}");
        assert_eq!(purse.booked().0, asked, "{ended}");
        let events = purse.events();
        let paused = events.iter().position(|event| event["event"] == "paused").unwrap();
        assert!(events[paused..].iter().all(|event| event["event"] != "started"), "{ended}");
        assert!(turns < 50 || purse.count("started") == AGENTS, "{ended}");
        if turns < 50 {
            let ended = purse.program(&["resume", "--budget", "1M"]);
            assert_eq!((ended.code, purse.count("completed")), (Some(0), tasks), "{ended}");
            assert_eq!(purse.booked().0, purse.asked(), "{ended}");
        }
    }
}

#[test]
fn with_the_proxy_it_is_never_exceeded_and_what_fits_is_done() {
    let (tasks, turns) = (5, 2);
    let mut bound = 0;
    for number in 0..20 {
        let cost = cost(number * 37 % 90, number * 53 % 64);
        let all = tasks * turns * (cost.input + cost.output);
        // Every other one has enough for whatever is under way.
        let own = (number % 3 == 0).then_some(all + WORST);
        let tokens = match number % 2 {
            0 => own.unwrap_or(0) + all + WORST,
            _ => 2_000 + all * number / 25,
        };
        let purse = Purse::new("key_env = \"THE_KEY\"\n", tasks, turns, cost);
        let ended = purse.run(tokens, own);
        let (asked, (spent, most)) = (purse.asked(), purse.booked());
        assert!(
            asked == spent && most <= tokens,
            "{number}: {asked} asked, {spent} of {tokens} booked: {ended}"
        );
        let done = purse.count("completed");
        match ended.code {
            Some(0) => assert_eq!(done, tasks, "{number}: {ended}"),
            Some(4) => {
                bound += 1;
                assert!(number % 2 == 1 && done < tasks, "{number}: {ended}");
                // What is left would not do for one more.
                assert!(spent + own.unwrap_or(WORST) > tokens, "{number}: {spent} of {tokens}: {ended}");
            }
            _ => panic!("{number}: {ended}"),
        }
    }
    assert!(bound >= 5, "the budget bound in {bound} runs only");
}

#[test]
fn no_more_start_than_the_money_does_for_by_what_such_attempts_cost_before() {
    let purse = Purse::new("", 4, 3, cost(80, 20));
    let ended = purse.run(1_000_000, None);
    assert_eq!(ended.code, Some(0), "{ended}");
    // Nothing is known yet: all of them start.
    assert_eq!(purse.under_way(), (4, vec![0; 4]), "{ended}");
    let told = purse.rig.run(["plan", "../ask.yaml"]).stdout;
    assert!(
        told.contains("cost      forecast 1200 tokens for 4 of 4 tasks (from 4 attempts or more)"),
        "{told}"
    );
    // They cost less this time, so that in the end all of them can be paid for.
    purse.asks(1);
    let ended = purse.run(700, None);
    assert_eq!((ended.code, purse.count("started"), purse.count("completed")), (Some(0), 4, 4), "{ended}");
    assert_eq!(purse.under_way(), (2, vec![300; 4]), "{ended}");
    assert_eq!(purse.booked().0, 400, "{ended}");
    let report = purse.rig.run(["report"]).stdout;
    let told = "Forecast for 4 attempts: 1200 tokens. Spent: 400 tokens; 4 of them stayed within it.";
    assert!(report.contains(told), "{report}");
}

#[test]
fn what_a_client_with_a_login_of_its_own_costs_follows_from_the_prices_of_its_user() {
    let purse = Purse::new("", 1, 2, cost(80, 20));
    let prices = json!({"version": "mine", "models": {"mock-1": {"input": 3, "output": 15}}});
    fs::write(purse.rig.dir().join("home/config/kapell/prices.json"), prices.to_string()).unwrap();
    let ended = purse.run(1_000_000, None);
    assert_eq!(ended.code, Some(0), "{ended}");
    let spent =
        purse.events().iter().filter_map(|event| event["data"]["spent"]["usd_micros"].as_u64()).sum::<u64>();
    assert_eq!(spent, 2 * (80 * 3 + 20 * 15), "{ended}");
}
