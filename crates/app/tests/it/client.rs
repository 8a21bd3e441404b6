//! `mtasts` as a client, as customers type it.

mod answers;
mod dns;
mod reports;

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use mtasts_testkit::{Process, wait_until};
use serde_json::{Value, json};

use crate::service::{BINARY, PATIENCE, Service, clean, mtasts};

/// Somebody's home, from which commands are typed.
struct Desk {
    folder: tempfile::TempDir,
    api: String,
    /// Must not show in any output.
    canary: String,
}

/// What a command answered.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Desk {
    fn new(api: String, canary: &str) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), api, canary: canary.to_owned() }
    }

    /// Logged in at this service.
    fn at(service: &Service) -> Self {
        let desk = Self::new(format!("http://127.0.0.1:{}/", service.ports.api), &service.key);
        let said = desk.type_in(&["login", "--api", &desk.api], &format!("{}\n", service.key));
        assert_eq!(said.code, 0, "{}", said.err);
        desk
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("mtasts/client.toml")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        clean(&mut command);
        command.args(arguments).env("XDG_CONFIG_HOME", self.folder.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Said {
        self.type_in(arguments, "")
    }

    fn type_in(&self, arguments: &[&str], input: &str) -> Said {
        self.finish(&mut self.command(arguments), input)
    }

    fn finish(&self, command: &mut Command, input: &str) -> Said {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let said = Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) };
        assert!(!said.out.contains(&self.canary) && !said.err.contains(&self.canary), "the key was shown");
        assert!(!said.out.contains('\u{1b}'), "no colour where there is no terminal");
        said
    }

    /// Succeeds, and gives the JSON that it prints.
    fn json(&self, arguments: &[&str]) -> Value {
        let said = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(said.code, 0, "{arguments:?}: {}", said.err);
        serde_json::from_str(&said.out).unwrap()
    }

    /// Succeeds, and gives what it prints for people.
    fn told(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {}{}", said.out, said.err);
        said.out
    }

    /// Fails with this exit code, and gives what it says about that.
    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, code, "{arguments:?}: {}{}", said.out, said.err);
        said.err
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_goes_from_login_to_enforce_and_removal_with_the_command_line() {
    let (service, _roles) = Service::with_roles(["edge", "nameserver", "worker", "api"]).await;
    let desk = Desk::at(&service);
    assert_eq!(desk.told(&["domains", "list"]).trim(), "There are no such domains");

    // The CNAMEs are printed at once; the wait ends when they stand and the policy is published.
    let mut command =
        desk.command(&["domains", "add", "Customer.test.", "--max-age", "86400", "--wait", "--timeout", "60"]);
    let mut add = Process::spawn("domains add", &mut command);
    wait_until(PATIENCE, "the zone file is printed", || async { add.log().contains(" IN CNAME ") }).await;
    let listed = desk.json(&["domains", "list"]);
    let id = listed["data"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(listed["next_cursor"], Value::Null);
    service.delegate(&id).await;
    let mut ended = None;
    wait_until(PATIENCE, "the wait ends", || {
        ended = ended.or_else(|| add.ended());
        let done = ended.is_some();
        async move { done }
    })
    .await;
    wait_until(PATIENCE, "its last line", || async { add.log().contains("customer.test is published") }).await;
    assert!(ended.unwrap().success(), "{}", add.log());
    assert!(add.log().contains("✓ Delegated"), "{}", add.log());
    let again = desk.fails(1, &["domains", "add", "customer.test"]);
    assert!(again.contains("registered already (409)") && again.contains(&id), "{again}");
    assert!(again.contains("request id: "), "{again}");

    // By name and by id, for people and, unchanged, for programs.
    let shown = desk.told(&["domains", "show", "customer.test"]);
    for part in [&*id, "✓ RecordPublished", "mta-sts.customer.test", "mail.customer.test", "mode testing"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let (_, domain) = service.rest("GET", &format!("/v1/domains/{id}"), None).await;
    let (by_name, by_id) = (desk.json(&["domains", "show", "CUSTOMER.test"]), desk.json(&["domains", "show", &id]));
    assert_eq!(by_name["policy"], domain["policy"]);
    assert_eq!(by_id["delegation"]["records"], domain["delegation"]["records"]);
    assert!(desk.told(&["domains", "list", "--mode", "testing"]).contains(&id));
    assert!(!desk.told(&["domains", "list", "--condition", "Delegated:False"]).contains(&id));
    assert!(desk.fails(2, &["domains", "list", "--condition", "Nonsense"]).contains("condition: "));

    // No MX listens here: not healthy, and no proof for enforce.
    assert!(desk.told(&["watch", "customer.test", "--until", "published"]).contains("customer.test is published"));
    let ill = desk.fails(1, &["watch", &id, "--timeout", "1"]);
    assert!(ill.contains("was not healthy within 1 s") && ill.contains("MxReady"), "{ill}");
    let refused = desk.fails(1, &["policy", "mode", "customer.test", "enforce"]);
    assert!(refused.contains("mail.customer.test: ") && refused.contains("--force REASON"), "{refused}");
    let problem = desk.fails(1, &["policy", "mode", "customer.test", "enforce", "--json"]);
    let problem: Value = serde_json::from_str(&problem).unwrap();
    assert_eq!(problem["code"], "enforce-not-proven");
    desk.told(&["policy", "mode", "customer.test", "enforce", "--force", "a test", "--wait"]);
    let policy = desk.json(&["policy", "show", "customer.test"]);
    assert_eq!(
        (&policy["mode"], &policy["state"], &policy["forced"]),
        (&json!("enforce"), &json!("published"), &json!("a test"))
    );
    assert!(desk.told(&["policy", "show", &id]).contains("\nmax_age: 86400\n"));

    let version = policy["id"].as_str().unwrap();
    desk.told(&["policy", "rollback", "customer.test", "--if-version", version]);
    assert_eq!(desk.json(&["policy", "show", &id])["mode"], "testing");
    desk.fails(1, &["policy", "mode", &id, "none", "--if-version", version]);
    desk.fails(3, &["policy", "rollback", &id, "--to", "20000101000000aaaaaa"]);
    let set = desk.json(&["policy", "set", "customer.test", "--mx", "*.customer.test", "--mx", "mx.example.net"]);
    assert_eq!((&set["mx"], &set["max_age"]), (&json!(["*.customer.test", "mx.example.net"]), &json!(86400)));
    let wrong = desk.fails(2, &["policy", "set", "customer.test", "--mx", "not a host"]);
    assert!(wrong.contains("/mx/0: "), "{wrong}");
    desk.fails(2, &["policy", "set", "customer.test"]);
    let first = policy_id(&desk.json(&["policy", "show", "customer.test", "--history"]), "registered");
    let history = desk.told(&["policy", "show", "customer.test", "--history"]);
    assert_eq!(history.lines().count(), 5, "{history}");
    desk.told(&["policy", "rollback", "customer.test", "--to", &first, "--wait"]);
    assert_eq!(desk.json(&["policy", "set", &id, "--replace", "--mode", "none"])["max_age"], 604_800);

    assert!(desk.told(&["dns", "show", "customer.test"]).contains("ours"));
    assert!(desk.told(&["dns", "show", &id, "--format", "zone"]).contains("mta-sts.customer.test. 3600 IN CNAME "));
    assert!(desk.told(&["dns", "show", &id, "--format", "terraform-cloudflare"]).contains("cloudflare_dns_record"));

    assert!(desk.fails(2, &["domains", "rm", "customer.test"]).contains("--yes"));
    assert!(desk.told(&["domains", "rm", "customer.test", "--yes"]).contains("withdrawn"));
    assert_eq!(desk.json(&["domains", "show", &id])["state"], "withdrawing");
    assert!(desk.fails(3, &["domains", "show", "absent.test"]).contains("absent.test is not registered here"));
    desk.fails(3, &["domains", "show", "dom_0190c3a0b1c27d3e8f4051627384950a"]);
    desk.fails(2, &["domains", "show", "not a name"]);
}

/// Of the oldest version that was made for this reason.
fn policy_id(history: &Value, reason: &str) -> String {
    let versions = history["data"].as_array().unwrap();
    let first = versions.last().unwrap();
    assert!([reason, "discovered"].contains(&first["reason"].as_str().unwrap()), "{first}");
    first["policy_id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_paged_through_and_goes_on_from_where_a_limit_ended_it() {
    let (service, _roles) = Service::with_roles(["api"]).await;
    let desk = Desk::at(&service);
    for number in 0..103 {
        let body = json!({"name": format!("d{number:03}.test"), "mx": ["mx.example.net"]});
        assert_eq!(service.rest("POST", "/v1/domains", Some(body)).await.0, 201);
    }
    let names = |list: &Value| -> Vec<String> {
        list["data"].as_array().unwrap().iter().map(|domain| domain["name"].as_str().unwrap().to_owned()).collect()
    };
    let all = desk.json(&["domains", "list"]);
    let mut sorted = names(&all);
    sorted.sort();
    sorted.dedup();
    assert_eq!((names(&all).len(), sorted.len(), &all["next_cursor"]), (103, 103, &Value::Null));
    let some = desk.json(&["domains", "list", "--limit", "101"]);
    assert_eq!(names(&some), names(&all)[..101]);
    let rest = desk.json(&["domains", "list", "--cursor", some["next_cursor"].as_str().unwrap()]);
    assert_eq!(names(&rest), names(&all)[101..]);
    let told = desk.told(&["domains", "list", "--limit", "101"]);
    assert_eq!(told.lines().count(), 103, "a head, the domains, and how to go on");
    assert_eq!(desk.told(&["domains", "list", "--name-prefix", "d05"]).lines().count(), 11);
    // Nobody has looked for the MX hosts of this one, so there is no policy to change.
    desk.told(&["domains", "add", "bücher.test"]);
    let none = desk.fails(3, &["policy", "set", "bücher.test", "--max-age", "86400"]);
    assert!(none.contains("--replace"), "{none}");
    desk.told(&["policy", "set", "xn--bcher-kva.test", "--replace", "--mode", "testing", "--mx", "mx.example.net"]);
    assert!(desk.told(&["domains", "show", "bücher.test"]).starts_with("bücher.test, xn--bcher-kva.test (dom_"));
    desk.fails(1, &["policy", "rollback", "bücher.test"]);
    // A name that begins another one is not taken for it.
    desk.fails(3, &["domains", "show", "d00"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_is_kept_for_its_owner_and_its_api_alone() {
    let (service, mut roles) = Service::with_roles(["api"]).await;
    let desk = Desk::at(&service);
    let said = desk.type_in(&["login", "--api", &desk.api, "--json"], &service.key);
    let tenant: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &tenant["name"]), (0, &json!("Example")));
    let kept = fs::read_to_string(desk.file()).unwrap();
    assert!(kept.contains(&service.key) && kept.contains(&desk.api));
    assert_eq!(fs::metadata(desk.file()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(desk.file().parent().unwrap()).unwrap().count(), 1, "no draft is left");

    // A wrong key is refused, and does not replace the one that works.
    let wrong = format!("{}x", service.key);
    let said = desk.type_in(&["login", "--api", &desk.api], &wrong);
    assert_eq!(said.code, 4, "{}", said.err);
    assert!(said.err.contains("(401)") && said.err.contains("request id: "), "{}", said.err);
    assert_eq!(fs::read_to_string(desk.file()).unwrap(), kept);
    assert_eq!(desk.type_in(&["login", "--api", &desk.api], "two words").code, 4);
    desk.told(&["domains", "list"]);

    // Variables and options outrank the file.
    let with =
        |name: &str, value: &str, arguments: &[&str]| desk.finish(desk.command(arguments).env(name, value), "").code;
    assert_eq!(with("MTASTS_API_KEY", &wrong, &["domains", "list"]), 4);
    let key_file = desk.folder.path().join("key");
    fs::write(&key_file, format!("{}\n", service.key)).unwrap();
    let key_file = key_file.to_str().unwrap();
    assert_eq!(with("MTASTS_API_KEY", &wrong, &["domains", "list", "--key-file", key_file]), 0);
    desk.fails(2, &["domains", "list", "--key-file", "/nonexistent"]);

    // The kept key goes nowhere else, nor in the clear.
    let elsewhere = desk.fails(4, &["domains", "list", "--api", "http://127.0.0.1:1/"]);
    assert!(elsewhere.contains("the key that is kept is for"), "{elsewhere}");
    assert_eq!(with("MTASTS_API_URL", "http://127.0.0.1:1/", &["domains", "list"]), 4);
    let clear = desk.fails(2, &["domains", "list", "--api", "http://api.example.net", "--key-file", key_file]);
    assert!(clear.contains("not encrypted"), "{clear}");
    assert!(desk.fails(2, &["domains", "list", "--api", "ftp://x"]).contains("https://"));

    fs::set_permissions(desk.file(), fs::Permissions::from_mode(0o640)).unwrap();
    assert!(desk.fails(2, &["domains", "list"]).contains("chmod 600"));
    fs::set_permissions(desk.file(), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(desk.file(), format!("api = \"{}\"\nkey = {}", desk.api, service.key)).unwrap();
    assert!(desk.fails(2, &["domains", "list"]).contains("mtasts login"), "the broken line is not quoted");
    fs::remove_file(desk.file()).unwrap();
    assert!(desk.fails(4, &["domains", "list"]).contains("mtasts login"));

    // Away: with an answer that says so, and without one.
    let key_file = ["--key-file", key_file, "--api", &desk.api, "--retry-for", "1"];
    service.gate.shut();
    wait_until(PATIENCE, "the store is away", || async { service.rest("GET", "/v1/domains", None).await.0 == 503 })
        .await;
    let away = desk.fails(5, &[&["domains", "list"] as &[_], &key_file].concat());
    assert!(away.contains("(503)") && away.contains("try again in"), "{away}");
    roles[0].stop(mtasts_testkit::Signal::Kill);
    let away = desk.fails(5, &[&["domains", "list"] as &[_], &key_file].concat());
    assert!(away.contains("does not answer"), "{away}");
    let away = desk
        .fails(5, &[&["watch", "dom_0190c3a0b1c27d3e8f4051627384950a", "--timeout", "2"] as &[_], &key_file].concat());
    assert!(away.contains("does not answer"), "{away}");
}

#[test]
fn completions_are_generated_for_each_shell() {
    for (shell, sign) in [("bash", "complete -F _mtasts"), ("zsh", "#compdef mtasts"), ("fish", "complete -c mtasts")] {
        let output = mtasts(&["completions", shell]);
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && script.contains(sign) && script.contains("rollback"), "{shell}");
    }
    assert_eq!(mtasts(&["completions", "tcsh"]).status.code(), Some(2));
}
