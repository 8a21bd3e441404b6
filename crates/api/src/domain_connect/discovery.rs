//! Whether the DNS provider of a domain knows our template (specification, "DNS Provider Discovery").

use std::fmt;

use mtasts_model::{Label, MailDomain, NameRules};
use serde::Deserialize;
use url::{Host, Url};

use super::{
    DomainConnectIdentity, DomainConnectWeb, WebAnswer,
    template::{LABEL, REQUIRED_GROUP},
};
use crate::problem::Problem;

/// Discovery works at the apex of a zone, and where that is is not told: these many names are tried, the domain's own
/// first. The ones left out are the longest.
const MAX_CANDIDATES: usize = 5;
/// What is shown of a text of the provider's.
const MAX_SHOWN: usize = 100;

/// What came of the look.
#[derive(Debug)]
pub(crate) enum Discovery {
    /// The customer can go there.
    Possible {
        /// The provider, for people.
        dns_provider: String,
        /// The zone that holds the domain there.
        zone: String,
        /// Where the customer goes.
        apply_url: Url,
    },
    /// The customer cannot.
    NotPossible(NotPossible),
}

/// Why a domain cannot be set up by Domain Connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotPossible {
    /// The installation has no identity.
    NotConfigured,
    /// No zone has the TXT record.
    NotOffered,
    /// There is a record, but that provider does not have the zone.
    ZoneElsewhere,
    /// The provider has no synchronous flow for this domain.
    NoSynchronousFlow { dns_provider: String },
    /// The provider does not know our template.
    TemplateUnknown { dns_provider: String },
    /// DNS or the provider did not answer: try again later.
    Unreachable,
    /// The provider's answer is none.
    Malformed,
}

impl NotPossible {
    /// A stable word for programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NotConfigured => "not-configured",
            Self::NotOffered => "not-offered",
            Self::ZoneElsewhere => "zone-elsewhere",
            Self::NoSynchronousFlow { .. } => "no-synchronous-flow",
            Self::TemplateUnknown { .. } => "template-unknown",
            Self::Unreachable => "unreachable",
            Self::Malformed => "malformed-answer",
        }
    }
}

impl fmt::Display for NotPossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConfigured => f.write_str("This service does not offer Domain Connect"),
            Self::NotOffered => f.write_str("The domain's DNS provider does not offer Domain Connect"),
            Self::ZoneElsewhere => f.write_str(
                "The TXT record `_domainconnect` leads to a DNS provider that does not have the domain's zone",
            ),
            Self::NoSynchronousFlow { dns_provider } => {
                write!(f, "{dns_provider} does not offer this domain Domain Connect by a link")
            }
            Self::TemplateUnknown { dns_provider } => write!(f, "{dns_provider} does not know our template yet"),
            Self::Unreachable => f.write_str("The domain's DNS provider could not be asked: try again later"),
            Self::Malformed => f.write_str("The answer of the domain's DNS provider cannot be read"),
        }?;
        f.write_str(match self {
            Self::Unreachable => ", or set the records by hand, as a zone file or by Terraform",
            _ => ": set the records by hand, as a zone file or by Terraform",
        })
    }
}

/// The parts of the settings that are used.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Settings {
    provider_name: Option<String>,
    provider_display_name: Option<String>,
    #[serde(rename = "urlSyncUX")]
    url_sync_ux: Option<String>,
    #[serde(rename = "urlAPI")]
    url_api: String,
}

/// Looks for the domain's DNS provider, and makes the link.
pub(crate) async fn discover(
    web: &dyn DomainConnectWeb,
    identity: &DomainConnectIdentity,
    (domain, label): (&MailDomain, &Label),
    rules: &NameRules,
) -> Result<Discovery, Problem> {
    let (zone, prefix) = match find_prefix(web, domain, rules).await {
        Ok(found) => found,
        Err(reason) => return Ok(Discovery::NotPossible(reason)),
    };
    let settings = match read_settings(web, &prefix, &zone).await {
        Ok(settings) => settings,
        Err(reason) => return Ok(Discovery::NotPossible(reason)),
    };
    match knows_template(web, identity, &settings).await {
        Ok(Ready { dns_provider, sync }) => {
            let apply_url = apply_url(sync, identity, (domain, label), &zone)?;
            Ok(Discovery::Possible { dns_provider, zone, apply_url })
        }
        Err(reason) => Ok(Discovery::NotPossible(reason)),
    }
}

/// The names that may be the zone of the domain: it and its parents, as far as they can be registered.
fn candidates<'a>(domain: &'a MailDomain, rules: &NameRules) -> Vec<&'a str> {
    let mut names = vec![domain.as_str()];
    let mut rest = domain.as_str();
    while let Some((_, parent)) = rest.split_once('.')
        && MailDomain::parse(parent, rules).is_ok()
    {
        names.push(parent);
        rest = parent;
    }
    names.split_off(names.len().saturating_sub(MAX_CANDIDATES))
}

async fn find_prefix(
    web: &dyn DomainConnectWeb,
    domain: &MailDomain,
    rules: &NameRules,
) -> Result<(String, Url), NotPossible> {
    for zone in candidates(domain, rules) {
        let values = web.txt(&format!("_domainconnect.{zone}")).await.map_err(|error| {
            tracing::debug!(zone, %error, "the Domain Connect record could not be looked up");
            NotPossible::Unreachable
        })?;
        if let Some(prefix) = values.iter().find_map(|value| prefix(value)) {
            return Ok((zone.to_owned(), prefix));
        }
    }
    Err(NotPossible::NotOffered)
}

/// The record's value is a host, maybe with a path, and no more.
fn prefix(value: &str) -> Option<Url> {
    endpoint(&format!("https://{}", value.trim()))
}

/// An address that is asked: by name, on the one port for HTTPS, with nothing behind the path.
fn endpoint(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|_| text.len() <= 512)?;
    let plain = url.scheme() == "https"
        && url.username().is_empty()
        && url.password().is_none()
        && url.port().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    (plain && matches!(url.host(), Some(Host::Domain(_)))).then_some(url)
}

/// The address with further segments of its path, each escaped.
fn beneath<'a>(mut base: Url, segments: impl IntoIterator<Item = &'a str>) -> Option<Url> {
    base.path_segments_mut().ok()?.pop_if_empty().extend(segments);
    Some(base)
}

async fn ask(web: &dyn DomainConnectWeb, url: Option<Url>) -> Result<WebAnswer, NotPossible> {
    let url = url.ok_or(NotPossible::Malformed)?;
    web.get(&url).await.map_err(|error| {
        tracing::debug!(host = url.host_str(), %error, "a DNS provider could not be asked");
        NotPossible::Unreachable
    })
}

async fn read_settings(web: &dyn DomainConnectWeb, prefix: &Url, zone: &str) -> Result<Settings, NotPossible> {
    let answer = ask(web, beneath(prefix.clone(), ["v2", zone, "settings"])).await?;
    match answer.status {
        200..=299 => serde_json::from_slice(&answer.body).map_err(|_| NotPossible::Malformed),
        404 => Err(NotPossible::ZoneElsewhere),
        500.. | 429 => Err(NotPossible::Unreachable),
        _ => Err(NotPossible::Malformed),
    }
}

struct Ready {
    dns_provider: String,
    sync: Url,
}

async fn knows_template(
    web: &dyn DomainConnectWeb,
    identity: &DomainConnectIdentity,
    settings: &Settings,
) -> Result<Ready, NotPossible> {
    let dns_provider = shown(settings);
    let Some(sync) = &settings.url_sync_ux else { return Err(NotPossible::NoSynchronousFlow { dns_provider }) };
    let sync = endpoint(sync).ok_or(NotPossible::Malformed)?;
    let api = endpoint(&settings.url_api).ok_or(NotPossible::Malformed)?;
    let answer = ask(web, beneath(api, template_path(identity))).await?;
    match answer.status {
        200..=299 => Ok(Ready { dns_provider, sync }),
        404 => Err(NotPossible::TemplateUnknown { dns_provider }),
        500.. | 429 => Err(NotPossible::Unreachable),
        _ => Err(NotPossible::Malformed),
    }
}

fn template_path(identity: &DomainConnectIdentity) -> [&str; 6] {
    ["v2", "domainTemplates", "providers", identity.provider_id.as_str(), "services", &identity.service_id]
}

/// The provider's name, cut short and without what could break a page or a log.
fn shown(settings: &Settings) -> String {
    let name = settings.provider_display_name.as_deref().or(settings.provider_name.as_deref()).unwrap_or_default();
    let name: String = name.chars().filter(|c| !c.is_control()).take(MAX_SHOWN).collect();
    if name.trim().is_empty() { "The DNS provider".to_owned() } else { name }
}

fn apply_url(
    sync: Url,
    identity: &DomainConnectIdentity,
    (domain, label): (&MailDomain, &Label),
    zone: &str,
) -> Result<Url, Problem> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("domain", zone);
    if let Some(host) = domain.as_str().strip_suffix(zone).and_then(|host| host.strip_suffix('.')) {
        query.append_pair("host", host);
    }
    query.append_pair(LABEL, label.as_str()).append_pair("groupId", REQUIRED_GROUP);
    let signed = identity.sign(&query.finish()).map_err(Problem::internal)?;
    let path = template_path(identity).into_iter().chain(["apply"]);
    let mut url = beneath(sync, path).ok_or_else(|| Problem::internal("an https URL without a path"))?;
    url.set_query(Some(&signed));
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_names_a_host_with_a_path_and_nothing_else() {
        for good in ["dc.example.net", "api.example.net/client/v4/dns/domainconnect", " dc.example.net/ "] {
            assert!(prefix(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "127.0.0.1",
            "[::1]",
            "2130706433",
            "user@dc.example.net",
            "user:x@dc.example.net",
            "dc.example.net:8443",
            "dc.example.net:22",
            "dc.example.net?x",
            "dc.example.net/#x",
            "a b",
        ] {
            assert!(prefix(bad).is_none(), "{bad}");
        }
        for bad in ["http://dc.example.net", "javascript:alert(1)", "https://127.1/", "file:///etc/passwd"] {
            assert!(endpoint(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_domain_and_its_parents_are_tried_up_to_what_can_be_registered() {
        let rules = NameRules::allowing(["test"]);
        let names = |name: &str| {
            let domain = MailDomain::parse(name, &rules).unwrap();
            candidates(&domain, &rules).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(names("a.b.co.uk"), ["a.b.co.uk", "b.co.uk"]);
        assert_eq!(names("shop.customer.test"), ["shop.customer.test", "customer.test"]);
        let many = names("a.b.c.d.e.f.g.customer.test");
        assert_eq!((many.len(), many.last().unwrap().as_str()), (MAX_CANDIDATES, "customer.test"));
    }

    #[test]
    fn every_segment_of_a_path_is_escaped() {
        let base = endpoint("https://dc.example.net/prefix/").unwrap();
        assert_eq!(beneath(base, ["v2", "a/b?c"]).unwrap().as_str(), "https://dc.example.net/prefix/v2/a%2Fb%3Fc");
    }
}
