//! One prompt, from the first word to the last.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    io::{BufRead, BufReader, Read},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use kapell_core::{price::Tokens, retry::FailureClass, time::Wall};
use serde_json::{Value, json};

use super::{
    Heard, Spec,
    aside::{Aside, LOOK_EVERY, Plan},
    permission::{self, Decision},
    v1::{self, Kind, Wish},
    wire::{Agent, Input, Message},
};
use crate::{
    drivers::{
        client::{add_said, failure, opencode, refused, short},
        own::{
            Begun, Env, Place, Stopped, Word, failed,
            saying::{End, Pulse, Saying, Teller},
        },
    },
    protocol::{self, client},
    supervise::{MARKER, record::wall_ms},
};

/// How long an agent may take to begin: some load a good deal first.
const BEGIN_PATIENCE: Duration = Duration::from_secs(120);
/// How long it has to hear that it is to stop.
const CANCEL_PATIENCE: Duration = Duration::from_secs(3);
/// How long it has to end once there is nothing more to do.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);

/// How a request for permission is named that was put beside the protocol.
const BELOW: &str = "below";

/// An agent at work.
struct Session<'a, 't> {
    spec: &'a Spec,
    agent: Agent,
    id: String,
    place: Place,
    env: Env<'a>,
    sender: Sender<Input>,
    teller: &'a mut Teller<'t>,
    /// What it has said since its last call of a tool.
    text: String,
    /// Calls by their ids.
    calls: HashMap<String, String>,
    /// What calls are about that were not told yet: opencode says later what they are.
    untold: HashMap<String, String>,
    steps: u32,
    /// The last call that was not let.
    refused_last: Option<(String, String)>,
    /// Calls that were denied here.
    denied: HashSet<String>,
    /// What prompts used that are answered, and what the session has cost.
    tokens: Option<Tokens>,
    cost: Option<u64>,
    /// What was said of that last.
    told: (Option<Tokens>, Option<u64>),
    /// Where the agent is opencode: what it says beside the protocol.
    aside: Option<Aside>,
    /// Requests for permission that were put there, and are dealt with.
    below: HashSet<String>,
    /// How many people are asked something right now.
    asking: usize,
    /// Answers that have come and were not looked at yet.
    answers: HashMap<u64, Result<Value, Value>>,
    /// Whether it works on a prompt.
    prompting: bool,
    /// A word that it has not been told yet.
    more: Option<String>,
    /// Whether it hears one while it works.
    takes_more: bool,
    /// The prompt that it was given while it works on another one.
    queued: Option<u64>,
    /// Whether its turn was cancelled so that it hears a word.
    cut: bool,
    /// Whether it tells what was said in the session before: that is known.
    recalls: bool,
    /// That it works on is told while it speaks and thinks: what it says is told only when that is whole.
    pulse: Pulse,
    /// When it was told to stop.
    stopped: Option<(Instant, End)>,
}

/// Has the agent work on a prompt.
pub(super) fn work(begun: Begun<Spec>, env: Env<'_>, teller: &mut Teller<'_>) -> Stopped<End> {
    let Begun { spec, place, input } = begun;
    let (sender, inputs) = mpsc::channel();
    let prompt = hear_words(input, sender.clone())
        .map_err(|error| failed(FailureClass::Permanent, format!("the prompt cannot be read: {error}")))?;
    hear_signals(sender.clone())
        .map_err(|error| failed(FailureClass::Transient, format!("signals cannot be heard: {error}")))?;
    let plan = spec.aside.then(Plan::make).and_then(Result::ok);
    let agent = Agent::start(&spec.argv, plan.as_ref(), sender.clone(), inputs).map_err(|error| {
        let program = spec.argv.first().map(String::as_str).unwrap_or_default();
        failed(FailureClass::Permanent, format!("`{program}` cannot be started: {error}"))
    })?;
    let mut session = Session {
        spec: &spec,
        agent,
        id: String::new(),
        place,
        env,
        sender,
        teller,
        text: String::new(),
        calls: HashMap::new(),
        untold: HashMap::new(),
        steps: 0,
        refused_last: None,
        denied: HashSet::new(),
        tokens: None,
        cost: None,
        told: (None, None),
        aside: plan.and_then(|plan| Aside::open(&plan).ok()),
        below: HashSet::new(),
        asking: 0,
        answers: HashMap::new(),
        prompting: false,
        more: None,
        takes_more: false,
        queued: None,
        cut: false,
        recalls: false,
        pulse: Pulse::default(),
        stopped: None,
    };
    let ended = session.open().and_then(|()| session.prompt(&prompt));
    session.agent.dismiss(LEAVE_PATIENCE);
    ended
}

/// Reads what it is asked, and passes on as an input what it is told later.
fn hear_words(input: Box<dyn Read + Send>, sender: Sender<Input>) -> std::io::Result<String> {
    let mut lines = BufReader::new(input).lines();
    let first = lines.next().unwrap_or_else(|| Err(std::io::ErrorKind::UnexpectedEof.into()))?;
    let Word::Prompt(prompt) = serde_json::from_str(&first)? else {
        return Err(std::io::ErrorKind::InvalidData.into());
    };
    thread::Builder::new().name("words".to_owned()).spawn(move || {
        for word in lines.map_while(Result::ok).filter_map(|line| serde_json::from_str(&line).ok()) {
            let input = match word {
                Word::More(text) => Input::More(text),
                Word::Stop => Input::Stop,
                Word::Prompt(_) => continue,
            };
            if sender.send(input).is_err() {
                return;
            }
        }
    })?;
    Ok(prompt)
}

/// Passes SIGTERM on as an input.
fn hear_signals(sender: Sender<Input>) -> std::io::Result<()> {
    let (mut heard, told) = std::os::unix::net::UnixStream::pair()?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGTERM, told)?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut byte = [0];
        while heard.read_exact(&mut byte).is_ok() && sender.send(Input::Stop).is_ok() {}
    })?;
    Ok(())
}

impl Session<'_, '_> {
    /// Introduces itself and opens a session.
    fn open(&mut self) -> Stopped<()> {
        let hello = self.ask("initialize", &v1::initialize(), Some(BEGIN_PATIENCE))?;
        if hello["protocolVersion"] != v1::VERSION {
            let text = format!("it speaks version {} of the protocol; known is 1", hello["protocolVersion"]);
            return Err(failed(FailureClass::Permanent, text));
        }
        self.takes_more = v1::takes_more(&hello);
        let method = v1::way_back(&hello);
        let takes_http = hello["agentCapabilities"]["mcpCapabilities"]["http"] == true;
        let of_repository = self.spec.servers.iter().filter(|server| takes_http || server["url"].is_null());
        let servers: Vec<Value> = self.own_server().into_iter().chain(of_repository.cloned()).collect();
        let params = v1::session(&self.place.dir, &servers, self.spec.meta.as_ref());
        let session = match (&self.spec.resume, method) {
            (Some(id), Some(method)) => self.go_back(method, &id.clone(), params)?,
            (Some(_), None) => return Err(v1::no_session("it knows no way back into one")),
            (None, _) => self.ask("session/new", &params, Some(BEGIN_PATIENCE))?,
        };
        if self.id.is_empty() {
            session["sessionId"].as_str().unwrap_or_default().clone_into(&mut self.id);
        }
        // What nobody can go back into is not worth knowing.
        let id = method.map(|_| self.id.clone()).unwrap_or_default();
        self.teller.say(&Saying::Session { id, model: self.spec.model.clone() });
        self.begin_aside();
        let mode = self.spec.mode.as_ref().and_then(|mode| v1::choose_mode(&session, &self.id, mode));
        if let Some((method, params)) = mode {
            self.ask(method, &params, Some(BEGIN_PATIENCE))?;
        }
        let choice = self.spec.model.as_ref().and_then(|model| v1::choose_model(&session, &self.id, model));
        if let Some((method, params)) = choice {
            // A model that it does not know by this name may be the one that it has anyway.
            if let Err(why) = self.ask(method, &params, Some(BEGIN_PATIENCE)) {
                self.teller.say(&Saying::Note { text: format!("the model was not chosen: {}", why.text) });
            }
        }
        Ok(())
    }

    /// Goes on in the session of an earlier attempt, of which nothing is heard again.
    fn go_back(&mut self, method: &str, id: &str, mut params: Value) -> Stopped<Value> {
        params["sessionId"] = json!(id);
        id.clone_into(&mut self.id);
        self.recalls = true;
        let session = self.ask(method, &params, Some(BEGIN_PATIENCE));
        self.recalls = false;
        session.map_err(|end| if end.until.is_some() { end } else { v1::no_session(&end.text) })
    }

    /// Takes what was said before for known, where opencode says it beside the protocol.
    fn begin_aside(&mut self) {
        let Some(mut aside) = self.aside.take() else { return };
        if aside.begin(&self.id) {
            self.aside = Some(aside);
        } else {
            let text = "its own server does not answer: what it uses is told at the end, and only in part"
                .to_owned();
            self.teller.say(&Saying::Note { text });
        }
    }

    /// kapell's own tools for the agent: to say how far it is, give outputs, ask a person.
    fn own_server(&self) -> Option<Value> {
        let variables = [protocol::SOCKET, protocol::TOKEN, MARKER, "KAPELL_TASK", "KAPELL_ATTEMPT"];
        let variable = |name: &str| Some(json!({ "name": name, "value": (self.env)(name)?.to_str()? }));
        let env: Option<Vec<Value>> = variables.into_iter().map(variable).collect();
        let program = &self.place.program;
        let server = env.map(
            |env| json!({ "name": "kapell", "command": program, "args": ["mcp", "--attempt"], "env": env }),
        );
        server.filter(|_| self.spec.tools)
    }

    /// Gives it the prompt, and listens until it is done.
    fn prompt(&mut self, prompt: &str) -> Stopped<End> {
        if self.aside.is_none() {
            self.teller.say(&Saying::Step);
        }
        let mut answer = self.turn(prompt)?;
        while self.stopped.is_none()
            && let Some(word) = self.more.take()
        {
            answer = self.turn(&word)?;
        }
        self.look(true);
        self.say_usage();
        self.say_text();
        if let Some((_, mut end)) = self.stopped.take() {
            if answer["stopReason"] == "cancelled" {
                end.text.push_str(" (it heard)");
            }
            return Ok(end);
        }
        let text = std::mem::take(&mut self.text);
        Ok(match (answer["stopReason"].as_str(), &self.refused_last) {
            (Some("end_turn"), Some((tool, _))) => refused(tool, &text).into(),
            (Some("end_turn"), None) => self.unfinished().unwrap_or_else(|| End::succeeded(text)),
            (Some("max_tokens"), _) => {
                End::failed(FailureClass::InvalidOutput, "its reply was cut off at the limit of its length")
            }
            (Some("max_turn_requests"), _) => {
                End::failed(FailureClass::Timeout, "it has taken all the turns that it may")
            }
            (Some("refusal"), _) => {
                End::failed(FailureClass::Permanent, format!("the model refuses: {}", short(&text)))
            }
            (Some("cancelled"), Some((tool, _))) => refused(tool, &text).into(),
            (reason, _) => {
                let reason = reason.unwrap_or("it does not say why");
                End::failed(FailureClass::Transient, format!("it ended without being done: {reason}"))
            }
        })
    }

    /// Has it take a turn; returns the answer to that, or to the prompt that it was given meanwhile.
    fn turn(&mut self, text: &str) -> Stopped<Value> {
        const METHOD: &str = "session/prompt";
        self.say_text();
        self.text.clear();
        let number = self.agent.request(METHOD, &v1::prompt(&self.id, text));
        (self.prompting, self.cut) = (true, false);
        let mut answered = self.answer_to(number, METHOD, None)?;
        self.count(&answered);
        if let (Ok(_), None, Some(queued)) = (&answered, &self.stopped, self.queued) {
            answered = self.answer_to(queued, METHOD, None)?;
            self.count(&answered);
            self.queued = None;
        }
        self.prompting = false;
        match answered {
            // Some call it an error that they were cancelled. It goes on with the word.
            Err(_) if self.cut && self.stopped.is_none() => Ok(Value::Null),
            answered => answered.map_err(|error| self.judge(METHOD, &error)),
        }
    }

    fn count(&mut self, answered: &Result<Value, Value>) {
        if let Some(tokens) = answered.as_ref().ok().and_then(v1::usage) {
            *self.tokens.get_or_insert_default() += tokens;
        }
    }

    /// Asks for something, and deals with all that comes until it is answered.
    fn ask(&mut self, method: &str, params: &Value, patience: Option<Duration>) -> Stopped<Value> {
        let number = self.agent.request(method, params);
        self.answer_to(number, method, patience)?.map_err(|error| self.judge(method, &error))
    }

    /// Deals with all that comes until a request is answered.
    fn answer_to(
        &mut self,
        number: u64,
        method: &str,
        patience: Option<Duration>,
    ) -> Stopped<Result<Value, Value>> {
        let until = patience.map(|patience| Instant::now() + patience);
        let mut look = Instant::now() + LOOK_EVERY;
        loop {
            if let Some(result) = self.answers.remove(&number) {
                return Ok(result);
            }
            let due = self.stopped.as_ref().map(|(due, _)| *due).or(until);
            let looks = self.prompting && self.aside.is_some() && self.stopped.is_none();
            let next = due.into_iter().chain(looks.then_some(look)).min();
            let left = next.map_or(Duration::MAX, |next| next.saturating_duration_since(Instant::now()));
            match self.agent.inputs.recv_timeout(left) {
                Ok(Input::Message(Message::Answer { id, result }, _))
                    if id == number || Some(id) == self.queued =>
                {
                    self.answers.insert(id, result);
                }
                Ok(input) => self.deal_with(input)?,
                Err(RecvTimeoutError::Timeout) if due.is_some_and(|due| due <= Instant::now()) => {
                    let silent = format!("it did not answer `{method}` in time");
                    let ended = self.stopped.take().map(|(_, end)| end);
                    return Err(Box::new(
                        ended.unwrap_or_else(|| End::failed(FailureClass::Timeout, silent)),
                    ));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(self.gone()),
            }
            if looks && Instant::now() >= look {
                self.look(false);
                look = Instant::now() + LOOK_EVERY;
            }
        }
    }

    /// Looks at what opencode says beside the protocol: at all of it, or at what is new.
    fn look(&mut self, all: bool) {
        let Some(mut aside) = self.aside.take() else { return };
        if all {
            aside.look_at_all(&self.id);
        } else {
            aside.look(&self.id);
        }
        while self.steps < aside.ledger.tries() {
            self.step();
        }
        let wishes = if all { Vec::new() } else { aside.wishes_below(&self.id) };
        self.aside = Some(aside);
        self.say_usage();
        for (request, params) in wishes {
            if self.below.insert(request.clone()) {
                self.permit(json!({ BELOW: request }), &Wish::of(&params));
            }
        }
        self.end_if_many();
    }

    fn step(&mut self) {
        self.steps += 1;
        self.teller.say(&Saying::Step);
    }

    fn end_if_many(&mut self) {
        if self.steps > self.spec.steps_max {
            let text = format!("it took more than {} steps, and was ended", self.spec.steps_max);
            self.cancel(End::failed(FailureClass::Timeout, text));
        }
    }

    /// Says what was used, if that is not what was said last.
    fn say_usage(&mut self) {
        let aside = self.aside.as_ref().map(|aside| &aside.ledger);
        let used = match aside.and_then(|ledger| Some((ledger.tokens()?, ledger.usd_micros()))) {
            Some((tokens, cost)) => (Some(tokens), cost),
            None => (self.tokens, self.cost),
        };
        if used != self.told {
            self.told = used;
            self.teller.say(&Saying::Usage { tokens: used.0.unwrap_or_default(), usd_micros: used.1 });
        }
    }

    /// Says why it is not done although it says so, where opencode says that beside the protocol.
    fn unfinished(&self) -> Option<End> {
        let ledger = &self.aside.as_ref()?.ledger;
        if let Some((status, words)) = ledger.error() {
            return Some(failure(*status, words, Wall(wall_ms())).into());
        }
        let seen = ledger.tries() > 0;
        opencode::unfinished(ledger.finish().unwrap_or("no reply")).filter(|_| seen).map(End::from)
    }

    fn deal_with(&mut self, input: Input) -> Stopped<()> {
        match input {
            Input::Message(Message::Notice { method, params }, _) if method == "session/update" => {
                self.hear(v1::update(&params));
                if self.pulse.beats(Instant::now()) {
                    self.teller.say(&Saying::Alive);
                }
            }
            Input::Message(Message::Request { id, method, params }, _) => match method.as_str() {
                "session/request_permission" => self.permit(id, &Wish::of(&params)),
                _ => self.agent.refuse(&id, &method),
            },
            Input::Message(..) => {}
            Input::Answered { id, wish, answer } => {
                self.asking -= 1;
                self.answered(&id, &wish, answer);
                self.pass_on();
            }
            Input::More(text) => {
                self.more = Some(text);
                self.pass_on();
            }
            Input::Stop => self.cancel(End::failed(FailureClass::Transient, "it was asked to stop")),
            Input::Gone => return Err(self.gone()),
        }
        Ok(())
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            _ if self.recalls => {}
            Heard::Said(piece) => add_said(&mut self.text, &piece),
            Heard::Tool { id, tool, about } => {
                self.say_text();
                self.text.clear();
                // Where they are counted beside the protocol, it has taken one at least.
                if self.aside.is_none() || self.steps == 0 {
                    self.step();
                }
                self.calls.insert(id.clone(), tool);
                self.untold.insert(id.clone(), about);
                if self.aside.is_none() {
                    self.tell_call(&id, None);
                }
                self.end_if_many();
            }
            Heard::Going { id, about } => self.tell_call(&id, Some(about)),
            Heard::Ended { id, failed } => self.ended(&id, failed),
            Heard::Cost(usd_micros) => {
                self.cost = Some(usd_micros);
                self.say_usage();
            }
            Heard::Thought | Heard::Other => {}
        }
    }

    /// Tells of a call, once, with what is known of it now.
    fn tell_call(&mut self, id: &str, about: Option<String>) {
        let Some(before) = self.untold.remove(id) else { return };
        let tool = self.calls.get(id).cloned().unwrap_or_default();
        let about = about.filter(|about| !about.is_empty()).unwrap_or(before);
        self.teller.say(&Saying::Tool { tool, about });
    }

    fn ended(&mut self, id: &str, failed: Option<String>) {
        self.tell_call(id, None);
        let tool = self.calls.get(id).cloned().unwrap_or_default();
        match failed {
            None => {
                self.refused_last = None;
                self.teller.say(&Saying::Done { tool });
            }
            // Its own rules did, and nobody was asked.
            Some(text) if self.spec.aside && opencode::is_refusal(&text) && !self.denied.contains(id) => {
                self.refused_last = Some((tool.clone(), text.clone()));
                self.teller.say(&Saying::Refused { tool, text });
            }
            Some(_) => {}
        }
    }

    /// Tells it the word that there is for it, if it can hear it. While a person is asked, it works on nothing else.
    fn pass_on(&mut self) {
        if !self.prompting || self.stopped.is_some() || self.asking > 0 || self.cut {
            return;
        }
        if !self.takes_more {
            if self.more.is_some() {
                self.cut = true;
                self.agent.notify("session/cancel", &json!({ "sessionId": self.id }));
            }
        } else if self.queued.is_none()
            && let Some(text) = self.more.take()
        {
            self.queued = Some(self.agent.request("session/prompt", &v1::prompt(&self.id, &text)));
        }
    }

    fn say_text(&mut self) {
        if !self.text.trim().is_empty() {
            self.teller.say(&Saying::Said { text: self.text.clone() });
        }
    }

    /// Asks it to stop, once; then it has a moment.
    fn cancel(&mut self, end: End) {
        if self.stopped.is_none() {
            self.stopped = Some((Instant::now() + CANCEL_PATIENCE, end));
            self.agent.notify("session/cancel", &json!({ "sessionId": self.id }));
        }
    }

    fn permit(&mut self, id: Value, wish: &Wish) {
        if let Some(call) = wish.call["toolCallId"].as_str() {
            self.tell_call(call, Some(v1::described(&wish.call)));
        }
        // Whoever is cancelled gets no other answer.
        if self.stopped.is_some() || self.cut {
            return self.settle(&id, None);
        }
        match permission::decide(wish, self.spec.permissions, &self.place.dir) {
            Decision::Allow => self.settle(&id, wish.first(Kind::Allow)),
            Decision::Deny(why) => self.deny(&id, wish, why),
            Decision::Ask { question, choices } => self.ask_person(id, wish, question, choices),
        }
    }

    fn deny(&mut self, id: &Value, wish: &Wish, why: String) {
        let tool = v1::tool(&wish.call);
        self.denied.extend(wish.call["toolCallId"].as_str().map(str::to_owned));
        self.refused_last = Some((tool.clone(), why.clone()));
        self.teller.say(&Saying::Refused { tool, text: why });
        self.settle(id, wish.first(Kind::Reject));
    }

    /// Answers a request for permission where it was put.
    fn settle(&mut self, id: &Value, option: Option<&str>) {
        match (id[BELOW].as_str(), &self.aside) {
            (Some(request), Some(aside)) => aside.reply(request, option),
            _ => self.agent.answer(id, &v1::decided(option)),
        }
    }

    /// Asks a person, who may take days; what the agent says meanwhile is heard.
    fn ask_person(&mut self, id: Value, wish: &Wish, question: String, choices: Vec<String>) {
        let mut words: Vec<OsString> = vec!["ask".into(), question.into()];
        words.extend(choices.into_iter().flat_map(|choice| ["--choice".into(), choice.into()]));
        let variables = [protocol::SOCKET, protocol::TOKEN, MARKER];
        let env: HashMap<&str, OsString> =
            variables.into_iter().filter_map(|name| Some((name, (self.env)(name)?))).collect();
        let (sender, wish) = (self.sender.clone(), wish.clone());
        let asker = thread::Builder::new().name("asker".to_owned());
        let asked = asker.spawn(move || {
            let answer = client::run(&words, |name| env.get(name).cloned());
            let answer = answer.map(Option::unwrap_or_default).map_err(|error| error.to_string());
            let _ = sender.send(Input::Answered { id, wish, answer });
        });
        match asked {
            Ok(_) => self.asking += 1,
            // The request stays open, and the agent silent: somebody notices.
            Err(error) => self.teller.say(&Saying::Note { text: format!("nobody can be asked: {error}") }),
        }
    }

    fn answered(&mut self, id: &Value, wish: &Wish, answer: Result<String, String>) {
        match answer.as_deref().map(|answer| permission::chosen(wish, answer)) {
            Ok(Some((option, _, Kind::Allow))) => self.settle(id, Some(option)),
            Ok(_) => self.deny(id, wish, "a person said no".to_owned()),
            Err(why) => self.deny(id, wish, format!("nobody could be asked: {why}")),
        }
    }

    /// Judges an error that the agent answers with.
    fn judge(&mut self, method: &str, error: &Value) -> Box<End> {
        self.look(true);
        self.say_usage();
        if let Some((_, end)) = self.stopped.take() {
            return Box::new(end);
        }
        let aside = self.aside.as_ref().filter(|_| method == "session/prompt");
        if let Some((status, words)) = aside.and_then(|aside| aside.ledger.error().cloned()) {
            return self.failed(failure(status, &words, Wall(wall_ms())).into());
        }
        let message = error["message"].as_str().unwrap_or("an error without a word");
        let detail = match &error["data"] {
            Value::Null => String::new(),
            Value::String(text) => format!(": {text}"),
            data => format!(": {}", data["details"].as_str().map_or_else(|| data.to_string(), str::to_owned)),
        };
        let text = format!("{message}{detail}");
        let at = Wall(wall_ms());
        let end: End = match error["code"].as_i64() {
            // The protocol's own code: it wants a login.
            Some(-32000) if method != "session/prompt" => {
                End::failed(FailureClass::Permanent, format!("it wants a login or a key: {text}"))
            }
            // Those of JSON-RPC for requests that are wrong.
            Some(-32602..=-32600) => End::failed(FailureClass::Permanent, format!("`{method}`: {text}")),
            _ => failure(None, &text, at).into(),
        };
        self.failed(end)
    }

    fn failed(&mut self, end: End) -> Box<End> {
        if matches!(end.class, Some(FailureClass::RateLimited | FailureClass::Quota)) {
            self.teller.say(&Saying::Limited { until: end.until, text: end.text.clone() });
        }
        Box::new(end)
    }

    fn gone(&mut self) -> Box<End> {
        let ended = self.stopped.take().map(|(_, end)| end);
        let why = match self.id.is_empty() {
            true => "the agent went away before it began: does its program speak the Agent Client Protocol?",
            false => "the agent went away",
        };
        Box::new(ended.unwrap_or_else(|| End::gone(why)))
    }
}
