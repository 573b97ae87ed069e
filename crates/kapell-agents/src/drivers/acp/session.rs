//! One prompt, from the first word to the last.

use std::{
    collections::HashMap,
    ffi::OsString,
    io::{BufRead, BufReader, Read},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use kapell_core::{retry::FailureClass, time::Wall};
use serde_json::{Value, json};

use super::{
    Heard, Spec,
    permission::{self, Decision},
    v1::{self, Kind, Wish},
    wire::{Agent, Input, Message},
};
use crate::{
    drivers::{
        client::{failure, refused, short},
        own::{
            Begun, Env, Place, Stopped, Word, failed,
            saying::{End, Saying, Teller},
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
    steps: u32,
    /// The last call that was not let.
    refused_last: Option<(String, String)>,
    cost: Option<u64>,
    /// Whether it tells what was said in the session before: that is known.
    recalls: bool,
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
    let agent = Agent::start(&spec.argv, sender.clone(), inputs).map_err(|error| {
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
        steps: 0,
        refused_last: None,
        cost: None,
        recalls: false,
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
            if matches!(word, Word::Stop) && sender.send(Input::Stop).is_err() {
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
        if let Some(mode) = self.spec.mode.as_deref().filter(|mode| v1::has_mode(&session, mode)) {
            let params = json!({ "sessionId": self.id, "modeId": mode });
            self.ask("session/set_mode", &params, Some(BEGIN_PATIENCE))?;
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
        self.teller.say(&Saying::Step);
        let answer = self.ask("session/prompt", &v1::prompt(&self.id, prompt), None)?;
        let tokens = v1::usage(&answer);
        if tokens.is_some() || self.cost.is_some() {
            self.teller.say(&Saying::Usage { tokens: tokens.unwrap_or_default(), usd_micros: self.cost });
        }
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
            (Some("end_turn"), None) => End::succeeded(text),
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

    /// Asks for something, and deals with all that comes until it is answered.
    fn ask(&mut self, method: &str, params: &Value, patience: Option<Duration>) -> Stopped<Value> {
        let number = self.agent.request(method, params);
        let until = patience.map(|patience| Instant::now() + patience);
        loop {
            let due = self.stopped.as_ref().map(|(due, _)| *due).or(until);
            let left = due.map_or(Duration::MAX, |due| due.saturating_duration_since(Instant::now()));
            match self.agent.inputs.recv_timeout(left) {
                Ok(Input::Message(Message::Answer { id, result })) if id == number => {
                    return result.map_err(|error| self.judge(method, &error));
                }
                Ok(input) => self.deal_with(input)?,
                Err(RecvTimeoutError::Timeout) => {
                    let silent = format!("it did not answer `{method}` in time");
                    let ended = self.stopped.take().map(|(_, end)| end);
                    return Err(Box::new(
                        ended.unwrap_or_else(|| End::failed(FailureClass::Timeout, silent)),
                    ));
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.gone()),
            }
        }
    }

    fn deal_with(&mut self, input: Input) -> Stopped<()> {
        match input {
            Input::Message(Message::Notice { method, params }) if method == "session/update" => {
                self.hear(v1::update(&params));
            }
            Input::Message(Message::Request { id, method, params }) => match method.as_str() {
                "session/request_permission" => self.permit(id, &Wish::of(&params)),
                _ => self.agent.refuse(&id, &method),
            },
            Input::Message(_) => {}
            Input::Answered { id, wish, answer } => self.answered(&id, &wish, answer),
            Input::Stop => self.cancel(End::failed(FailureClass::Transient, "it was asked to stop")),
            Input::Gone => return Err(self.gone()),
        }
        Ok(())
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            _ if self.recalls => {}
            Heard::Said(piece) => self.text.push_str(&piece),
            Heard::Tool { id, tool, about } => {
                self.say_text();
                self.text.clear();
                self.steps += 1;
                self.teller.say(&Saying::Step);
                self.teller.say(&Saying::Tool { tool: tool.clone(), about });
                self.calls.insert(id, tool);
                if self.steps > self.spec.steps_max {
                    let text = format!("it took more than {} steps, and was ended", self.spec.steps_max);
                    self.cancel(End::failed(FailureClass::Timeout, text));
                }
            }
            Heard::Ended { id, failed } => {
                let tool = self.calls.get(&id).cloned().unwrap_or_default();
                if !failed {
                    self.refused_last = None;
                    self.teller.say(&Saying::Done { tool });
                }
            }
            Heard::Cost(usd_micros) => self.cost = Some(usd_micros),
            Heard::Thought | Heard::Other => {}
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
        if self.stopped.is_some() {
            self.agent.answer(&id, &v1::decided(None));
            return;
        }
        match permission::decide(wish, self.spec.permissions, &self.place.dir) {
            Decision::Allow => self.agent.answer(&id, &v1::decided(wish.first(Kind::Allow))),
            Decision::Deny(why) => self.deny(&id, wish, why),
            Decision::Ask { question, choices } => self.ask_person(id, wish, question, choices),
        }
    }

    fn deny(&mut self, id: &Value, wish: &Wish, why: String) {
        let tool = v1::tool(&wish.call);
        self.refused_last = Some((tool.clone(), why.clone()));
        self.teller.say(&Saying::Refused { tool, text: why });
        self.agent.answer(id, &v1::decided(wish.first(Kind::Reject)));
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
        if let Err(error) = asked {
            // The request stays open, and the agent silent: somebody notices.
            self.teller.say(&Saying::Note { text: format!("nobody can be asked: {error}") });
        }
    }

    fn answered(&mut self, id: &Value, wish: &Wish, answer: Result<String, String>) {
        match answer.as_deref().map(|answer| permission::chosen(wish, answer)) {
            Ok(Some((option, _, Kind::Allow))) => self.agent.answer(id, &v1::decided(Some(option))),
            Ok(_) => self.deny(id, wish, "a person said no".to_owned()),
            Err(why) => self.deny(id, wish, format!("nobody could be asked: {why}")),
        }
    }

    /// Judges an error that the agent answers with.
    fn judge(&mut self, method: &str, error: &Value) -> Box<End> {
        if let Some((_, end)) = self.stopped.take() {
            return Box::new(end);
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
        if matches!(end.class, Some(FailureClass::RateLimited | FailureClass::Quota)) {
            self.teller.say(&Saying::Limited { until: end.until, text: end.text.clone() });
        }
        Box::new(end)
    }

    fn gone(&mut self) -> Box<End> {
        let ended = self.stopped.take().map(|(_, end)| end);
        Box::new(ended.unwrap_or_else(|| End::failed(FailureClass::Transient, "the agent went away")))
    }
}
