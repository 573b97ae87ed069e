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
}

pub(super) fn read(id: FileId, file: &File) -> Dockerfile {
    let mut found = Dockerfile {
        file: id,
        path: (&*file.path).into(),
        ports: Vec::new(),
        healthcheck: false,
        variable: false,
    };
    let mut at = 0;
    for line in file.text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let mut words = line.split_whitespace();
        match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
            // What an earlier stage says is not in the image.
            "FROM" => (found.ports, found.healthcheck, found.variable) = (Vec::new(), false, false),
            "HEALTHCHECK" => found.healthcheck = words.next() != Some("NONE"),
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
