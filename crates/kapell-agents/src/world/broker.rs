//! The model proxy of this process, started when the first client with a key needs it.

mod key; // keys that a program gives, or a keyring

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock},
    time::{SystemTime, UNIX_EPOCH},
};

use kapell_core::id::RunId;
use kapell_core::retry::FailureClass;
use kapell_core::time::{Millis, Wall};
use kapell_engine::port::agents::{Failure, Order, Report};

use crate::{
    contain::ProxyDoor,
    drivers::client::{AllSettings, Client, ModelApi, Settings, options::MAX_REQUESTS},
    lock::lock,
    protocol::AttemptKey,
    proxy::{Allowance, Api, Config, Prices, Proxy, Secret, Seen, Spent, Tape, Upstream},
};

/// Takes what share of what it may spend an attempt has spent, in percent.
pub(super) type Spends = Arc<dyn Fn(AttemptKey, u64) + Send + Sync>;

/// Takes what the proxy has to say about an attempt.
pub type Told = Arc<dyn Fn(AttemptKey, Report) + Send + Sync>;

/// A request of an attempt that was refused here.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    /// Why, for people.
    pub(super) why: String,
    /// Whether a larger budget of the run would have let it through.
    pub(super) more_helps: bool,
}

/// Brings clients and their provider together: a client with a key gets a dummy one, and speaks to the proxy.
pub struct Broker {
    clients: AllSettings,
    /// Keys that a program gives, once it was asked.
    late: BTreeMap<Client, Secret>,
    prices: Prices,
    socket: PathBuf,
    tape: Tape,
    told: Told,
    /// Attempts of which a request was refused here, and why.
    refused: Arc<Mutex<HashMap<AttemptKey, Refusal>>>,
    /// Who hears what attempts spend.
    spends: Arc<OnceLock<Spends>>,
    proxy: OnceLock<Result<Proxy, String>>,
}

/// The provider of a client that has no other address; `None` if nobody knows it.
fn usual(client: Client) -> Option<(Api, &'static str)> {
    let api = match client.inner()? {
        Client::ClaudeCode | Client::Model(ModelApi::Anthropic) => ModelApi::Anthropic,
        Client::Codex
        | Client::CodexApp
        | Client::Opencode
        | Client::OpencodeRun
        | Client::Model(ModelApi::OpenAi) => ModelApi::OpenAi,
        Client::Gemini | Client::Model(ModelApi::Gemini) => ModelApi::Gemini,
        Client::Acp(_) => return None,
    };
    let spoken = match api {
        ModelApi::Anthropic => Api::Anthropic,
        ModelApi::OpenAi => Api::OpenAi,
        ModelApi::Gemini => Api::Gemini,
    };
    Some((spoken, api.usual_url()))
}

/// Tells whether a client with these settings reaches its model through the proxy.
fn is_carried(client: Client, settings: &Settings) -> bool {
    match client.inner() {
        None => false,
        // A server of one's own that wants no key is carried too: so it is counted, and no other network is needed.
        Some(Client::Model(_)) => settings.has_key() || settings.base_url.is_some(),
        Some(_) => settings.has_key(),
    }
}

/// What an attempt may spend, and how many `requests` it may make.
pub(super) fn allowance(order: &Order, requests: Option<u64>) -> Allowance {
    let told = order.allowance;
    Allowance {
        usd_micros: told.usd_micros,
        tokens: told.tokens,
        requests,
        is_shared: told.is_shared,
        limit_usd_micros: told.limit_usd_micros,
        limit_tokens: told.limit_tokens,
    }
}

impl Broker {
    /// Makes one. Its proxy listens at `socket` besides a port; what it refuses, and when a provider wants to be left
    /// alone, is told to `told`.
    #[must_use]
    pub fn new(clients: AllSettings, prices: Prices, socket: PathBuf, tape: Tape, told: Told) -> Self {
        let late = clients.iter().filter(|(_, one)| one.key.is_none() && one.key_giver.is_some());
        let late = late.map(|(client, _)| (*client, Secret::later())).collect();
        let (refused, spends, proxy) = (Arc::default(), Arc::default(), OnceLock::new());
        Self { clients, late, prices, socket, tape, told, refused, spends, proxy }
    }

    /// Returns the keys that programs give: each is there once its program was asked.
    #[must_use]
    pub fn late_keys(&self) -> Vec<Secret> {
        self.late.values().cloned().collect()
    }

    /// Has `spends` hear what attempts spend, from now on. The first one is kept.
    pub(super) fn tell_spending(&self, spends: Spends) {
        let _ = self.spends.set(spends);
    }

    /// Tells whether attempts of an adapter reach their model through the proxy: those of a client with a key do. A client
    /// that works with its own login speaks to its provider itself. While a recording plays, those are carried whose
    /// provider is on it, and no key is needed.
    #[must_use]
    pub fn carries(&self, adapter: &str) -> bool {
        if let Tape::Play(cassette) = &self.tape {
            return cassette.upstreams().contains(adapter);
        }
        let client = Client::of(adapter);
        let known = client.and_then(|client| self.clients.get(&client).map(|settings| (client, settings)));
        known.is_some_and(|(client, settings)| is_carried(client, settings))
    }

    /// Tells whether attempts of an adapter get the real key, since there is no way for them through the proxy: those whose
    /// provider is not on the recording that plays. One behind a protocol whose provider nobody knows gets none.
    #[must_use]
    pub fn hands_out_key(&self, adapter: &str) -> bool {
        let client = Client::of(adapter).filter(|client| client.inner().is_some());
        let settings = client.and_then(|client| self.clients.get(&client));
        // No program is asked for its key while a recording plays.
        settings.is_some_and(|settings| settings.key.is_some()) && !self.carries(adapter)
    }

    /// Lets an attempt in: changes what its client is told of server and key, and says where the proxy is. `None` if the
    /// proxy does not carry it.
    ///
    /// # Errors
    ///
    /// Fails if the proxy cannot be started: then the real key is not handed out instead. Fails too if the program that
    /// knows the key does not give it.
    pub(super) fn admit(
        &self,
        client: Client,
        key: AttemptKey,
        order: &Order,
        settings: &mut Settings,
    ) -> Result<Option<ProxyDoor>, Failure> {
        self.unlock(client, settings)?;
        if !self.carries(client.adapter()) {
            return Ok(None);
        }
        let failed = |message: &String| Failure {
            class: FailureClass::Transient,
            message: message.clone(),
            until: None,
        };
        let proxy = self.proxy.get_or_init(|| self.start()).as_ref().map_err(failed)?;
        let requests = order.agent.as_ref().and_then(|agent| agent.options.get(MAX_REQUESTS)?.parse().ok());
        let allowance = allowance(order, requests);
        proxy.place(key, &order.dir);
        let pass = proxy.admit(key, allowance);
        settings.base_url = Some(pass.base_url(client.adapter()));
        settings.key = Some(pass.key().to_owned());
        Ok(Some(proxy.door()))
    }

    /// Has the program that knows the key of a client give it, the first time that this client is needed.
    fn unlock(&self, client: Client, settings: &mut Settings) -> Result<(), Failure> {
        // A recording needs no key.
        let late = self.late.get(&client).filter(|_| !matches!(self.tape, Tape::Play(_)));
        let (Some(late), Some(giver)) = (late, &settings.key_giver) else {
            return Ok(());
        };
        let given = late.fill(|| key::ask(giver)).map_err(|error| Failure {
            class: FailureClass::Permanent,
            message: format!("there is no key for `{}`: {error} ({})", client.adapter(), error.hint(giver)),
            until: None,
        })?;
        settings.key = Some(given);
        Ok(())
    }

    /// Lets an attempt out; returns what it has spent, if the proxy carried it, and why one of its requests was refused,
    /// if one was.
    pub(super) fn dismiss(&self, key: AttemptKey) -> Option<(Spent, Option<Refusal>)> {
        let spent = self.proxy.get()?.as_ref().ok()?.dismiss(key)?;
        Some((spent, lock(&self.refused).remove(&key)))
    }

    /// Takes in that nothing more of a run will be started.
    pub(super) fn let_go(&self, run: RunId) {
        if let Some(Ok(proxy)) = self.proxy.get() {
            proxy.let_go(run);
        }
    }

    fn start(&self) -> Result<Proxy, String> {
        let upstream = |client: Client| {
            let settings = self.clients.get(&client).cloned().unwrap_or_default();
            let (api, usual) = usual(client)?;
            let base = settings.base_url.as_deref().unwrap_or(usual).trim_end_matches('/').to_owned();
            let key = settings.key.map(Secret::new).or_else(|| self.late.get(&client).cloned());
            let per_minute = settings.requests_per_minute;
            Some((client.adapter().to_owned(), Upstream { api, base, key, per_minute }))
        };
        let carried = Client::ALL.into_iter().filter(|client| self.carries(client.adapter()));
        let upstreams: BTreeMap<String, Upstream> = carried.filter_map(upstream).collect();
        let (told, refused, spends) = (self.told.clone(), self.refused.clone(), self.spends.clone());
        let config = Config {
            upstreams,
            prices: self.prices.clone(),
            socket: self.socket.clone(),
            sink: Arc::new(move |key, seen| {
                if let Seen::Refused { why, more_helps } = &seen {
                    let (why, more_helps) = (why.clone(), *more_helps);
                    lock(&refused).insert(key, Refusal { why, more_helps });
                }
                if let (Seen::Used { percent, .. }, Some(spends)) = (&seen, spends.get()) {
                    spends(key, *percent);
                }
                if let Some(report) = report(&seen) {
                    told(key, report);
                }
            }),
            tape: self.tape.clone(),
        };
        Proxy::start(config).map_err(|error| error.to_string())
    }
}

/// Says what the engine should hear of what the proxy sees; usage shows at the end.
///
/// That a provider wants to be left alone is seen here first: clients try again by themselves for a while, and some say
/// so only when they give up.
fn report(seen: &Seen) -> Option<Report> {
    match seen {
        Seen::Used { .. } => None,
        Seen::Refused { why, .. } => Some(Report::Note(format!("a request was refused: {why}"))),
        Seen::Busy { upstream, status, pause } => {
            let until =
                pause.map(|pause| now().after(Millis(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX))));
            let pause = pause.map(|pause| format!(" for {} s", pause.as_secs())).unwrap_or_default();
            let text = format!("the provider of {upstream} asks to be left alone{pause} ({status})");
            Some(Report::Throttled { until, text })
        }
    }
}

fn now() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::client::AcpAgent;

    #[test]
    fn no_key_goes_to_one_of_which_nobody_knows_how_it_takes_it() {
        let settings = Settings { key: Some("sk".to_owned()), ..Settings::default() };
        let clients =
            [Client::Acp(AcpAgent::Other), Client::ClaudeCode].map(|client| (client, settings.clone()));
        let (clients, told): (_, Told) = (clients.into(), Arc::new(|_, _| {}));
        let prices: Prices = Arc::new(|_| None);
        let broker = Broker::new(clients, prices, PathBuf::new(), Tape::None, told);
        for (adapter, carries) in
            [("acp", false), ("claude-code", true), ("codex", false), ("command", false)]
        {
            assert_eq!(
                (broker.carries(adapter), broker.hands_out_key(adapter)),
                (carries, false),
                "{adapter}"
            );
        }
    }
}
