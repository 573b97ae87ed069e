//! The owner's socket: a real one.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use kapell_core::{
    command::{Command, Exit},
    event::{Outcome, Outputs, PlanRef},
    id::{AttemptNo, GateId, TaskId},
    plan::{Definition, GateSpec, Work},
};
use kapell_engine::control::{Control, ControlError, send};

use crate::rig::{RUN, Rig, mission, oid, plan, run_id, script};

/// A host that runs on a thread of its own, behind a socket.
struct Served {
    socket: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Rig>>,
    control: Option<Control>,
    _dir: tempfile::TempDir,
}

impl Served {
    fn new() -> Self {
        let gate = GateSpec { question: "go?".parse().unwrap(), choices: Vec::new() };
        let gate = Definition::new(Work::Gate(gate));
        let mut rig = Rig::with(mission(), plan(&[("g", gate, &[]), ("a", script("hold"), &[])]));
        rig.until_said("start 1.1");
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let control = Control::listen(&socket, rig.mailbox.clone()).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                rig.step();
            }
            rig
        });
        Self { socket, stop, thread: Some(thread), control: Some(control), _dir: dir }
    }

    fn send(&self, command: Command) -> Result<(), ControlError> {
        send(&self.socket, RUN, "ada", command)
    }

    fn refused(&self, command: Command) -> String {
        match self.send(command) {
            Err(ControlError::Refused(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    fn rig(mut self) -> Rig {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap()
    }
}

#[test]
fn what_people_wish_reaches_the_run_and_is_durable_when_it_is_answered() {
    let served = Served::new();
    served.send(Command::Pause).unwrap();
    assert_eq!(served.refused(Command::Pause), "the run is paused already");
    served.send(Command::Resume { limits: None }).unwrap();
    let answer =
        |answer: &str| Command::Answer { gate: GateId(0), answer: answer.to_owned(), by: "ada".to_owned() };
    assert_eq!(served.refused(answer("maybe")), "the answer must be one of: yes, no");
    served.send(answer("yes")).unwrap();
    let gate = GateSpec { question: "go?".parse().unwrap(), choices: Vec::new() };
    let more = plan(&[
        ("g", Definition::new(Work::Gate(gate)), &[]),
        ("a", script("hold"), &[]),
        ("b", script("ok"), &[]),
    ]);
    served.send(Command::Revise { plan: PlanRef::Inline(more), superseded: Vec::new() }).unwrap();
    let main = || "refs/heads/main".to_owned();
    served.send(Command::BeginMerge { target: main(), from: oid(1), to: oid(2) }).unwrap();
    assert_eq!(
        served.refused(Command::UndoMerge { to: oid(9) }),
        "there is no merge from there to take back"
    );
    served.send(Command::Cancel).unwrap();
    let mut rig = served.rig();
    rig.settle();
    assert_eq!(rig.run().outcome(), Some(Outcome::Cancelled));
    let rows = rig.world.journal.disk().rows[&RUN].clone();
    let by_ada: Vec<_> =
        rows.iter().filter(|row| row.actor == "person:ada").map(|row| row.cause.clone()).collect();
    assert_eq!(by_ada, ["pause", "resume", "answer", "revise", "begin_merge", "cancel"]);
}

#[test]
fn results_are_not_taken_from_outside() {
    let served = Served::new();
    let exit = Exit::Succeeded { change: None, outputs: Outputs::new(), spent: Default::default() };
    let finish = Command::Finish { task: TaskId(1), attempt: AttemptNo(1), exit };
    assert_eq!(served.refused(finish), "`finish` is not taken from outside");
    assert_eq!(served.refused(Command::Open { epoch: 9 }), "`open` is not taken from outside");
    let elsewhere = send(&served.socket, run_id(5), "ada", Command::Cancel).unwrap_err();
    assert_eq!(elsewhere.to_string(), format!("run {} is not executed by this process", run_id(5)));
    assert!(served.rig().state(1).starts_with("Running"));
}

/// Says `bytes` and returns what is answered.
fn talk(socket: &PathBuf, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    // It may hang up before it has heard all.
    let _ = stream.write_all(bytes);
    let mut answer = String::new();
    let _ = BufReader::new(&stream).read_line(&mut answer);
    answer
}

#[test]
fn garbage_is_refused_and_harms_nobody() {
    let served = Served::new();
    for garbage in [b"hello\n".as_slice(), b"\n", b"{}\n", b"\xff\xfe\n", b"[[[[[[[[[[\n", b"null\n"] {
        let answer = talk(&served.socket, garbage);
        assert!(answer.starts_with(r#"{"refused":"not a request: "#), "{answer}");
    }
    let answer = talk(&served.socket, &vec![b'x'; (1 << 20) + (1 << 16)]);
    assert_eq!(answer, "{\"refused\":\"a message is longer than 1048576 bytes\"}\n");
    // Too deep for any parser that recurses.
    let deep = [vec![b'['; 500_000], vec![b'\n']].concat();
    assert!(talk(&served.socket, &deep).contains("not a request"));
    served.send(Command::Pause).unwrap();
}

#[test]
fn what_is_too_long_is_not_sent() {
    let served = Served::new();
    let answer = Command::Answer { gate: GateId(0), answer: "x".repeat(1 << 20), by: "ada".to_owned() };
    let error = served.send(answer).unwrap_err();
    assert!(
        matches!(&error, ControlError::Io(io) if io.kind() == std::io::ErrorKind::InvalidInput),
        "{error}"
    );
}

#[test]
fn who_says_nothing_keeps_nobody_waiting() {
    let served = Served::new();
    let silent: Vec<_> = (0..20).map(|_| UnixStream::connect(&served.socket).unwrap()).collect();
    let mut half = UnixStream::connect(&served.socket).unwrap();
    half.write_all(b"{\"run\":").unwrap();
    served.send(Command::Pause).unwrap();
    std::thread::scope(|scope| {
        let both = [Command::Resume { limits: None }, Command::Cancel];
        let sent: Vec<_> = both.into_iter().map(|command| scope.spawn(|| served.send(command))).collect();
        // In whatever order: a cancelled run is no longer to be resumed.
        let outcomes: Vec<_> = sent.into_iter().map(|thread| thread.join().unwrap().is_ok()).collect();
        assert!(outcomes[1], "{outcomes:?}");
    });
    drop(silent);
}

#[test]
fn too_many_at_a_time_are_told_so() {
    let served = Served::new();
    let silent: Vec<_> = (0..32).map(|_| UnixStream::connect(&served.socket).unwrap()).collect();
    assert_eq!(talk(&served.socket, b""), "{\"refused\":\"too many ask at a time: ask again\"}\n");
    drop(silent);
    // Their threads see that they are gone.
    while served.send(Command::Pause).is_err() {}
}

#[test]
fn the_socket_is_its_users_alone_and_goes_with_its_owner() {
    let mut served = Served::new();
    let mode = std::fs::metadata(&served.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(served.control.take());
    assert!(!served.socket.exists());
    assert!(matches!(served.send(Command::Pause), Err(ControlError::Io(_))));
    let rig = served.rig();
    // One that a process of the same number left is no hindrance.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let _control = Control::listen(&path, rig.mailbox.clone()).unwrap();
    drop(rig);
    // The host is gone: nobody waits for an answer that cannot come.
    let error = send(&path, RUN, "ada", Command::Pause).unwrap_err();
    assert_eq!(error.to_string(), "the process that executes the run is going away");
}

#[test]
fn an_owner_that_hangs_up_is_no_owner() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut chunk = [0; 64];
        let _ = stream.read(&mut chunk);
    });
    let error = send(&path, RUN, "ada", Command::Pause).unwrap_err();
    assert!(matches!(error, ControlError::Protocol(_) | ControlError::Io(_)), "{error}");
    thread.join().unwrap();
}
