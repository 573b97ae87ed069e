//! How an attempt of a client is begun: what it is told, what it is kept from, and where it goes on.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use kapell_core::{id::AttemptNo, retry::FailureClass};
use kapell_engine::port::agents::{AttemptKey, Failure, Order};

use super::{super::broker::allowance, CrewAgents, permanent};
use crate::{
    contain::{Contained, Level, root_of_program, tools},
    drivers::{
        Supervision, Work,
        client::{self, Client, Limit, Shape, past},
        job::looked_up,
        mcp,
    },
    lock::lock,
    trust::{Inventory, Standing, Trusted},
};

impl CrewAgents {
    pub(super) fn client(
        &self,
        client: Client,
        prompt: &str,
        order: &Order,
    ) -> Result<client::Order, Failure> {
        let home = self.places.env.iter().find(|(name, _)| name == "HOME");
        let shape = order.outputs.as_deref().map(Shape::parse).transpose();
        let shape =
            shape.map_err(|why| permanent(format!("the schema of its outputs cannot be used: {why}")))?;
        let options = order.agent.as_ref().map(|agent| agent.options.clone()).unwrap_or_default();
        let resumes = options.get("resume").is_none_or(|text| text != "no");
        let (prompt, resume) = match order.key.attempt {
            AttemptNo(..=1) => (prompt.to_owned(), None),
            _ => self.go_on(client, prompt, order, resumes),
        };
        let settings = self.places.clients.get(&client).cloned().unwrap_or_default();
        let mut order = client::Order {
            kapell: self.program.clone(),
            settings: self.found(client, settings),
            options,
            user_home: home.map(|(_, home)| home.into()),
            prices: self.places.prices.clone(),
            resume,
            shape,
            workspace: order.dir.clone(),
            own_program: own_program(&self.program),
            is_trusted: self.trusts(&order.dir),
            limit: Limit {
                usd_micros: order.allowance.usd_micros,
                tokens: order.allowance.tokens,
                ends: true,
            },
            purse: order.allowance.is_shared.then(|| self.purses.open(order.key.run, allowance(order, None))),
            ..client::Order::new(client, prompt, self.places.home(order.key))
        };
        order.settle();
        Ok(order)
    }

    /// Looks up the program of a client where the user's own programs are. The `PATH` of a workflow has no say in which
    /// program gets the key.
    fn found(&self, client: Client, mut settings: client::Settings) -> client::Settings {
        let name = settings.program.take().unwrap_or_else(|| client.program().into());
        let env = [self.places.env.as_slice(), &settings.env].concat();
        let found = looked_up(name.as_os_str(), &env);
        settings.program = Some(found).filter(|name| !name.as_os_str().is_empty());
        settings
    }

    /// Says what a later attempt is asked, and in which session.
    fn go_on(
        &self,
        client: Client,
        prompt: &str,
        order: &Order,
        resumes: bool,
    ) -> (String, Option<client::Resume>) {
        let AttemptNo(number) = order.key.attempt;
        let before = (1..number).rev().map(|number| AttemptKey { attempt: AttemptNo(number), ..order.key });
        let mut pasts =
            before.filter_map(|key| past::read(&self.places.attempt(key), &self.places.prices)).peekable();
        let resumes = resumes && !pasts.peek().is_some_and(|last| last.got_nowhere(&order.earlier));
        // One that did not even begin knows nothing.
        let past = pasts.find(|past| past.evidence().steps > 0);
        let session = past
            .as_ref()
            .filter(|_| resumes)
            .and_then(|past| past.session(client, &order.dir, &order.earlier));
        let prompt = match &session {
            Some(_) => past::go_on(prompt, &order.earlier),
            None => past::hand_off(prompt, past.as_ref(), &order.earlier),
        };
        (prompt, session)
    }

    /// Starts an attempt. One that cannot be started may have been let in by the proxy.
    pub(super) fn begin(&self, order: &Order) -> Result<(), Failure> {
        let mut job = self.job(order)?;
        let door = match &mut job.work {
            Work::Client(client) => self.connect(client, order)?,
            _ => None,
        };
        if let (Work::Client(client), Some(_)) = (&mut job.work, &door) {
            // The proxy refuses what would be too much, before it is spent.
            client.limit.ends = false;
            client.purse = None;
        }
        if let Work::Client(client) = &job.work
            && client.purse.as_ref().is_some_and(|purse| purse.percent() >= 100)
        {
            let message = "what was left of the run's budget is spent".to_owned();
            return Err(Failure { class: FailureClass::Budget, message, until: None });
        }
        if job.contained.is_none() && matches!(job.work, Work::Shell(_) | Work::Program(_) | Work::Client(_))
        {
            job.contained = self.contain(order, door)?;
        }
        let below = match &job.work {
            Work::Client(client) => client.below().map(|program| job.resolved(&[program])),
            _ => None,
        };
        if let (Work::Client(client), Some(contained)) = (&mut job.work, &mut job.contained) {
            let program = below.iter().flatten().map(PathBuf::from);
            contained.room_mut().readable.extend(program.filter_map(|program| root_of_program(&program)));
            client.contained = contained.chosen().level >= Level::Files;
            contained.room_mut().writable.extend(client.lent());
            contained.room_mut().readable.extend(tools(&client.settings.env));
        }
        if let Work::Client(client) = &job.work
            && !client.is_trusted
        {
            hide(client.client, &order.dir, job.contained.as_mut())?;
        }
        if job.contained.as_ref().is_some_and(|contained| contained.chosen().level == Level::Nothing) {
            job.supervision = Supervision::Group;
        }
        if let Work::Shell(text) = &job.work
            && let Some(script) = self.script(text, &order.dir)
        {
            lock(&self.scripts).insert(order.key, script);
        }
        self.crew.start(order.key, job).map_err(|error| Failure {
            class: FailureClass::Transient,
            message: format!("{error} ({})", error.hint()),
            until: None,
        })
    }

    /// Returns a server that the user's repository names, if it is trusted as it lies there.
    pub(super) fn brought(&self, server: &str) -> Option<mcp::Server> {
        let (_, top) = self.trusted.as_ref()?;
        mcp::brought(top).remove(server).filter(|_| self.trusts(top))
    }

    /// Tells whether a person trusts what the repository brings along for agents, as it is in `workspace`.
    fn trusts(&self, workspace: &Path) -> bool {
        let Some((record, top)) = &self.trusted else { return false };
        // What cannot be judged is not trusted.
        let standing =
            Trusted::read(record).and_then(|trusted| Ok(trusted.standing(top, &Inventory::of(workspace)?)));
        matches!(standing, Ok(Standing::Trusted))
    }
}

/// The system takes no longer variable, its name and the zero byte at its end included (`MAX_ARG_STRLEN`, execve(2)).
const VARIABLE_BYTES_MAX: usize = 128 << 10;

fn length(name: &OsStr, value: &OsStr) -> usize {
    name.len() + value.len() + 2
}

/// Says which variable is too long to start a process with, and what to do instead. The system itself only says that its
/// list of arguments is.
pub(super) fn too_long(env: &[(OsString, OsString)]) -> Option<String> {
    let (name, value) = env.iter().find(|(name, value)| length(name, value) > VARIABLE_BYTES_MAX)?;
    Some(format!(
        "the variable `{}` has {} bytes, and the system takes {VARIABLE_BYTES_MAX} at most: write it to a file, and give \
         its path (an output that is put into `run:` or `env:` becomes a variable)",
        name.display(),
        value.len()
    ))
}

/// Returns where kapell's own program lies, so that a client can call it; nothing if it is not there any more.
fn own_program(program: &Path) -> Option<PathBuf> {
    let path = std::fs::read_link(program).unwrap_or_else(|_| program.to_owned());
    path.is_file().then_some(path)
}

/// The code of programs that a repository brings along for a client that would execute them.
const EXECUTES: &str = "K0815";

/// Keeps from a client what it would execute of the repository in spite of its switches.
///
/// # Errors
///
/// Refuses the attempt where that cannot be done.
fn hide(client: Client, dir: &Path, contained: Option<&mut Contained>) -> Result<(), Failure> {
    let brought =
        client.executes().iter().map(|name| dir.join(name)).filter(|path| path.symlink_metadata().is_ok());
    let brought: Vec<PathBuf> = brought.collect();
    match contained.filter(|contained| contained.chosen().level >= Level::Namespaces) {
        Some(contained) => contained.room_mut().hidden.extend(brought),
        None => {
            if let Some(path) = brought.first() {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let message = format!(
                    "{EXECUTES}: {} executes what the repository brings along in `{name}`, whatever it is told, and only \
                     containment level 3 can keep that from it (kapell doctor)",
                    client.adapter()
                );
                return Err(Failure { class: FailureClass::Permission, message, until: None });
            }
        }
    }
    Ok(())
}

/// Returns what a model is told: the brief, in which the prompt is.
pub(super) fn said<'a>(prompt: &'a str, order: &'a Order) -> &'a str {
    if order.brief.text.is_empty() { prompt } else { &order.brief.text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_for_a_variable_is_said_by_its_name() {
        let of = |bytes: usize| (OsString::from("LOG"), OsString::from("x".repeat(bytes)));
        let most = VARIABLE_BYTES_MAX - "LOG=".len() - 1;
        assert_eq!(too_long(&[of(1), of(most)]), None);
        assert!(too_long(&[of(1), of(most + 1)]).unwrap().starts_with("the variable `LOG` has"));
        // The system itself draws the line there.
        for (bytes, starts) in [(most, true), (most + 1, false)] {
            let (name, value) = of(bytes);
            let started = std::process::Command::new("/bin/true").env_clear().env(name, value).status();
            assert_eq!(started.is_ok(), starts, "{bytes}");
        }
    }
}
