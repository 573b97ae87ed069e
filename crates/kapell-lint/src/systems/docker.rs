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
        healthcheck: false,
        variable: false,
        asked: None,
    };
    let mut at = 0;
    for line in file.text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let mut words = line.split_whitespace();
        match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
            // What an earlier stage says is not in the image.
            "FROM" => {
                (found.ports, found.healthcheck, found.variable) = (Vec::new(), false, false);
                found.asked = None;
            }
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
    found
}

/// Returns the port that the health check which starts at `start` asks of the container itself, and where, unless the recipe
/// speaks of that port elsewhere.
fn asked(text: &str, start: usize) -> Option<(u16, Span)> {
    let mut lines = text[start..].split_inclusive('\n');
    let mut len = 0;
    for line in lines.by_ref() {
        len += line.len();
        if !line.trim_end().ends_with('\\') {
            break;
        }
    }
    let check = &text[start..start + len];
    let rest =
        ["localhost:", "127.0.0.1:", "0.0.0.0:", "[::1]:"].iter().find_map(|host| check.split_once(host))?.1;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    let port = digits.parse().ok()?;
    let elsewhere = text[..start].contains(digits) || text[start + len..].contains(digits);
    (!elsewhere).then(|| (port, Span::new(start, start + check.trim_end().len())))
}
