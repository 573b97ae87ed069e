//! Recipes of images, as far as joins need them.

use kapell_spec::finding::Span;

use crate::files::{File, FileId};

/// A recipe.
#[derive(Debug)]
pub struct Dockerfile {
    /// Its file.
    pub file: FileId,
    /// Its path.
    pub path: Box<str>,
    /// The ports that its last stage says it listens on.
    pub ports: Vec<(u16, Span)>,
    /// Whether it says so by the command that it runs, and not by `EXPOSE`.
    pub commanded: bool,
    /// Whether its last stage has a health check.
    pub healthcheck: bool,
    /// Whether some port is a variable.
    pub variable: bool,
    /// The port of the container itself that its last health check asks, if nothing else in the recipe speaks of it, and where.
    pub asked: Option<(u16, Span)>,
}

pub(super) fn read(id: FileId, file: &File) -> Dockerfile {
    let mut found = Dockerfile {
        file: id,
        path: (&*file.path).into(),
        ports: Vec::new(),
        commanded: false,
        healthcheck: false,
        variable: false,
        asked: None,
    };
    // What is run, and where the last part of it stands.
    let (mut entry, mut command) = (None, None);
    let mut at = 0;
    for line in file.text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let mut words = line.split_whitespace();
        match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
            // What an earlier stage says is not in the image.
            "FROM" => {
                (found.ports, found.healthcheck, found.variable) = (Vec::new(), false, false);
                (found.asked, entry, command) = (None, None, None);
            }
            "ENTRYPOINT" => entry = Some((start, whole(&file.text, start))),
            "CMD" => command = Some((start, whole(&file.text, start))),
            "HEALTHCHECK" => {
                found.healthcheck = words.next() != Some("NONE");
                found.asked = asked(&file.text, start);
            }
            "EXPOSE" => {
                let span = Span::new(start, start + line.trim_end().len());
                for word in words {
                    match word.split('/').next().unwrap_or(word).parse() {
                        Ok(port) => found.ports.push((port, span)),
                        Err(_) => found.variable = true,
                    }
                }
            }
            _ => {}
        }
    }
    if let Some((start, last)) = command.or(entry) {
        let line = format!("{} {last}", entry.map_or("", |(_, text)| text));
        let told = listening(&line).filter(|port| !found.ports.iter().any(|(known, _)| known == port));
        // Who says several ports, or a variable, has more than one program.
        if let Some(port) = told.filter(|_| found.ports.len() < 2 && !found.variable) {
            found.ports = vec![(port, Span::new(start, start + last.trim_end().len()))];
            found.commanded = true;
        }
    }
    found
}

impl Dockerfile {
    /// Says how it tells its ports.
    #[must_use]
    pub fn says(&self) -> &'static str {
        if self.commanded { "listens on" } else { "exposes" }
    }
}

/// Returns the instruction that starts at `start`, with the lines that go on with it.
fn whole(text: &str, start: usize) -> &str {
    let mut len = 0;
    for line in text[start..].split_inclusive('\n') {
        len += line.len();
        if !line.trim_end().ends_with('\\') {
            break;
        }
    }
    &text[start..start + len]
}

/// Servers that are told by an option of their command on which port they listen, and those options.
const BY_COMMAND: &[(&str, &[&str])] = &[
    ("redis-server", &["--port"]),
    ("valkey-server", &["--port"]),
    ("mongod", &["--port"]),
    ("mysqld", &["--port"]),
    ("mariadbd", &["--port"]),
    ("postgres", &["-p"]),
    ("uvicorn", &["--port"]),
    ("fastapi", &["--port"]),
    ("hypercorn", &["--bind", "-b"]),
    ("gunicorn", &["--bind", "-b"]),
    ("granian", &["--port"]),
    ("flask", &["--port", "-p"]),
    ("streamlit", &["--server.port"]),
    ("puma", &["--port", "-p"]),
    ("rails", &["--port", "-p"]),
    ("next", &["--port", "-p"]),
    ("http-server", &["--port", "-p"]),
    ("runserver", &["runserver"]),
];

/// Returns the port that a command names, where it is one of a known server and the only number there that may be a port.
#[must_use]
pub fn listening(command: &str) -> Option<u16> {
    let words: Vec<&str> = command
        .split(|c: char| c.is_whitespace() || matches!(c, '=' | '"' | '\'' | ',' | '[' | ']'))
        .filter(|word| !word.is_empty())
        .collect();
    let (_, options) = BY_COMMAND.iter().find(|(server, _)| words.contains(server))?;
    let number = |word: &str| word.rsplit(':').next()?.parse::<u16>().ok().filter(|port| *port > 79);
    let named = words.windows(2).find(|pair| options.contains(&pair[0]))?;
    let port = number(named[1])?;
    let others = words.iter().filter_map(|word| number(word)).any(|other| other != port);
    (!others).then_some(port)
}

/// Returns the port that the health check which starts at `start` asks of the container itself, and where, unless the recipe
/// speaks of that port elsewhere.
fn asked(text: &str, start: usize) -> Option<(u16, Span)> {
    let check = whole(text, start);
    let len = check.len();
    let rest =
        ["localhost:", "127.0.0.1:", "0.0.0.0:", "[::1]:"].iter().find_map(|host| check.split_once(host))?.1;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    let port = digits.parse().ok()?;
    let elsewhere = text[..start].contains(digits) || text[start + len..].contains(digits);
    (!elsewhere).then(|| (port, Span::new(start, start + check.trim_end().len())))
}
