//! No budget is exceeded, whatever prices and lengths are drawn: proxy, ledger and provider agree to the token.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use kapell_agents::{
    protocol::AttemptKey,
    proxy::{Allowance, Pass, Proxy},
};
use kapell_core::{
    budget::{Amount, Ledger, Limits},
    id::RunId,
    price::{Price, Rate, Tokens},
};
use kapell_mock::{Mock, Scenario, Turn, Usage};
use serde_json::json;

use crate::rig::{RATE, Rig, key, receive, send};

const RUNS: u32 = 200;
const AGENTS: u32 = 3;

/// A small generator, so that a run that fails can be played again by its number.
#[derive(Clone)]
struct Draw(u64);

impl Draw {
    fn of(run: u32, agent: u32) -> Self {
        Self(u64::from(run) << 32 | u64::from(agent) << 8 | 1)
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Often one of the ends: that is where sums break.
    fn edgy(&mut self, most: u64) -> u64 {
        match self.below(4) {
            0 => 0,
            1 => most,
            _ => self.below(most + 1),
        }
    }

    fn price(&mut self) -> Price {
        let mut rate = || self.below(20_000_000);
        let rate = Rate { input: rate(), cache_read: rate(), cache_write: rate(), output: rate() };
        let dearer = Rate { input: rate.input * 2, output: rate.output * 3, ..rate };
        let above = (self.below(2) == 0).then(|| (self.below(3_000), dearer));
        Price { rate, above, output_max: None }
    }
}

/// One run: a ledger, and what happened to it.
struct Run {
    number: u32,
    ledger: Mutex<Ledger>,
    limits: Limits,
    /// How often a limit stood in the way.
    bound: AtomicU32,
    tokens: Mutex<Tokens>,
    charged: Mutex<Tokens>,
}

impl Run {
    fn draw(number: u32) -> Self {
        let mut draw = Draw::of(number, 99);
        let usd_micros = (draw.below(3) > 0).then(|| 1_000 + draw.below(150_000));
        let tokens = (usd_micros.is_none() || draw.below(2) == 0).then(|| 1_000 + draw.below(30_000));
        let limits = Limits { usd_micros, tokens, ..Limits::default() };
        let ledger = Mutex::new(Ledger::new(&limits));
        let (bound, tokens, charged) = (AtomicU32::new(0), Mutex::default(), Mutex::default());
        Self { number, ledger, limits, bound, tokens, charged }
    }

    fn bind(&self) {
        self.bound.fetch_add(1, Ordering::Relaxed);
    }

    /// Looks whether the promise holds: now, and whatever has happened so far.
    fn check(&self, ledger: &Ledger) {
        let total = ledger.spent() + ledger.reserved();
        assert!(self.limits.usd_micros.is_none_or(|limit| total.usd_micros <= limit), "run {}", self.number);
        assert!(self.limits.tokens.is_none_or(|limit| total.tokens <= limit), "run {}", self.number);
        assert!(ledger.overrun().is_zero(), "run {}", self.number);
    }

    fn reserve(&self, draw: &mut Draw) -> Option<Amount> {
        let part = |limit: Option<u64>, draw: &mut Draw| limit.map_or(0, |limit| 1 + draw.below(limit));
        let amount =
            Amount { usd_micros: part(self.limits.usd_micros, draw), tokens: part(self.limits.tokens, draw) };
        let mut ledger = self.ledger.lock().unwrap();
        if ledger.fits(amount).is_err() {
            self.bind();
            return None;
        }
        ledger.reserve(amount);
        self.check(&ledger);
        Some(amount)
    }

    fn settle(&self, reserved: Amount, spent: Amount) {
        let mut ledger = self.ledger.lock().unwrap();
        assert!(self.limits.usd_micros.is_none() || spent.usd_micros <= reserved.usd_micros);
        assert!(self.limits.tokens.is_none() || spent.tokens <= reserved.tokens);
        ledger.settle(reserved, spent);
        self.check(&ledger);
    }
}

/// Asks once, for a reply whose length and cost are drawn; says whether it was let through.
fn ask(run: &Run, mock: &Mock, pass: &Pass, draw: &mut Draw, marker: &str) -> bool {
    let prompt = format!("mock:{marker} {}", "x".repeat(usize::try_from(draw.edgy(3_000)).unwrap()));
    let most = 1 + draw.edgy(800);
    // Some clients set no limit: then the proxy does.
    let limit = (draw.below(3) > 0).then_some(most);
    let mut body = json!({"model": format!("m{}", run.number), "stream": true,
        "messages": [{"role": "user", "content": prompt}]});
    if let Some(limit) = limit {
        body["max_tokens"] = json!(limit);
    }
    let body = body.to_string();
    // A provider reads at most what it was sent, and writes at most what it may: that is all that holds of it.
    let mut read = draw.edgy(body.len() as u64);
    let mut part = |draw: &mut Draw| {
        let part = draw.edgy(read);
        read -= part;
        part
    };
    let (cache_read, cache_write) = (part(draw), part(draw));
    // Where the proxy sets the limit, no reply is longer than the least that it sets.
    let output = draw.edgy(limit.unwrap_or(256));
    let usage = Usage { input: read, output, cache_read, cache_write };
    mock.play(marker, Scenario::of([Turn::Say("hello".to_owned())]).costing(usage));
    let reply = receive(send(&pass.base_url("anthropic"), "/v1/messages", pass.key(), &body));
    match reply.status {
        200 => {
            let Usage { input, output, cache_read, cache_write } = mock.count(marker).usage;
            *run.tokens.lock().unwrap() += Tokens { input, output, cache_read, cache_write };
            true
        }
        402 => {
            assert_eq!(mock.count(marker).requests, 0);
            run.bind();
            false
        }
        other => panic!("{other}: {}", reply.text),
    }
}

fn work(run: &Run, proxy: &Proxy, mock: &Mock, agent: u32) {
    let mut draw = Draw::of(run.number, agent);
    for attempt in 0..3 {
        let Some(reserved) = run.reserve(&mut draw) else { return };
        let own =
            AttemptKey { attempt: kapell_core::id::AttemptNo(attempt + 1), ..key(run.number * 10 + agent) };
        let allowance = Allowance {
            usd_micros: run.limits.usd_micros.map(|_| reserved.usd_micros),
            tokens: run.limits.tokens.map(|_| reserved.tokens),
            ..Allowance::default()
        };
        let pass = proxy.admit(own, allowance);
        for number in 0..4 {
            let marker = format!("r{}a{agent}t{attempt}n{number}", run.number);
            if !ask(run, mock, &pass, &mut draw, &marker) {
                break;
            }
        }
        let spent = proxy.dismiss(own).unwrap();
        assert_eq!(spent.estimated, 0);
        *run.charged.lock().unwrap() += spent.tokens;
        run.settle(reserved, spent.amount());
    }
}

#[test]
fn attempts_that_share_a_budget_all_finish_if_what_they_really_cost_fits() {
    let mock = Mock::start().unwrap();
    let usage = Usage { input: 100, output: 20, ..Usage::default() };
    let real = RATE.cost(Tokens { input: 100, output: 20, ..Tokens::default() });
    let rig = Rig::new(&mock.url());
    for number in 0..20 {
        // Besides what all of them cost there is room for the worst case of one that may write 4,096 tokens.
        let usd_micros = u64::from(AGENTS) * 2 * real + 75_000;
        let allowance = Allowance { usd_micros: Some(usd_micros), is_shared: true, ..Allowance::default() };
        let own = |agent: u32| AttemptKey { run: RunId([number; 16]), ..key(agent) };
        let passes: Vec<Pass> = (0..AGENTS).map(|agent| rig.proxy.admit(own(agent), allowance)).collect();
        thread::scope(|scope| {
            for (agent, pass) in passes.iter().enumerate() {
                let mock = &mock;
                scope.spawn(move || {
                    for turn in 0..2 {
                        let marker = format!("s{number}a{agent}t{turn}");
                        mock.play(&marker, Scenario::of([Turn::Say("hello".to_owned())]).costing(usage));
                        let messages = json!([{"role": "user", "content": format!("mock:{marker}")}]);
                        let body = json!({"model": "m", "messages": messages}).to_string();
                        let sent = send(&pass.base_url("openai"), "/chat/completions", pass.key(), &body);
                        let reply = receive(sent);
                        assert_eq!(reply.status, 200, "{marker}: {}", reply.text);
                    }
                });
            }
        });
        let spent = (0..AGENTS).map(|agent| rig.proxy.dismiss(own(agent)).unwrap().usd_micros);
        assert_eq!(spent.sum::<u64>(), u64::from(AGENTS) * 2 * real);
    }
}

#[test]
fn spent_and_reserved_never_exceed_the_budget_and_totals_are_those_of_the_provider() {
    let mock = Mock::start().unwrap();
    let prices: HashMap<String, Price> =
        (0..RUNS).map(|run| (format!("m{run}"), Draw::of(run, 98).price())).collect();
    let rig = Rig::with(&mock.url(), Arc::new(move |model| prices.get(model).copied()), |_, _| {});
    let mut bound = 0;
    let mut asked = Tokens::default();
    for number in 0..RUNS {
        let run = Run::draw(number);
        thread::scope(|scope| {
            for agent in 0..AGENTS {
                let (run, proxy, mock) = (&run, &rig.proxy, &mock);
                scope.spawn(move || work(run, proxy, mock, agent));
            }
        });
        let ledger = *run.ledger.lock().unwrap();
        assert_eq!(ledger.reserved(), Amount::ZERO);
        let (counted, charged) = (*run.tokens.lock().unwrap(), *run.charged.lock().unwrap());
        assert_eq!(counted, charged, "run {number}");
        assert_eq!(ledger.spent().tokens, counted.total(), "run {number}");
        asked += counted;
        bound += u32::from(run.bound.load(Ordering::Relaxed) > 0);
    }
    assert!(bound >= RUNS / 2, "the limit stood in the way in {bound} of {RUNS} runs only");
    let all = mock.counts().into_values().fold(Usage::default(), |mut sum, count| {
        sum += count.usage;
        sum
    });
    let Usage { input, output, cache_read, cache_write } = all;
    assert_eq!(asked, Tokens { input, output, cache_read, cache_write });
}
