//! Runs of tasks that do nothing, from a thousand to a hundred thousand: time and memory of each task.

use crate::{
    rig::{Nobody, execute, host, noops},
    table::{Floor, line, median, part, say_peak, scratch},
};

pub fn child(tasks: u32) -> anyhow::Result<()> {
    let dir = scratch()?;
    let plan = noops(tasks, false)?;
    let (mut host, _store) = host(dir.path(), Nobody::arc())?;
    let took = execute(&mut host, 1, &plan, 256)?;
    say_peak(took.as_micros())
}

pub fn measure() -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for tasks in [1_000_u32, 10_000, 100_000] {
        let mut times = Vec::new();
        let mut bytes = Vec::new();
        for _ in 0..3 {
            let part = part(&["linear", &tasks.to_string()])?;
            times.push(part.seconds / f64::from(tasks));
            bytes.push(part.bytes);
        }
        let (time, bytes) = (median(times), median(bytes));
        println!(
            "       {tasks:>7} noops: {:.1} us a task, {:.0} KiB at the peak",
            time * 1e6,
            bytes / 1024.0
        );
        rows.push((f64::from(tasks), time, bytes));
    }
    let (small, large) = (rows[0], rows[2]);
    // Linear: a hundred times the work takes no more than a hundred times the time, and as much memory for each
    // further task as between the first two.
    line("noops, 1,000 to 100,000: time of a task", large.1 / small.1, "times", Floor::AtMost(1.2), "");
    let slope = |from: (f64, f64, f64), to: (f64, f64, f64)| (to.2 - from.2) / (to.0 - from.0);
    let (early, late) = (slope(rows[0], rows[1]), slope(rows[1], rows[2]));
    line(
        "  memory of a further task",
        late / early,
        "times",
        Floor::AtMost(1.2),
        format!("{early:.0} B up to 10,000, {late:.0} B up to 100,000"),
    );
    Ok(())
}
