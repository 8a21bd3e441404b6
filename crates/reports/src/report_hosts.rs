//! Reports about reports.

/// Names of the hosts that receive reports. A report mail that fails TLS there makes one more report, each day, for
/// ever (RFC 8460 §3): what speaks of them is marked, for not to be counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReportHosts(Vec<String>);

impl ReportHosts {
    /// Takes host and mail domain names; those below them are meant too.
    pub fn new<I: IntoIterator<Item = S>, S: AsRef<str>>(names: I) -> Self {
        let clean = |name: S| name.as_ref().trim().trim_end_matches('.').to_lowercase();
        Self(names.into_iter().map(clean).filter(|name| !name.is_empty()).collect())
    }

    /// Whether a name is one of them, or below one.
    pub fn has(&self, name: &str) -> bool {
        self.0
            .iter()
            .any(|host| name.strip_suffix(host.as_str()).is_some_and(|front| front.is_empty() || front.ends_with('.')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_below_a_report_host_is_meant_and_one_that_only_ends_alike_is_not() {
        let hosts = ReportHosts::new(["Reports.sts.example.net."]);
        assert!(hosts.has("reports.sts.example.net") && hosts.has("mx1.reports.sts.example.net"));
        assert!(!hosts.has("myreports.sts.example.net") && !hosts.has("sts.example.net"));
    }
}
