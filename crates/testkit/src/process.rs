//! Child processes that do not outlive their test.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How long a polite stop may take before SIGKILL.
const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// So much of a process's log is shown when its test fails.
const LAST_LINES: usize = 60;

/// What can be sent to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C; PostgreSQL's fast shutdown.
    Interrupt,
    /// The polite stop.
    Terminate,
    /// Freezes it, as a machine that is stuck.
    Stop,
    /// Thaws it.
    Continue,
    /// The end without a farewell.
    Kill,
}

/// A running program, its output collected. Dropping it kills it by pid and waits until it is gone.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Process {
    /// Starts `command` with stdin closed and both outputs collected. `name` is for messages.
    pub fn spawn(name: &str, command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let log = Arc::new(Mutex::new(String::new()));
        if let Some(stdout) = child.stdout.take() {
            collect(stdout, &log);
        }
        if let Some(stderr) = child.stderr.take() {
            collect(stderr, &log);
        }
        Self { name: name.to_owned(), child, log }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far, both outputs mixed line by line.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap_or_else(|error| panic!("cannot wait for {}: {error}", self.name))
    }

    /// Sends a signal, by pid; a process that has already ended gets none.
    pub fn send(&mut self, signal: Signal) {
        if self.ended().is_some() {
            return;
        }
        let word = match signal {
            Signal::Interrupt => "INT",
            Signal::Terminate => "TERM",
            Signal::Stop => "STOP",
            Signal::Continue => "CONT",
            Signal::Kill => "KILL",
        };
        // The shell's own `kill`: std can only send SIGKILL, and calling libc would need unsafe code.
        let status =
            Command::new("sh").args(["-c", "kill -s \"$1\" \"$2\"", "sh", word, &self.pid().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "cannot send SIG{word} to {}", self.name);
    }

    /// Sends `signal` and waits until the process is gone; after 10 seconds it is killed.
    pub fn stop(&mut self, signal: Signal) -> ExitStatus {
        self.send(signal);
        let start = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            if start.elapsed() > STOP_DEADLINE {
                self.send(Signal::Kill);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Polls `ready` until it is true. Panics with the log if the process ends first or the deadline is missed.
    pub async fn wait_until_ready(&mut self, deadline: Duration, mut ready: impl AsyncFnMut() -> bool) {
        let start = Instant::now();
        while !ready().await {
            if let Some(status) = self.ended() {
                panic!("{} ended before it was ready, with {status}:\n{}", self.name, self.log());
            }
            assert!(start.elapsed() < deadline, "{} was not ready within {deadline:?}:\n{}", self.name, self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
            #[expect(clippy::print_stderr, reason = "a failed test says what its processes said")]
            {
                eprintln!("--- {} said at the end:\n{}", self.name, last.join("\n"));
            }
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            // Nothing more can be done for a child that cannot be killed, and a panic here would hide the test's own.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn collect(output: impl Read + Send + 'static, log: &Arc<Mutex<String>>) {
    let log = Arc::clone(log);
    thread::spawn(move || {
        let mut lines = BufReader::new(output);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            log.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[tokio::test]
    async fn both_outputs_are_collected() {
        let mut process =
            Process::spawn("talker", Command::new("sh").args(["-c", "echo out; echo err >&2; exec sleep 60"]));
        let log = Arc::clone(&process.log);
        process
            .wait_until_ready(Duration::from_secs(10), async || {
                let log = log.lock().unwrap();
                log.contains("out\n") && log.contains("err\n")
            })
            .await;
    }

    #[test]
    fn dropping_it_leaves_nobody_behind() {
        let process = Process::spawn("sleeper", Command::new("sleep").arg("60"));
        let proc = format!("/proc/{}", process.pid());
        assert!(Path::new(&proc).exists());
        drop(process);
        assert!(!Path::new(&proc).exists());
    }

    #[test]
    fn a_signal_reaches_it() {
        let mut process = Process::spawn("sleeper", Command::new("sleep").arg("60"));
        assert!(!process.stop(Signal::Terminate).success());
        assert!(process.ended().is_some());
    }
}
