//! Agents of kapell's own: what the processes that kapell re-executes itself as have in common.
//!
//! Each is told by a file what it is, takes its prompt from its standard input (and there hears what it is told later),
//! works in the directory in which it is
//! started, and prints what happens, one saying a line. So all that holds for other clients holds for it.

pub(super) mod saying; // what is printed, and how it is read

use std::{
    ffi::OsString,
    fs, io,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use kapell_core::retry::FailureClass;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use self::saying::{End, Saying, Teller};

/// Where an agent of kapell's own is.
#[derive(Debug, Clone)]
pub struct Place {
    /// The directory in which it works.
    pub dir: PathBuf,
    /// kapell's own program, by the path at which it is found from there.
    pub program: PathBuf,
}

/// What an agent of kapell's own finds around it.
pub struct Surroundings<'a> {
    /// Looks up a variable.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// Where it works, and what kapell's own program is.
    pub place: io::Result<Place>,
    /// Takes its prompt from here.
    pub input: Box<dyn Read + Send>,
    /// Takes what happens, one event a line.
    pub out: &'a mut dyn Write,
}

/// Looks up a variable.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Ends early, with a reason.
pub(super) type Stopped<T> = Result<T, Box<End>>;

/// Makes a reason to end early.
pub(super) fn failed(class: FailureClass, text: impl Into<String>) -> Box<End> {
    Box::new(End::failed(class, text))
}

/// What an agent begins with.
pub(super) struct Begun<S> {
    /// What it is told besides its prompt.
    pub(super) spec: S,
    pub(super) place: Place,
    /// Where its prompt is, and what it is told later.
    pub(super) input: Box<dyn Read + Send>,
}

/// Has an agent work, and says how that ended; `arguments` is the file with what it is told.
pub(super) fn perform<S: DeserializeOwned>(
    arguments: &[OsString],
    surroundings: Surroundings<'_>,
    work: impl FnOnce(Begun<S>, Env<'_>, &mut Teller<'_>) -> Stopped<End>,
) -> ExitCode {
    let Surroundings { env, place, input, out } = surroundings;
    let mut teller = Teller::new(out);
    let begun = begin(arguments, place, input);
    let begun = begun.map_err(|why| failed(FailureClass::Permanent, why));
    let ended = begun.and_then(|begun| work(begun, env, &mut teller)).unwrap_or_else(|end| *end);
    let failed = ended.class.is_some();
    teller.say(&Saying::End(ended));
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn begin<S: DeserializeOwned>(
    arguments: &[OsString],
    place: io::Result<Place>,
    input: Box<dyn Read + Send>,
) -> Result<Begun<S>, String> {
    let [path] = arguments else { return Err("it is told by one file what it is".to_owned()) };
    let spec = read_spec(Path::new(path))?;
    let place = place.and_then(|place| Ok(Place { dir: fs::canonicalize(&place.dir)?, ..place }));
    let place = place.map_err(|error| format!("there is no directory to work in: {error}"))?;
    Ok(Begun { spec, place, input })
}

/// What an agent that hears more than its prompt is told, a line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    /// What it is asked. Comes first.
    Prompt(String),
    /// A word from kapell, while it works.
    More(String),
    /// It shall stop, and end.
    Stop,
}

/// Reads what an agent is told besides its prompt.
pub(super) fn read_spec<S: DeserializeOwned>(path: &Path) -> Result<S, String> {
    let spec = fs::read(path).map_err(|error| error.to_string());
    spec.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()))
        .map_err(|why| format!("{}: {why}", path.display()))
}
