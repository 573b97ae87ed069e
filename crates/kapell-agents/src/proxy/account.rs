//! What each attempt may spend, what it has spent, and what is under way.

use std::{
    collections::{HashMap, HashSet},
    fs,
    io::{self, Read},
    sync::{Arc, Mutex},
};

use kapell_core::{budget::Amount, id::RunId, price::Tokens};
use tokio::sync::{Notify, futures::Notified};

use crate::lock::lock;
use crate::protocol::AttemptKey;

/// What an attempt may spend. What is `None` is not limited here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Money, in millionths of a dollar.
    pub usd_micros: Option<u64>,
    /// Tokens of all kinds.
    pub tokens: Option<u64>,
    /// Requests that reach a model.
    pub requests: Option<u64>,
    /// Whether money and tokens are for all attempts of the run together that are let in so.
    pub is_shared: bool,
    /// The money that the run may spend in all, in millionths of a dollar, if money is shared.
    pub limit_usd_micros: Option<u64>,
    /// The tokens that it may use in all, if they are shared.
    pub limit_tokens: Option<u64>,
}

/// What an attempt has spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Tokens by kind, as the provider states them.
    pub tokens: Tokens,
    /// What they cost, in millionths of a dollar, where a price is known.
    pub usd_micros: u64,
    /// Requests that reached a model.
    pub requests: u64,
    /// How many of them ended without a statement, so that they are booked as the most that they can have cost.
    pub estimated: u64,
    /// How many of them went to a model whose price is not known.
    pub unpriced: u64,
}

impl Spent {
    /// Returns money and tokens, as a ledger takes them.
    #[must_use]
    pub fn amount(&self) -> Amount {
        Amount { usd_micros: self.usd_micros, tokens: self.tokens.total() }
    }
}

/// Why a request is not let through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denied {
    #[error("the budget of this {whose} has ${left} left, and this request can cost ${worst}")]
    Usd { whose: &'static str, left: String, worst: String },
    #[error("the budget of this {whose} has {left} tokens left, and this request can take {worst}")]
    Tokens { whose: &'static str, left: u64, worst: u64 },
    #[error("this task has made its {0} requests")]
    Requests(u64),
    #[error("money is limited, and the price of `{0}` is not known: add it to prices.json")]
    NoPrice(String),
    #[error("the budget is limited, and what this request can cost is not: {0}")]
    Unbounded(String),
}

impl Denied {
    /// Tells whether more money or tokens for the run would let the request through.
    pub(super) fn is_of_run(&self) -> bool {
        matches!(self, Self::Usd { whose: RUN, .. } | Self::Tokens { whose: RUN, .. })
    }
}

/// Whose budget it is that attempts share.
const RUN: &str = "run";

/// Why nothing is set aside for a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// It is not let through.
    Denied(Denied),
    /// It may fit once requests under way have ended, for most of them cost less than they can.
    Later,
}

impl From<Denied> for Stopped {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

#[derive(Debug)]
struct Account {
    key: AttemptKey,
    allowance: Allowance,
    spent: Spent,
    held: Amount,
}

/// All attempts that are let in.
pub(super) struct Accounts {
    inner: Arc<Mutex<Inner>>,
    /// Told whenever something that was set aside comes back.
    freed: Arc<Notify>,
    /// Makes keys that nobody can guess.
    secret: [u8; 32],
}

#[derive(Debug, Default)]
struct Inner {
    by_token: HashMap<String, Account>,
    tokens: HashMap<AttemptKey, String>,
    admitted: u64,
    /// What is left of runs whose attempts share it.
    purses: HashMap<RunId, Allowance>,
    /// Runs of which nothing more will be started, and that have a purse still.
    over: HashSet<RunId>,
}

/// What is set aside for a request under way; it is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    inner: Arc<Mutex<Inner>>,
    freed: Arc<Notify>,
    token: String,
    amount: Amount,
}

fn dollars(usd_micros: u64) -> String {
    format!("{}.{:04}", usd_micros / 1_000_000, usd_micros % 1_000_000 / 100)
}

impl Account {
    /// Returns what is spent and what is under way.
    fn used(&self) -> Amount {
        self.spent.amount() + self.held
    }
}

impl Inner {
    /// Returns what is left for an account: money and tokens.
    fn left(&self, account: &Account) -> (Option<u64>, Option<u64>) {
        if !account.allowance.is_shared {
            let used = account.used();
            return (
                within(account.allowance.usd_micros, used.usd_micros),
                within(account.allowance.tokens, used.tokens),
            );
        }
        let used = self.sharing(account).fold(Amount::ZERO, |sum, other| sum + other.used());
        let purse = self.purses.get(&account.key.run).copied().unwrap_or_default();
        (within(purse.usd_micros, used.usd_micros), within(purse.tokens, used.tokens))
    }

    /// Returns the accounts that spend from the same purse, this one among them.
    fn sharing<'a>(&'a self, account: &'a Account) -> impl Iterator<Item = &'a Account> {
        self.by_token.values().filter(move |other| match account.allowance.is_shared {
            true => other.allowance.is_shared && other.key.run == account.key.run,
            false => other.key == account.key,
        })
    }

    /// Returns what share of what an account may spend is spent, in percent.
    fn percent(&self, account: &Account) -> u64 {
        let spent = self.sharing(account).fold(Amount::ZERO, |sum, other| sum + other.spent.amount());
        let limit = match account.allowance.is_shared {
            true => self.purses.get(&account.key.run).copied().unwrap_or_default(),
            false => account.allowance,
        };
        let of = |spent: u64, limit: Option<u64>| {
            limit.map_or(0, |limit| spent.saturating_mul(100) / limit.max(1))
        };
        of(spent.usd_micros, limit.usd_micros).max(of(spent.tokens, limit.tokens))
    }

    /// Returns what is set aside for requests under way, of all accounts that spend from the same purse.
    fn held(&self, account: &Account) -> Amount {
        self.sharing(account).fold(Amount::ZERO, |sum, other| sum + other.held)
    }

    /// Notes what is left of a run for attempts that share it.
    fn note_purse(&mut self, key: AttemptKey, told: Allowance) {
        let known = self.purses.entry(key.run).or_insert(told);
        let usd = (known.limit_usd_micros, told.limit_usd_micros);
        *known = Allowance {
            usd_micros: told_again(known.usd_micros, told.usd_micros, usd),
            tokens: told_again(known.tokens, told.tokens, (known.limit_tokens, told.limit_tokens)),
            ..told
        };
    }

    /// Drops the purse of a run that is over, once nobody spends from it any more.
    fn drop_purse(&mut self, run: RunId) {
        let spends = |account: &Account| account.key.run == run && account.allowance.is_shared;
        if self.over.contains(&run) && !self.by_token.values().any(spends) {
            self.over.remove(&run);
            self.purses.remove(&run);
        }
    }
}

/// Returns what there is for attempts that share it: `known` so far, and `told` again. Who tells it may not have heard yet
/// what attempts have spent that have just ended, so it is never more than it was, and by how much the run's limit was
/// raised since.
pub(crate) fn told_again(
    known: Option<u64>,
    told: Option<u64>,
    (was, is): (Option<u64>, Option<u64>),
) -> Option<u64> {
    let raised = was.zip(is).map_or(0, |(was, is)| is.saturating_sub(was));
    known.map(|known| known.saturating_add(raised)).into_iter().chain(told).min()
}

fn within(limit: Option<u64>, used: u64) -> Option<u64> {
    limit.map(|limit| limit.saturating_sub(used))
}

impl Accounts {
    pub(super) fn open() -> io::Result<Self> {
        let mut secret = [0; 32];
        fs::File::open("/dev/urandom")?.read_exact(&mut secret)?;
        Ok(Self { inner: Arc::default(), freed: Arc::default(), secret })
    }

    pub(super) fn admit(&self, key: AttemptKey, allowance: Allowance) -> String {
        let mut inner = lock(&self.inner);
        inner.admitted += 1;
        // One that was given up goes on.
        inner.over.remove(&key.run);
        if allowance.is_shared {
            inner.note_purse(key, allowance);
        }
        let name = format!("{key} {}", inner.admitted);
        let token = format!("kapell-{}", &blake3::keyed_hash(&self.secret, name.as_bytes()).to_hex()[..32]);
        let account = Account { key, allowance, spent: Spent::default(), held: Amount::ZERO };
        if let Some(old) = inner.tokens.insert(key, token.clone()) {
            inner.by_token.remove(&old);
        }
        inner.by_token.insert(token.clone(), account);
        token
    }

    pub(super) fn who(&self, token: &str) -> Option<AttemptKey> {
        lock(&self.inner).by_token.get(token).map(|account| account.key)
    }

    pub(super) fn spent(&self, key: AttemptKey) -> Option<Spent> {
        let inner = lock(&self.inner);
        inner.tokens.get(&key).and_then(|token| inner.by_token.get(token)).map(|account| account.spent)
    }

    pub(super) fn dismiss(&self, key: AttemptKey) -> Option<Spent> {
        let mut inner = lock(&self.inner);
        let token = inner.tokens.remove(&key)?;
        let account = inner.by_token.remove(&token)?;
        if account.allowance.is_shared
            && let Some(purse) = inner.purses.get_mut(&key.run)
        {
            let used = account.used();
            purse.usd_micros = within(purse.usd_micros, used.usd_micros);
            purse.tokens = within(purse.tokens, used.tokens);
        }
        inner.drop_purse(key.run);
        self.freed.notify_waiters();
        let mut spent = account.spent;
        if !account.held.is_zero() {
            spent.usd_micros = spent.usd_micros.saturating_add(account.held.usd_micros);
            spent.tokens.output = spent.tokens.output.saturating_add(account.held.tokens);
            spent.estimated += 1;
        }
        Some(spent)
    }

    /// Takes in that nothing more of a run will be started.
    pub(super) fn let_go(&self, run: RunId) {
        let mut inner = lock(&self.inner);
        if inner.purses.contains_key(&run) {
            inner.over.insert(run);
            inner.drop_purse(run);
        }
    }

    /// Returns what is not spent, money and tokens, what is under way included; and how many attempts may want some of it.
    pub(super) fn unspent(&self, token: &str) -> (Option<u64>, Option<u64>, u64) {
        let inner = lock(&self.inner);
        inner.by_token.get(token).map_or((None, None, 1), |account| {
            let (usd, tokens) = inner.left(account);
            let held = inner.held(account);
            let sharers = inner.sharing(account).count() as u64;
            let with = |left: Option<u64>, held: u64| left.map(|left| left.saturating_add(held));
            (with(usd, held.usd_micros), with(tokens, held.tokens), sharers.max(1))
        })
    }

    #[cfg(test)]
    fn left(&self, token: &str) -> (Option<u64>, Option<u64>) {
        let inner = lock(&self.inner);
        inner.by_token.get(token).map_or((None, None), |account| inner.left(account))
    }

    /// Returns what ends when something that was set aside comes back after now.
    pub(super) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// Sets the worst case of a request aside. `priced` is false if nobody knows what the model costs.
    pub(super) fn hold(
        &self,
        token: &str,
        model: &str,
        worst: Amount,
        priced: bool,
    ) -> Result<Hold, Stopped> {
        let mut inner = lock(&self.inner);
        // Its attempt is gone: nothing is left of it.
        let account = inner.by_token.get(token).ok_or(Denied::Requests(0))?;
        if let Some(most) = account.allowance.requests.filter(|most| account.spent.requests >= *most) {
            return Err(Denied::Requests(most).into());
        }
        let held = inner.held(account);
        let whose = if account.allowance.is_shared { RUN } else { "task" };
        let (mut later, mut denied) = (false, None);
        let (left_usd, left_tokens) = inner.left(account);
        if let Some(left) = left_usd {
            if !priced {
                return Err(Denied::NoPrice(model.to_owned()).into());
            }
            later |= worst.usd_micros > left;
            let all = left.saturating_add(held.usd_micros);
            if worst.usd_micros > all {
                let (left, worst) = (dollars(all), dollars(worst.usd_micros));
                denied = Some(Denied::Usd { whose, left, worst });
            }
        }
        if let Some(left) = left_tokens {
            later |= worst.tokens > left;
            let all = left.saturating_add(held.tokens);
            if worst.tokens > all {
                denied = denied.or(Some(Denied::Tokens { whose, left: all, worst: worst.tokens }));
            }
        }
        match denied {
            Some(denied) => return Err(denied.into()),
            None if later => return Err(Stopped::Later),
            None => {}
        }
        let account = inner.by_token.get_mut(token).ok_or(Denied::Requests(0))?;
        account.held += worst;
        account.spent.requests += 1;
        drop(inner);
        let (inner, freed) = (self.inner.clone(), self.freed.clone());
        Ok(Hold { inner, freed, token: token.to_owned(), amount: worst })
    }
}

impl Hold {
    /// Returns what was set aside.
    pub(super) fn amount(&self) -> Amount {
        self.amount
    }

    /// Gives back what was set aside and books what was spent; returns whose it is, what it has spent by now, and what share
    /// of what it may spend that is, in percent.
    pub(super) fn settle(
        mut self,
        tokens: Tokens,
        usd_micros: Option<u64>,
        estimated: bool,
    ) -> Option<(AttemptKey, Spent, u64)> {
        let mut inner = lock(&self.inner);
        let account = inner.by_token.get_mut(&self.token)?;
        account.held -= self.amount;
        self.amount = Amount::ZERO;
        self.freed.notify_waiters();
        account.spent.tokens += tokens;
        account.spent.usd_micros = account.spent.usd_micros.saturating_add(usd_micros.unwrap_or(0));
        account.spent.estimated += u64::from(estimated);
        account.spent.unpriced += u64::from(usd_micros.is_none());
        let account = inner.by_token.get(&self.token)?;
        Some((account.key, account.spent, inner.percent(account)))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.amount.is_zero()
            && let Some(account) = lock(&self.inner).by_token.get_mut(&self.token)
        {
            account.held -= self.amount;
            self.freed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use kapell_core::id::{AttemptNo, RunId, TaskId};

    use super::*;

    fn key() -> AttemptKey {
        AttemptKey { run: RunId([0; 16]), task: TaskId(1), attempt: AttemptNo(1), compensates: false }
    }

    fn usd(usd_micros: u64) -> Amount {
        Amount { usd_micros, tokens: 1 }
    }

    #[test]
    fn what_is_under_way_is_not_there_for_others() {
        let accounts = Accounts::open().unwrap();
        let allowance =
            Allowance { usd_micros: Some(10), tokens: Some(10), requests: Some(4), ..Allowance::default() };
        let token = accounts.admit(key(), allowance);
        let first = accounts.hold(&token, "m", usd(6), true).unwrap();
        assert_eq!(accounts.hold(&token, "m", usd(5), true).unwrap_err(), Stopped::Later);
        let denied = accounts.hold(&token, "m", usd(11), true).unwrap_err();
        assert!(matches!(denied, Stopped::Denied(Denied::Usd { whose: "task", .. })));
        let second = accounts.hold(&token, "m", usd(4), true).unwrap();
        let (_, _, percent) =
            first.settle(Tokens { output: 3, ..Tokens::default() }, Some(2), false).unwrap();
        assert_eq!(percent, 30, "of money or of tokens, whichever is more");
        assert_eq!(accounts.left(&token), (Some(4), Some(6)));
        assert_eq!(accounts.unspent(&token), (Some(8), Some(7), 1));
        // One that came to nothing gives back what it held.
        drop(second);
        assert_eq!(accounts.left(&token), (Some(8), Some(7)));
        assert_eq!(
            accounts.hold(&token, "m", Amount { usd_micros: 0, tokens: 8 }, true).unwrap_err(),
            Denied::Tokens { whose: "task", left: 7, worst: 8 }.into()
        );
        assert_eq!(
            accounts.hold(&token, "m", usd(0), false).unwrap_err(),
            Denied::NoPrice("m".to_owned()).into()
        );
        drop(accounts.hold(&token, "m", usd(1), true).unwrap());
        let last = accounts.hold(&token, "m", usd(3), true).unwrap();
        assert_eq!(accounts.hold(&token, "m", usd(1), true).unwrap_err(), Denied::Requests(4).into());
        let spent = accounts.dismiss(key()).unwrap();
        assert_eq!((spent.usd_micros, spent.tokens.total(), spent.estimated), (5, 4, 1));
        assert_eq!(last.settle(Tokens::default(), Some(0), false), None);
        assert!(accounts.hold(&token, "m", usd(0), true).is_err() && accounts.who(&token).is_none());
    }

    #[test]
    fn attempts_that_share_what_is_left_of_a_run_do_not_spend_it_twice() {
        let accounts = Accounts::open().unwrap();
        let other = AttemptKey { task: TaskId(2), ..key() };
        let allowance = |left| Allowance { usd_micros: Some(left), is_shared: true, ..Allowance::default() };
        let (one, two) = (accounts.admit(key(), allowance(10)), accounts.admit(other, allowance(10)));
        let hold = accounts.hold(&one, "m", usd(6), true).unwrap();
        assert_eq!(accounts.hold(&two, "m", usd(5), true).unwrap_err(), Stopped::Later);
        let Err(Stopped::Denied(denied)) = accounts.hold(&two, "m", usd(11), true) else { panic!() };
        assert!(denied.is_of_run() && denied.to_string().contains("this run"), "{denied}");
        hold.settle(Tokens::default(), Some(3), false).unwrap();
        assert_eq!(accounts.left(&two), (Some(7), None));
        // What has ended is not there again, even if whoever lets the next one in does not know of it yet.
        accounts.dismiss(key());
        let three = accounts.admit(AttemptKey { task: TaskId(3), ..key() }, allowance(10));
        assert_eq!(accounts.unspent(&two), (Some(7), None, 2));
        assert_eq!((accounts.left(&two), accounts.left(&three)), ((Some(7), None), (Some(7), None)));
    }

    #[test]
    fn the_purse_of_a_run_goes_with_its_last_attempt() {
        let accounts = Accounts::open().unwrap();
        let other = RunId([1; 16]);
        let allowance = Allowance { usd_micros: Some(10), is_shared: true, ..Allowance::default() };
        let last = AttemptKey { task: TaskId(2), ..key() };
        for key in [key(), last, AttemptKey { run: other, ..key() }] {
            accounts.admit(key, allowance);
        }
        let purses = || {
            let inner = lock(&accounts.inner);
            (inner.purses.keys().copied().collect::<Vec<_>>(), inner.over.len())
        };
        accounts.let_go(key().run);
        accounts.admit(key(), allowance);
        assert_eq!(purses().1, 0, "it goes on");
        accounts.let_go(key().run);
        accounts.dismiss(key());
        assert_eq!(purses().0.len(), 2, "somebody spends from it still");
        accounts.dismiss(last);
        assert_eq!(purses(), (vec![other], 0));
        // It is not over only because nobody spends from it right now.
        accounts.dismiss(AttemptKey { run: other, ..key() });
        assert_eq!(purses(), (vec![other], 0));
        accounts.let_go(other);
        accounts.let_go(other);
        assert_eq!(purses(), (vec![], 0));
    }

    #[test]
    fn a_limit_that_is_raised_is_there_for_the_next_attempt() {
        let accounts = Accounts::open().unwrap();
        let allowance = |left, limit| Allowance {
            usd_micros: Some(left),
            limit_usd_micros: Some(limit),
            is_shared: true,
            ..Allowance::default()
        };
        let one = accounts.admit(key(), allowance(10, 10));
        let hold = accounts.hold(&one, "m", usd(9), true).unwrap();
        hold.settle(Tokens::default(), Some(9), false).unwrap();
        accounts.dismiss(key());
        // Who lets the next one in has not heard yet what was spent.
        let two = accounts.admit(AttemptKey { task: TaskId(2), ..key() }, allowance(15, 15));
        assert_eq!(accounts.left(&two), (Some(6), None));
        // The same limit once more is none that was raised.
        let three = accounts.admit(AttemptKey { task: TaskId(3), ..key() }, allowance(6, 15));
        assert_eq!(accounts.left(&three), (Some(6), None));
    }

    #[test]
    fn keys_differ_and_a_new_one_replaces_the_old() {
        let accounts = Accounts::open().unwrap();
        let (one, two) =
            (accounts.admit(key(), Allowance::default()), accounts.admit(key(), Allowance::default()));
        assert!(one != two && one.len() == 39);
        assert_eq!((accounts.who(&one), accounts.who(&two)), (None, Some(key())));
    }
}
