//! The program as a person starts it.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn time(count: usize, mut once: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..count {
        let start = Instant::now();
        once()?;
        times.push(start.elapsed());
    }
    Ok(median(times))
}

fn ok(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output()?;
    anyhow::ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

pub fn measure(program: &Path) -> anyhow::Result<()> {
    if !program.exists() {
        println!("the program is not built: cargo build --release -p kapell");
        return Ok(());
    }
    let version = time(40, || ok(Command::new(program).arg("--version")))?;
    println!("{:<40} {:.1} ms  floor 10", "kapell --version", milliseconds(version));
    let dir = tempfile::tempdir_in(".")?;
    let kapell = |args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).args(["--quiet", "--no-input"]).current_dir(dir.path());
        command.env("HOME", dir.path()).env("XDG_RUNTIME_DIR", dir.path());
        command
    };
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(dir.path(), mode)?;
    std::fs::write(
        dir.path().join("one.yaml"),
        "mission: one\ntasks:\n  one:\n    workspace: none\n    run: \"true\"\n",
    )?;
    ok(&mut kapell(&["run", "one.yaml"]))?;
    let one = time(20, || ok(&mut kapell(&["run", "one.yaml"])))?;
    println!("{:<40} {:.1} ms  floor 20", "one task `true`, start to end", milliseconds(one));

    for (supervise, floor) in [("group", 1.10), ("full", 1.6)] {
        let mut text = "mission: many\ntasks:\n".to_owned();
        text.push_str(&format!(
            "  many:\n    matrix: {{ n: [{}] }}\n    workspace: none\n    supervise: {supervise}\n    run: \"true\"\n",
            (0..200).map(|n| n.to_string()).collect::<Vec<_>>().join(", ")
        ));
        std::fs::write(dir.path().join("many.yaml"), text)?;
        let many = time(3, || ok(&mut kapell(&["run", "many.yaml", "--new", "--jobs", "2"])))?;
        let bare = time(3, || bare_loop(200))?;
        println!(
            "{:<40} {:.2} of a bare loop  floor {floor}",
            format!("200 commands `true` at -j2, {supervise}"),
            many.as_secs_f64() / bare.as_secs_f64()
        );
    }
    Ok(())
}

/// Starts `true` from two threads, one after the other.
fn bare_loop(count: usize) -> anyhow::Result<()> {
    let threads: Vec<_> = (0..2)
        .map(|_| {
            std::thread::spawn(move || {
                for _ in 0..count / 2 {
                    let _ = Command::new("/bin/sh").args(["-e", "-c", "true"]).status();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
    }
    Ok(())
}
