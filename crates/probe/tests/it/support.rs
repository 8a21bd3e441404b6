//! What the tests of both probes share.

use std::{sync::Arc, time::Duration};

use mtasts_dns::{Resolver, ResolverConfig};
use mtasts_model::{HostName, MailDomain, SystemClock};
use mtasts_probe::{ProbeConfig, Timeouts, roots};

use crate::{dns::Table, pki::Pki};

pub(crate) fn domain() -> MailDomain {
    MailDomain::from_stored("customer.test").unwrap()
}

pub(crate) fn host(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}

/// Short deadlines, loopback allowed, the test's own root.
pub(crate) fn config(pki: &Pki, port: u16) -> ProbeConfig {
    let second = Duration::from_secs(1);
    ProbeConfig {
        policy_port: port,
        smtp_port: port,
        roots: Arc::new(roots(&[pki.root()]).unwrap()),
        allow_private_addresses: true,
        timeouts: Timeouts {
            connect: second,
            handshake: second * 2,
            reply: second,
            fetch: second * 3,
            mx_host: second * 5,
        },
        ..ProbeConfig::new(host("prober.test"), Arc::new(SystemClock))
    }
}

pub(crate) async fn resolver(table: Table) -> Resolver {
    let server = table.serve().await;
    let config = ResolverConfig { upstreams: vec![server], timeout: Duration::from_millis(500), attempts: 1 };
    Resolver::new(config).unwrap()
}
