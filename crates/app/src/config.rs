//! The one configuration: a TOML file, and `MTASTS__SECTION__KEY` in the environment, which outranks it. Unknown keys
//! are errors. `docs/CONFIGURATION.md` documents every key.

mod checks;
mod customers;
mod data_dir;
mod enforce;
mod intake;
mod issuer;
mod limits;
mod mail;
mod nameserver;
mod oidc;
mod quotas;
mod sections;
mod serving;
mod telemetry;
mod vault;
mod webhooks;
mod working;
mod zones;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use ::config::{Environment, File, FileFormat};
use serde::Deserialize;

pub(crate) use self::nameserver::{DnssecKeyKind, dnssec_key_id, reseal_dnssec_key, sealed_dnssec_key};
pub(crate) use self::oidc::verifier as oidc_verifier;
pub(crate) use self::{
    checks::ChecksSection,
    customers::{CustomerDnsSection, DomainConnectSection},
    data_dir::{key_ring, operator_token},
    enforce::EnforceSection,
    intake::IntakeSection,
    limits::LimitsSection,
    mail::MailSection,
    quotas::QuotasSection,
    sections::{
        AdminConfig, ApiSection, DatabaseConfig, EdgeSection, IssuerConfig, IssuerKind, LogConfig, LogFormat,
        NamesConfig, NameserverSection, ProbeSection, RedisConfig, ReportsConfig, ResolverSection, SecretsConfig,
        ServiceConfig, WorkerSection, ZoneSection,
    },
    telemetry::{ExportConfig, TelemetrySection},
    vault::VaultSection,
    webhooks::WebhooksSection,
};
use self::{oidc::OidcIssuer, zones::ZoneHosting};
use crate::{roles::RoleSet, startup::StartupError};

/// Everything that an operator may set. Every key has a default.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Where a process keeps files of its own: replicas, the local CA, secrets that it draws itself.
    pub(crate) data_dir: PathBuf,
    pub(crate) database: DatabaseConfig,
    pub(crate) redis: RedisConfig,
    pub(crate) service: ServiceConfig,
    pub(crate) names: NamesConfig,
    pub(crate) secrets: SecretsConfig,
    pub(crate) vault: VaultSection,
    pub(crate) api: ApiSection,
    pub(crate) limits: LimitsSection,
    /// By the operator's name for it.
    pub(crate) oidc: BTreeMap<String, OidcIssuer>,
    pub(crate) quotas: QuotasSection,
    pub(crate) customer_dns: CustomerDnsSection,
    pub(crate) domain_connect: DomainConnectSection,
    pub(crate) admin: AdminConfig,
    pub(crate) edge: EdgeSection,
    pub(crate) nameserver: NameserverSection,
    pub(crate) zone: ZoneSection,
    /// By the operator's name for it.
    pub(crate) zones: BTreeMap<String, ZoneHosting>,
    pub(crate) resolver: ResolverSection,
    pub(crate) issuer: IssuerConfig,
    pub(crate) worker: WorkerSection,
    pub(crate) webhooks: WebhooksSection,
    pub(crate) checks: ChecksSection,
    pub(crate) enforce: EnforceSection,
    pub(crate) mail: MailSection,
    pub(crate) probe: ProbeSection,
    pub(crate) reports: ReportsConfig,
    pub(crate) intake: IntakeSection,
    pub(crate) log: LogConfig,
    pub(crate) telemetry: TelemetrySection,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("mtasts-data"),
            database: DatabaseConfig::default(),
            redis: RedisConfig::default(),
            service: ServiceConfig::default(),
            names: NamesConfig::default(),
            secrets: SecretsConfig::default(),
            vault: VaultSection::default(),
            api: ApiSection::default(),
            limits: LimitsSection::default(),
            oidc: BTreeMap::new(),
            quotas: QuotasSection::default(),
            customer_dns: CustomerDnsSection::default(),
            domain_connect: DomainConnectSection::default(),
            admin: AdminConfig::default(),
            edge: EdgeSection::default(),
            nameserver: NameserverSection::default(),
            zone: ZoneSection::default(),
            zones: BTreeMap::new(),
            resolver: ResolverSection::default(),
            issuer: IssuerConfig::default(),
            worker: WorkerSection::default(),
            webhooks: WebhooksSection::default(),
            checks: ChecksSection::default(),
            enforce: EnforceSection::default(),
            mail: MailSection::default(),
            probe: ProbeSection::default(),
            reports: ReportsConfig::default(),
            intake: IntakeSection::default(),
            log: LogConfig::default(),
            telemetry: TelemetrySection::default(),
        }
    }
}

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read, or a key is unknown or has a wrong value.
    #[error("the configuration cannot be used")]
    Read(#[source] Box<::config::ConfigError>),
    /// A value has the right type and still makes no sense.
    #[error("{key}: {problem}")]
    Value {
        /// The key, as `section.key`.
        key: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A file that a key names cannot be read.
    #[error("{key}: cannot read {}", .path.display())]
    File {
        /// The key, as `section.key`.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

impl ConfigError {
    #[expect(clippy::needless_pass_by_value, reason = "callers hand over an error or a text as it is")]
    pub(crate) fn value(key: &'static str, problem: impl ToString) -> Self {
        Self::Value { key, problem: problem.to_string() }
    }
}

/// Keys with lists, which the environment gives separated by commas.
const LISTS: [&str; 25] = [
    "names.allow_reserved",
    "api.listen",
    "limits.trusted_proxies",
    "edge.https_listen",
    "edge.http_listen",
    "edge.proxy_protocol_from",
    "nameserver.listen",
    "nameserver.ns",
    "nameserver.ns_addresses",
    "nameserver.edge_addresses",
    "nameserver.caa",
    "nameserver.rate_limit_exempt",
    "nameserver.proxy_protocol_from",
    "reports.rua",
    "reports.addresses",
    "intake.smtp_listen",
    "intake.https_listen",
    "intake.http_listen",
    "intake.trusted_proxies",
    "intake.proxy_protocol_from",
    "issuer.caa_identities",
    "zone.authoritative",
    "resolver.upstreams",
    "issuer.challenges",
    "issuer.contacts",
];

type Variables = ::config::Map<String, String>;

fn environment() -> Environment {
    Environment::with_prefix("MTASTS").prefix_separator("__").separator("__")
}

/// The key that a variable of the environment sets, if it is one with a list.
fn list_key(variable: &str) -> Option<String> {
    let key = variable.to_ascii_lowercase().replace("__", ".");
    let key = key.strip_prefix("mtasts.")?;
    // `zones.<id>.authoritative`, whatever the id.
    let of_a_zone = key.strip_prefix("zones.").is_some_and(|key| key.ends_with(".authoritative"));
    // `oidc.<name>.owner` and the other roles.
    let of_a_role = key.strip_prefix("oidc.").and_then(|key| key.split_once('.'));
    let of_a_role = of_a_role.is_some_and(|(_, role)| role.parse::<mtasts_model::Role>().is_ok());
    (of_a_zone || of_a_role || LISTS.contains(&key)).then(|| key.to_owned())
}

impl Config {
    /// Reads the file, if one is named, and the environment.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        Self::read(file, None)
    }

    fn read(file: Option<&Path>, variables: Option<Variables>) -> Result<Self, ConfigError> {
        let mut builder = ::config::Config::builder();
        if let Some(path) = file {
            builder = builder.add_source(File::from(path).format(FileFormat::Toml));
        }
        let variables = variables.unwrap_or_else(|| {
            // What is no UTF-8 can be no setting of ours.
            let text = std::env::vars_os().map(|(key, value)| (key.into_string(), value.into_string()));
            text.filter_map(|(key, value)| Some((key.ok()?, value.ok()?))).collect()
        });
        // Only lists are parsed. A secret of digits alone would come back as another text: 0012 as 12.
        let (lists, texts): (Variables, Variables) =
            variables.into_iter().partition(|(variable, _)| list_key(variable).is_some());
        let list_keys: Vec<_> = lists.keys().filter_map(|variable| list_key(variable)).collect();
        let mut list_source = environment().try_parsing(true).list_separator(",").source(Some(lists));
        for key in list_keys {
            list_source = list_source.with_list_parse_key(&key);
        }
        let builder = builder.add_source(list_source).add_source(environment().source(Some(texts)));
        let read = builder.build().and_then(::config::Config::try_deserialize);
        read.map_err(|error| ConfigError::Read(Box::new(error)))
    }

    /// Builds what can be built from the configuration without touching anything outside, so that mistakes show. Of
    /// the files that it names, those that these roles read are read: no other process needs to have them.
    pub(crate) fn verify(&self, roles: RoleSet) -> Result<(), StartupError> {
        self.service.zone()?;
        self.names.rules();
        self.edge.config(&self.data_dir)?;
        self.check_zones()?;
        // As it is started: alone, or where there is something to answer.
        if roles.has_nameserver() && (!roles.has_worker() || self.has_embedded_zone()) {
            self.nameserver.config(self)?;
        }
        if roles.has_worker() {
            self.check_providers()?;
            self.mail_relay()?.map(mtasts_worker::Relay::new).transpose()?;
            self.issuer.check()?;
            self.reports.origins()?;
        }
        if roles.has_api() {
            self.domain_connect.identity(self.service.zone()?.as_str())?;
        }
        self.probe(std::sync::Arc::new(mtasts_model::SystemClock))?;
        self.worker.config(self, "check".to_owned())?;
        self.webhooks.config()?;
        self.checks.config()?;
        self.checks.per_hour()?;
        self.enforce.demands()?;
        self.intake.config(self)?;
        self.reports.retention()?;
        self.vault.settings()?;
        self.api.public_url()?;
        self.limits.settings()?;
        oidc::configs(&self.oidc)?;
        self.quotas.quotas()?;
        self.export()?;
        self.customer_dns.cloudflare_api()?;
        if let Err(error) = crate::logging::filter(&self.log.level) {
            return Err(ConfigError::value("log.level", error).into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_text(text: &str) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mtasts.toml");
        std::fs::write(&path, text).unwrap();
        Config::read(Some(&path), Some(Variables::new()))
    }

    #[test]
    fn no_configuration_is_a_sound_one() {
        let config = Config::read(None, Some(Variables::new())).unwrap();
        config.verify(RoleSet::ALL).unwrap();
        assert_eq!(config.issuer.kind, IssuerKind::LocalCa);
        assert!(config.redis.url.is_none());
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        let error = from_text("[edge]\nhttp_lissten = []\n").unwrap_err();
        assert!(crate::startup::causes(&error).contains("http_lissten"), "{error:?}");
        assert!(from_text("[edgge]\n").is_err());
    }

    #[test]
    fn the_environment_outranks_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mtasts.toml");
        std::fs::write(&path, "[service]\nzone = \"a.test\"\n[resolver]\nattempts = 7\n").unwrap();
        let variables = [
            ("MTASTS__SERVICE__ZONE", "b.test"),
            ("MTASTS__RESOLVER__UPSTREAMS", "127.0.0.1:53,[::1]:53"),
            ("MTASTS__DATABASE__MAX_CONNECTIONS", "3"),
            ("MTASTS__ISSUER__EAB_KEY_ID", "0012"),
            ("MTASTS__EDGE__SEND_TICKETS", "true"),
            ("MTASTS__ZONES__MAIN__PROVIDER", "rfc2136"),
            ("MTASTS__ZONES__MAIN__AUTHORITATIVE", "192.0.2.1:53,192.0.2.2:53"),
            ("MTASTS__ZONES__MAIN__SECRET", "0012"),
            ("MTASTS__OIDC__MAIN__AUDIENCE", "0012"),
            ("MTASTS__OIDC__MAIN__ADMIN", "Lead,Boss"),
        ];
        let variables = variables.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let config = Config::read(Some(&path), Some(variables)).unwrap();
        assert_eq!(config.service.zone().unwrap().as_str(), "b.test");
        assert_eq!(config.resolver.upstreams.len(), 2);
        assert_eq!(config.resolver.attempts, 7);
        assert_eq!(config.database.max_connections, 3);
        assert!(config.edge.send_tickets);
        assert_eq!(config.zones["main"].authoritative.len(), 2);
        assert_eq!(config.oidc["main"].audience, "0012");
        assert_eq!(config.oidc["main"].admin, ["Lead", "Boss"]);
        assert_eq!(config.issuer.eab_key_id.as_deref(), Some("0012"), "digits stay as they were written");
    }

    #[test]
    fn secrets_are_not_shown() {
        let text = "[database]\nurl = \"postgres://u:hunter2@h/d\"\n[secrets]\nkey_ring = \"k1:hunter2\"\n\
                    [api]\noperator_token = \"hunter2\"\n[issuer]\neab_hmac_key = \"hunter2\"\n\
                    [redis]\nurl = \"redis://:hunter2@h\"\n";
        let shown = format!("{:#?}", from_text(text).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_value_that_makes_no_sense_names_its_key() {
        for (text, key) in [
            ("[service]\nzone = \"no zone\"\n", "service.zone"),
            ("[issuer]\nkind = \"acme\"\ndirectory = \"http://ca.test/dir\"\n", "issuer.directory"),
            ("[issuer]\nkind = \"acme\"\n", "issuer.directory"),
            ("[probe]\nhelo_name = \"-\"\n", "probe.helo_name"),
            ("[nameserver]\ncaa = [\"issue\"]\n", "nameserver.caa"),
            ("[reports]\nrua = [\"mailto:a@b.example\"]\n", "reports.rua"),
            ("[reports]\nhost = \"no host\"\n", "reports.host"),
            ("[reports]\nhost = \"r.test\"\n[intake]\nkey_file = \"k\"\n", "intake.certificate_file"),
            ("[reports]\nhost = \"r.test\"\n[intake]\ntrusted_proxies = [\"x\"]\n", "intake.trusted_proxies"),
            ("[reports]\nhost = \"r.test\"\n[intake]\npostmaster = \"a@b\\r\\n\"\n", "intake.postmaster"),
            ("[reports]\nhost = \"r.test\"\n[intake]\nmax_report_mebibytes = 0\n", "intake.max_report_mebibytes"),
            ("[log]\nlevel = \"a=b=c\"\n", "log.level"),
            ("[zones.a]\nprovider = \"cloudflare\"\nauthoritative = [\"192.0.2.1:53\"]\n", "zones.<id>.secret"),
            ("[zones.a]\nprovider = \"rfc2136\"\n", "zones.<id>.authoritative"),
            (
                "[zones.a]\nname = \"other.test\"\nprovider = \"rfc2136\"\nauthoritative = [\"192.0.2.1:53\"]\n",
                "service.zone",
            ),
            ("[zones.a]\nname = \"other.test\"\n", "zones.<id>.name"),
            ("[zones.a]\nstate = \"draining\"\n", "zones.<id>.state"),
            ("[zones.a]\nstate = \"filling\"\n", "zones.<id>.state"),
            (
                "[zones.a]\nrequests_per_second = 0.0\nprovider = \"rfc2136\"\nauthoritative = [\"192.0.2.1:53\"]\n",
                "zones.<id>.requests_per_second",
            ),
            (
                "[zones.a]\nowner = \"A B\"\nprovider = \"rfc2136\"\nauthoritative = [\"192.0.2.1:53\"]\n",
                "zones.<id>.owner",
            ),
            ("[[nameserver.transfers]]\nname = \"ns2\"\n", "nameserver.transfers"),
            ("[nameserver]\nrate_limit_exempt = [\"x\"]\n", "nameserver.rate_limit_exempt"),
            ("[nameserver]\nproxy_protocol_from = [\"192.0.2.1\"]\n", "zone.authoritative"),
            (
                "[zone]\nauthoritative = [\"192.0.2.1:53\"]\n[nameserver]\nproxy_protocol_from = [\"x\"]\n",
                "nameserver.proxy_protocol_from",
            ),
            ("[edge]\nproxy_protocol_from = [\"x\"]\n", "edge.proxy_protocol_from"),
            (
                "[reports]\nhost = \"reports.sts.test\"\n[intake]\nproxy_protocol_from = [\"10.0.0.0/33\"]\n",
                "intake.proxy_protocol_from",
            ),
            ("[oidc.main]\nissuer = \"https://id.example\"\n", "oidc.<name>.audience"),
        ] {
            let error = from_text(text).unwrap().verify(RoleSet::ALL).unwrap_err();
            assert!(crate::startup::causes(&error).contains(key), "{key}: {error:?}");
        }
    }

    #[test]
    fn where_no_zone_is_our_own_nobody_asks_for_our_nameservers_addresses() {
        let elsewhere = "[nameserver]\nlisten = [\"0.0.0.0:53\"]\n[zones.a]\nprovider = \"rfc2136\"\n\
                         authoritative = [\"192.0.2.1:53\"]\n";
        let config = from_text(elsewhere).unwrap();
        config.verify(RoleSet::ALL).unwrap();
        assert!(config.verify(RoleSet::NAMESERVER).is_err());
        assert!(from_text("[nameserver]\nlisten = [\"0.0.0.0:53\"]\n").unwrap().verify(RoleSet::ALL).is_err());
    }

    #[test]
    fn a_role_needs_no_secret_that_only_another_one_reads() {
        let text = "[issuer]\nkind = \"acme\"\ndirectory = \"https://ca.test/dir\"\neab_key_id = \"1\"\n\
                    [mail]\nrelay = \"relay.test\"\nfrom = \"a@b.test\"\nusername = \"u\"\npassword_file = \"/nowhere/1\"\n\
                    [zones.main]\nprovider = \"cloudflare\"\nauthoritative = [\"192.0.2.1:53\"]\n\
                    secret_file = \"/nowhere/2\"\n\
                    [domain_connect]\nprivate_key_file = \"/nowhere/3\"\n\
                    [[nameserver.transfers]]\nname = \"ns2\"\nkey_name = \"k\"\nsecret_file = \"/nowhere/4\"\n";
        let config = from_text(text).unwrap();
        config.verify(RoleSet::EDGE).unwrap();
        config.verify(RoleSet::INTAKE).unwrap();
        for (roles, key) in [
            (RoleSet::NAMESERVER, "nameserver.transfers"),
            (RoleSet::WORKER, "zones.<id>.secret"),
            (RoleSet::API, "domain_connect.private_key_file"),
            (RoleSet::ALL, "zones.<id>.secret"),
        ] {
            let error = config.verify(roles).unwrap_err();
            assert!(crate::startup::causes(&error).contains(key), "{key}: {error:?}");
        }
    }

    #[test]
    fn reports_go_to_the_host_by_mail_unless_another_address_is_named() {
        let template = |text: &str| from_text(text).unwrap().reports.templates().unwrap();
        assert_eq!(template(""), []);
        let by_mail = "mailto:tlsrpt-{label}@reports.example.net".parse().unwrap();
        assert_eq!(template("[reports]\nhost = \"reports.example.net\"\n"), [by_mail]);
        let other = "https://r.example.net/v1/tlsrpt/{label}";
        let text = format!("[reports]\nhost = \"reports.example.net\"\nrua = [\"{other}\"]\n");
        assert_eq!(template(&text), [other.parse().unwrap()]);
    }

    /// `section.key` of every key, read off the defaults.
    fn keys() -> Vec<String> {
        let mut keys = Vec::new();
        let mut section = String::new();
        for line in format!("{:#?}", Config::default()).lines() {
            let depth = line.len() - line.trim_start().len();
            let Some((key, _)) = line.trim_start().split_once(": ") else { continue };
            match depth {
                4 if line.ends_with(" {") => key.clone_into(&mut section),
                // Tables by the operator's names: their keys come below.
                4 if matches!(key, "zones" | "oidc") => {}
                4 => keys.push(key.to_owned()),
                8 => keys.push(format!("{section}.{key}")),
                _ => {}
            }
        }
        for (table, defaults) in [
            ("zones.<id>", format!("{:#?}", ZoneHosting::default())),
            ("oidc.<name>", format!("{:#?}", OidcIssuer::default())),
        ] {
            for line in defaults.lines().filter(|line| line.starts_with("    ")) {
                if let Some((key, _)) = line.trim_start().split_once(": ")
                    && !line.starts_with("     ")
                {
                    keys.push(format!("{table}.{key}"));
                }
            }
        }
        keys
    }

    #[test]
    fn every_key_is_documented_and_every_documented_key_exists() {
        let documentation = include_str!("../../../docs/CONFIGURATION.md");
        let row = |line: &str| line.strip_prefix("| `")?.split_once('`').map(|(key, _)| key.to_owned());
        let mut documented: Vec<_> = documentation.lines().filter_map(row).collect();
        let mut known = keys();
        documented.sort();
        known.sort();
        assert_eq!(documented, known);
    }
}
