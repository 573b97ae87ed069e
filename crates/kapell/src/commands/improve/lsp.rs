//! Findings and fixes while somebody types: the Language Server Protocol 3.17 over standard input and output.
//!
//! What is open in the editor stands over what is on the disk. One thread reads, one writes, and this one judges:
//! all messages that wait are taken before the next judgement, so that fast typing costs one of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    str::FromStr as _,
};

use kapell_lint::{
    files::{File, Files},
    repository::Repository,
    suppress,
};
use kapell_view::audit::{Finding, FixClass, Place, Severity, uri};
use lsp_server::{Connection, ErrorCode, Message, Notification, ProtocolError, Request, Response};
use lsp_types::{
    CodeAction, CodeActionKind, CodeActionOrCommand, CodeActionParams, Diagnostic,
    DiagnosticRelatedInformation, DiagnosticSeverity, DidChangeTextDocumentParams,
    DidCloseTextDocumentParams, DidOpenTextDocumentParams, InitializeParams, Location, NumberOrString, OneOf,
    OptionalVersionedTextDocumentIdentifier, Position, PositionEncodingKind, PublishDiagnosticsParams, Range,
    TextDocumentEdit, TextEdit, Uri, WorkspaceEdit,
    notification::{
        DidChangeTextDocument, DidChangeWatchedFiles, DidCloseTextDocument, DidOpenTextDocument,
        DidSaveTextDocument, Notification as _, PublishDiagnostics,
    },
    request::{CodeActionRequest, Request as _},
};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{VERSION, judge::look, read_files};
use crate::{args::ImproveArgs, exit::Exit, fault::Fault};

/// Speaks to an editor until it says goodbye.
///
/// # Errors
///
/// Fails if the other side does not speak the protocol, or the directory cannot be read.
pub(super) fn serve(root: &Path, args: &ImproveArgs) -> Result<Exit, Fault> {
    let (connection, threads) = Connection::stdio();
    let ended = converse(&connection, root, args);
    // The thread that writes ends when nobody can send to it any more.
    drop(connection);
    ended?;
    threads.join().map_err(|error| broken(&error))?;
    Ok(Exit::Done)
}

fn broken(error: &dyn std::fmt::Display) -> Fault {
    Fault::new("K0935", Exit::Usage, "the editor cannot be spoken to")
        .because(error)
        .hint("`--lsp` is for editors, which start it themselves")
}

fn converse(connection: &Connection, root: &Path, args: &ImproveArgs) -> Result<(), Fault> {
    let protocol = |error: ProtocolError| broken(&error);
    let (id, params) = connection.initialize_start().map_err(protocol)?;
    let params: InitializeParams = serde_json::from_value(params).map_err(|error| broken(&error))?;
    let encoding = Encoding::of(&params);
    let answer = json!({
        "capabilities": {
            "positionEncoding": encoding.name(),
            // 1: the whole text with every change.
            "textDocumentSync": { "openClose": true, "change": 1, "save": true },
            "codeActionProvider": { "codeActionKinds": ["quickfix"] },
        },
        "serverInfo": { "name": "kapell", "version": VERSION },
    });
    connection.initialize_finish(id, answer).map_err(protocol)?;
    let root = folder(&params).unwrap_or_else(|| root.to_owned());
    let root = fs::canonicalize(&root).map_err(|error| Fault::io(&root, &error))?;
    let mut server = Server::new(root, args, encoding)?;
    server.publish(connection);
    while let Ok(message) = connection.receiver.recv() {
        match message {
            Message::Request(request) => {
                if connection.handle_shutdown(&request).map_err(protocol)? {
                    return Ok(());
                }
                // What was typed before the question counts.
                server.settle(connection);
                send(connection, server.answer(request));
            }
            Message::Notification(notification) => server.hear(notification)?,
            Message::Response(_) => {}
        }
        if connection.receiver.is_empty() {
            server.settle(connection);
        }
    }
    Ok(())
}

/// Sends a message. That nobody hears it any more shows when the next one is to be read.
fn send(connection: &Connection, message: impl Into<Message>) {
    let _ = connection.sender.send(message.into());
}

/// Returns the folder that the editor has open.
fn folder(params: &InitializeParams) -> Option<PathBuf> {
    let folders = params.workspace_folders.iter().flatten().map(|folder| &folder.uri);
    #[expect(deprecated, reason = "editors that do not know folders send only this")]
    let root = params.root_uri.as_ref();
    folders.chain(root).find_map(path_of)
}

/// Returns the path of an address, if it is one of a file.
fn path_of(address: &Uri) -> Option<PathBuf> {
    let rest = address.as_str().strip_prefix("file://")?;
    rest.starts_with('/').then(|| PathBuf::from(uri::decode(rest)))
}

/// How columns are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Utf16,
}

impl Encoding {
    fn of(params: &InitializeParams) -> Self {
        let general = params.capabilities.general.as_ref();
        let offered = general.and_then(|general| general.position_encodings.as_ref());
        if offered.is_some_and(|offered| offered.contains(&PositionEncodingKind::UTF8)) {
            Self::Utf8
        } else {
            Self::Utf16
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Utf16 => "utf-16",
        }
    }

    fn position(self, file: &File, at: u32) -> Position {
        let line = file.line(at);
        let start = file.line_span(line).start as usize;
        let before = file.text.get(start..at as usize).unwrap_or_default();
        let column = match self {
            Self::Utf8 => before.len(),
            Self::Utf16 => before.encode_utf16().count(),
        };
        Position::new(line - 1, u32::try_from(column).unwrap_or(u32::MAX))
    }

    fn range(self, file: &File, place: &Place) -> Range {
        Range::new(self.position(file, place.start), self.position(file, place.end))
    }
}

/// A text in the editor.
struct Open {
    version: i32,
    text: String,
}

/// What is known.
struct Server<'a> {
    root: PathBuf,
    args: &'a ImproveArgs,
    encoding: Encoding,
    /// What is on the disk.
    base: Repository,
    /// What is in the editor, by path from the top.
    open: BTreeMap<String, Open>,
    /// Both, and what is wrong with it.
    now: Repository,
    findings: Vec<Finding>,
    /// The files that the editor shows findings of.
    shown: BTreeSet<String>,
    /// Whether something changed since the last judgement.
    stale: bool,
}

impl<'a> Server<'a> {
    fn new(root: PathBuf, args: &'a ImproveArgs, encoding: Encoding) -> Result<Self, Fault> {
        let nothing = || Repository::new(Files::default(), args.depth.into());
        let (open, findings, shown) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        let (base, now) = (nothing(), nothing());
        let mut server = Self { root, args, encoding, base, open, now, findings, shown, stale: true };
        server.look()?;
        server.judge();
        Ok(server)
    }

    /// Reads the disk.
    fn look(&mut self) -> Result<(), Fault> {
        let (files, _) = read_files(&self.root, self.args.depth, self.args.scope)?;
        self.base = Repository::new(files, self.args.depth.into());
        self.stale = true;
        Ok(())
    }

    fn judge(&mut self) {
        let known =
            self.base.files.iter().map(|(_, file)| (&*file.path, &*file.text)).collect::<BTreeMap<_, _>>();
        let differs = |(path, open): &(&String, &Open)| known.get(path.as_str()) != Some(&open.text.as_str());
        let texts = self.open.iter().filter(differs).map(|(path, open)| (path.clone(), open.text.clone()));
        let now = self.base.with(&texts.collect());
        self.findings = look(&now, self.args, None);
        suppress::by_comments(&now.files, &mut self.findings);
        self.now = now;
        self.stale = false;
    }

    /// Judges and tells, if something changed.
    fn settle(&mut self, connection: &Connection) {
        if self.stale {
            self.judge();
            self.publish(connection);
        }
    }

    /// Takes in what the editor tells.
    fn hear(&mut self, told: Notification) -> Result<(), Fault> {
        match told.method.as_str() {
            DidOpenTextDocument::METHOD => {
                if let Some(params) = read::<DidOpenTextDocumentParams>(told.params) {
                    let document = params.text_document;
                    self.put(&document.uri, document.version, document.text);
                }
            }
            DidChangeTextDocument::METHOD => {
                if let Some(mut params) = read::<DidChangeTextDocumentParams>(told.params) {
                    let document = params.text_document;
                    if let Some(last) = params.content_changes.pop() {
                        self.put(&document.uri, document.version, last.text);
                    }
                }
            }
            DidCloseTextDocument::METHOD => {
                let params = read::<DidCloseTextDocumentParams>(told.params);
                if let Some(path) = params.and_then(|params| self.inner(&params.text_document.uri)) {
                    self.open.remove(&path);
                    self.look()?;
                }
            }
            DidSaveTextDocument::METHOD | DidChangeWatchedFiles::METHOD => self.look()?,
            _ => {}
        }
        Ok(())
    }

    /// Puts a text of the editor over that of the disk, if it is of a file that counts.
    fn put(&mut self, address: &Uri, version: i32, text: String) {
        let Some(path) = self.inner(address) else { return };
        if kapell_lint::wanted::is_wanted(&path, self.args.scope.into(), self.args.depth.into()) {
            self.open.insert(path, Open { version, text });
            self.stale = true;
        }
    }

    /// Returns the path of a file from the top, if it lies there.
    fn inner(&self, address: &Uri) -> Option<String> {
        let path = path_of(address)?;
        // An editor may know the folder by a link.
        let path = match path.strip_prefix(&self.root) {
            Ok(inner) => inner.to_owned(),
            Err(_) => fs::canonicalize(&path).ok()?.strip_prefix(&self.root).ok()?.to_owned(),
        };
        Some(path.to_string_lossy().replace('\\', "/"))
    }

    fn address(&self, path: &str) -> Option<Uri> {
        let whole = self.root.join(path);
        Uri::from_str(&format!("file://{}", uri::encode(&whole.to_string_lossy()))).ok()
    }

    fn file(&self, path: &str) -> Option<&File> {
        self.now.files.find(path).map(|id| &self.now.files[id])
    }

    /// Tells all that is wrong, file by file; and of files where nothing is wrong any more, that.
    fn publish(&mut self, connection: &Connection) {
        let mut by_path: BTreeMap<&str, Vec<Diagnostic>> = BTreeMap::new();
        for path in &self.shown {
            by_path.insert(path, Vec::new());
        }
        for finding in &self.findings {
            let diagnostics = by_path.entry(&finding.place.path).or_default();
            diagnostics.extend(self.diagnostic(finding));
        }
        let messages: Vec<PublishDiagnosticsParams> = by_path
            .iter()
            .filter_map(|(path, diagnostics)| {
                let version = self.open.get(*path).map(|open| open.version);
                Some(PublishDiagnosticsParams::new(self.address(path)?, diagnostics.clone(), version))
            })
            .collect();
        let shown = by_path.iter().filter(|(_, diagnostics)| !diagnostics.is_empty());
        self.shown = shown.map(|(path, _)| (*path).to_owned()).collect();
        for message in messages {
            send(connection, Notification::new(PublishDiagnostics::METHOD.to_owned(), message));
        }
    }

    fn diagnostic(&self, finding: &Finding) -> Option<Diagnostic> {
        let severity = match finding.severity {
            _ if !finding.warns() => DiagnosticSeverity::HINT,
            Severity::Critical | Severity::High => DiagnosticSeverity::ERROR,
            _ => DiagnosticSeverity::WARNING,
        };
        let related = finding.related.iter().filter_map(|related| {
            let range = self.encoding.range(self.file(&related.place.path)?, &related.place);
            let location = Location::new(self.address(&related.place.path)?, range);
            Some(DiagnosticRelatedInformation { location, message: related.text.clone() })
        });
        let hint = finding.hint.iter().map(|hint| format!("\n{hint}"));
        Some(Diagnostic {
            range: self.encoding.range(self.file(&finding.place.path)?, &finding.place),
            severity: Some(severity),
            code: Some(NumberOrString::String(finding.rule.clone())),
            source: Some("kapell".to_owned()),
            message: std::iter::once(finding.message.clone()).chain(hint).collect(),
            related_information: Some(related.collect()),
            ..Diagnostic::default()
        })
    }

    fn answer(&self, request: Request) -> Response {
        if request.method != CodeActionRequest::METHOD {
            let message = format!("{} is not answered here", request.method);
            return Response::new_err(request.id, ErrorCode::MethodNotFound as i32, message);
        }
        match serde_json::from_value(request.params) {
            Ok(params) => Response::new_ok(request.id, self.actions(&params)),
            Err(error) => Response::new_err(request.id, ErrorCode::InvalidParams as i32, error.to_string()),
        }
    }

    /// Returns the fixes of what is wrong within a range.
    fn actions(&self, params: &CodeActionParams) -> Vec<CodeActionOrCommand> {
        let Some(path) = self.inner(&params.text_document.uri) else { return Vec::new() };
        let here = self.findings.iter().filter(|finding| finding.place.path == path);
        here.filter_map(|finding| {
            let diagnostic = self.diagnostic(finding)?;
            let (asked, found) = (params.range, diagnostic.range);
            let meets = found.start <= asked.end && asked.start <= found.end;
            let fix = finding.fix.as_ref().filter(|fix| meets && !fix.edits.is_empty())?;
            Some(CodeActionOrCommand::CodeAction(CodeAction {
                title: fix.title.clone(),
                kind: Some(CodeActionKind::QUICKFIX),
                diagnostics: Some(vec![diagnostic]),
                edit: Some(self.edit(&fix.edits)?),
                is_preferred: Some(fix.class == FixClass::Safe),
                ..CodeAction::default()
            }))
        })
        .collect()
    }

    fn edit(&self, edits: &[kapell_view::audit::Edit]) -> Option<WorkspaceEdit> {
        let mut by_path: BTreeMap<&str, Vec<OneOf<TextEdit, _>>> = BTreeMap::new();
        for edit in edits {
            let range = self.encoding.range(self.file(&edit.place.path)?, &edit.place);
            by_path
                .entry(&edit.place.path)
                .or_default()
                .push(OneOf::Left(TextEdit::new(range, edit.text.clone())));
        }
        let documents = by_path.into_iter().map(|(path, edits)| {
            let version = self.open.get(path).map(|open| open.version);
            let text_document = OptionalVersionedTextDocumentIdentifier { uri: self.address(path)?, version };
            Some(TextDocumentEdit { text_document, edits })
        });
        let documents = documents.collect::<Option<Vec<_>>>()?;
        Some(WorkspaceEdit {
            document_changes: Some(lsp_types::DocumentChanges::Edits(documents)),
            ..WorkspaceEdit::default()
        })
    }
}

/// Reads the parameters of a notification; nobody waits for an answer, so what cannot be read is passed over.
fn read<T: DeserializeOwned>(params: serde_json::Value) -> Option<T> {
    serde_json::from_value(params).ok()
}
