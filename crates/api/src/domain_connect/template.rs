//! The template (specification, "Template Definition"): what is the same for all customers stands in it, so that a link
//! can choose nothing but one of our labels.

use mtasts_model::{ZoneName, label::DelegationPurpose};
use serde::Serialize;
use utoipa::ToSchema;

use super::DomainConnectIdentity;
use crate::v1::delegation::TTL;

/// The variable of the template.
pub(super) const LABEL: &str = "label";
/// The group of the records that everybody needs.
pub(super) const REQUIRED_GROUP: &str = "mta-sts";
const OPTIONAL_GROUP: &str = "acme-challenge";

/// A Domain Connect template.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DomainConnectTemplate)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TemplateBody {
    /// A domain of the service provider's.
    #[schema(example = "example.net")]
    provider_id: String,
    /// The service provider, for people.
    #[schema(example = "Example Networks")]
    provider_name: String,
    /// The template's id.
    #[schema(example = "mta-sts")]
    service_id: String,
    /// The service, for people.
    #[schema(example = "MTA-STS")]
    service_name: String,
    /// Grows with every change.
    #[schema(example = 1)]
    version: u32,
    /// A logo to show.
    #[serde(skip_serializing_if = "Option::is_none")]
    logo_url: Option<String>,
    /// For developers.
    #[schema(example = "Delegates MTA-STS (RFC 8461) and TLS reporting (RFC 8460) of a mail domain by CNAMEs.")]
    description: String,
    /// For developers: what the variables are.
    #[schema(example = "label: 26 characters of lower-case base32, drawn once for each mail domain")]
    variable_description: String,
    /// Whether links are refused: they are not.
    sync_block: bool,
    /// Where the public key is, by which links are verified.
    #[schema(example = "example.net")]
    sync_pub_key_domain: String,
    /// Whether one domain may have several: it may not.
    multi_instance: bool,
    /// Whether it needs a sub-domain: it does not.
    host_required: bool,
    /// The records.
    records: Vec<TemplateRecordBody>,
}

/// A record of a template.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DomainConnectTemplateRecord)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TemplateRecordBody {
    /// `CNAME`.
    #[schema(example = "CNAME")]
    r#type: &'static str,
    /// `mta-sts` for what everybody needs, `acme-challenge` for certificates by dns-01.
    #[schema(example = "mta-sts")]
    group_id: &'static str,
    /// The name, relative to the domain.
    #[schema(example = "_mta-sts")]
    host: String,
    /// Where it leads.
    #[schema(example = "%label%._mta-sts.sts.example.net")]
    points_to: String,
    /// Seconds.
    #[schema(example = 3600)]
    ttl: u32,
}

/// The template of this installation.
pub(crate) fn template(identity: &DomainConnectIdentity, zone: &ZoneName) -> TemplateBody {
    TemplateBody {
        provider_id: identity.provider_id.to_string(),
        provider_name: identity.provider_name.clone(),
        service_id: identity.service_id.clone(),
        service_name: identity.service_name.clone(),
        version: 1,
        logo_url: identity.logo_url.as_ref().map(ToString::to_string),
        description: "Delegates MTA-STS (RFC 8461) and TLS reporting (RFC 8460) of a mail domain by CNAMEs.".to_owned(),
        variable_description: format!("{LABEL}: 26 characters of lower-case base32, drawn once for each mail domain"),
        sync_block: false,
        sync_pub_key_domain: identity.provider_id.to_string(),
        multi_instance: false,
        host_required: false,
        records: DelegationPurpose::ALL.map(|purpose| record(purpose, zone)).into(),
    }
}

fn record(purpose: DelegationPurpose, zone: &ZoneName) -> TemplateRecordBody {
    TemplateRecordBody {
        r#type: "CNAME",
        group_id: if purpose.is_required() { REQUIRED_GROUP } else { OPTIONAL_GROUP },
        host: relative_name(purpose).to_owned(),
        points_to: format!("%{LABEL}%.{}.{zone}", sub_tree(purpose)),
        ttl: TTL,
    }
}

fn relative_name(purpose: DelegationPurpose) -> &'static str {
    match purpose {
        DelegationPurpose::PolicyHost => "mta-sts",
        DelegationPurpose::StsRecord => "_mta-sts",
        DelegationPurpose::TlsRptRecord => "_smtp._tls",
        DelegationPurpose::AcmeChallenge => "_acme-challenge.mta-sts",
    }
}

fn sub_tree(purpose: DelegationPurpose) -> &'static str {
    match purpose {
        DelegationPurpose::PolicyHost => "edge",
        DelegationPurpose::StsRecord => "_mta-sts",
        DelegationPurpose::TlsRptRecord => "_smtp-tls",
        DelegationPurpose::AcmeChallenge => "acme",
    }
}

#[cfg(test)]
mod tests {
    use mtasts_model::{Label, MailDomain, clock::SeededEntropy};

    use super::*;

    #[test]
    fn with_its_variable_filled_in_the_template_is_the_delegation() {
        let zone: ZoneName = "sts.example.net".parse().unwrap();
        let label = Label::draw(&SeededEntropy::new(1));
        let domain = MailDomain::from_stored("customer.test").unwrap();
        for purpose in DelegationPurpose::ALL {
            let record = record(purpose, &zone);
            assert_eq!(format!("{}.{domain}", record.host), purpose.name(&domain));
            assert_eq!(record.points_to.replace("%label%", label.as_str()), purpose.target(&label, &zone));
        }
    }
}
