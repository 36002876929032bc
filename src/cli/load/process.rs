//! What `/proc` says of a process: its CPU and its memory, and how much of the time a thread was busy or waited for a core.

use std::{collections::BTreeMap, fs, io};

/// The kernel's unit for CPU time outside of itself, on every machine Ordercast is built for.
const TICKS_A_SECOND: u64 = 100;

/// What processes have used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// User and system time, in microseconds; children that ended are not in it.
    pub(super) cpu_micros: u64,
    pub(super) resident_kib: u64,
}

/// The sum over some processes.
pub(super) fn usage(pids: &[u32]) -> io::Result<Usage> {
    let mut sum = Usage::default();
    for pid in pids {
        let told = |error: io::Error| io::Error::new(error.kind(), format!("process {pid}: {error}"));
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(told)?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(told)?;
        let nonsense = || io::Error::other(format!("process {pid}: /proc says nothing that can be read"));
        sum.cpu_micros += cpu_micros(&stat).ok_or_else(nonsense)?;
        // A process that is ending has no memory any more.
        sum.resident_kib += field(&status, "VmRSS:").and_then(|kib| kib.parse().ok()).unwrap_or(0);
    }
    Ok(sum)
}

/// Whether the process is there, and more than what is left of one until its parent has looked.
pub(super) fn is_there(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !matches!(after_name(&stat).and_then(|rest| rest.split(' ').next()), Some("Z" | "X")))
}

/// The cores a process may use, as `taskset` takes them.
pub(super) fn cores(pid: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    field(&status, "Cpus_allowed_list:").map(str::to_owned)
}

/// For each thread of this process: nanoseconds in which it ran or waited for a core.
pub(super) fn threads() -> BTreeMap<String, u64> {
    let mut threads = BTreeMap::new();
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return threads };
    for task in tasks.flatten() {
        let read = |file: &str| fs::read_to_string(task.path().join(file)).ok();
        let (Some(name), Some(stat)) = (read("comm"), read("schedstat")) else { continue };
        let busy = stat.split_whitespace().take(2).filter_map(|nanos| nanos.parse::<u64>().ok()).sum();
        threads.insert(name.trim().to_owned(), busy);
    }
    threads
}

/// User and system time of `/proc/PID/stat`. The name, in brackets, may hold anything.
fn cpu_micros(stat: &str) -> Option<u64> {
    let mut fields = after_name(stat)?.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) * (1_000_000 / TICKS_A_SECOND))
}

fn after_name(stat: &str) -> Option<&str> {
    stat.rsplit_once(") ").map(|(_, rest)| rest)
}

/// The first word behind a name, or all of them.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(value.trim().trim_end_matches(" kB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_whatever_the_process_is_called() {
        let stat = "4711 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 5 0 100 200 300";
        assert_eq!(cpu_micros(stat), Some(3_000_000));
        assert_eq!(cpu_micros("nonsense"), None);
    }

    #[test]
    fn this_process_is_there_and_uses_memory() {
        let pid = std::process::id();
        assert!(is_there(pid) && !is_there(u32::MAX));
        assert!(usage(&[pid]).unwrap().resident_kib > 1_000);
        assert!(usage(&[u32::MAX]).unwrap_err().to_string().contains("4294967295"));
        assert!(cores("self").is_some() && !threads().is_empty());
    }
}
