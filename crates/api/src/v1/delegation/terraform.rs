//! The delegation as Terraform resources (HCL native syntax).

use std::fmt::Write as _;

use mtasts_model::{Delegation, MailDomain, label::DelegationRecord};

use super::TTL;

/// Which Terraform provider the resources are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TerraformProvider {
    /// `hashicorp/dns`, which speaks RFC 2136.
    Dns,
    /// `cloudflare/cloudflare`, version 5.
    Cloudflare,
}

/// A file of its own, or for one: whatever it declares carries the domain in its name, and what a module may have only
/// once stands in a comment. The optional record is commented out, as in the zone file.
pub(super) fn terraform(provider: TerraformProvider, domain: &MailDomain, delegation: &Delegation) -> String {
    let prefix = format!("mtasts_{}", domain.as_str().replace('.', "_"));
    let zone = format!("{prefix}_zone");
    let mut text = match provider {
        TerraformProvider::Dns => format!(
            "# MTA-STS and TLS reporting of {domain}. Needs the provider hashicorp/dns (version 3), set up for your\n\
             # name server. If the zone is a parent of the domain, set the variable to it.\n\n\
             variable \"{zone}\" {{\n  type        = string\n  description = \"The DNS zone that holds {domain}, with \
             the last dot\"\n  default     = {}\n}}\n",
            quoted(&format!("{domain}."))
        ),
        TerraformProvider::Cloudflare => format!(
            "# MTA-STS and TLS reporting of {domain}. Needs the provider cloudflare/cloudflare (version 5).\n\n\
             variable \"{zone}\" {{\n  type        = string\n  description = \"The id of the Cloudflare zone that \
             holds {domain}\"\n}}\n"
        ),
    };
    for record in delegation.records() {
        let resource = match provider {
            TerraformProvider::Dns => dns_resource(&prefix, &zone, &record),
            TerraformProvider::Cloudflare => cloudflare_resource(&prefix, &zone, &record),
        };
        text.push('\n');
        if record.required {
            text.push_str(&resource);
        } else {
            text.push_str("# Optional, for certificates by dns-01:\n");
            // Writing to a String cannot fail.
            for line in resource.lines() {
                let _ = writeln!(text, "# {line}");
            }
        }
    }
    text
}

fn dns_resource(prefix: &str, zone: &str, record: &DelegationRecord) -> String {
    format!(
        "resource \"dns_cname_record\" \"{}\" {{\n  zone  = var.{zone}\n  name  = trimsuffix({}, \".${{var.{zone}}}\")\n  \
         cname = {}\n  ttl   = {TTL}\n}}\n",
        resource_name(prefix, record),
        quoted(&format!("{}.", record.name)),
        quoted(&format!("{}.", record.target)),
    )
}

fn cloudflare_resource(prefix: &str, zone: &str, record: &DelegationRecord) -> String {
    // Proxied, the name would lead to Cloudflare, and not to us.
    format!(
        "resource \"cloudflare_dns_record\" \"{}\" {{\n  zone_id = var.{zone}\n  name    = {}\n  type    = \"CNAME\"\n  \
         content = {}\n  ttl     = {TTL}\n  proxied = false\n}}\n",
        resource_name(prefix, record),
        quoted(&record.name),
        quoted(&record.target),
    )
}

fn resource_name(prefix: &str, record: &DelegationRecord) -> String {
    format!("{prefix}_{}", record.purpose.as_str().replace('-', "_"))
}

/// A quoted template without interpolation. Names have none of these characters; the file must be sound even so.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    // `${` and `%{` begin a template's sequence unless their first character is doubled.
    quoted.replace("${", "$${").replace("%{", "%%{")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_its_quotes_or_begins_a_template() {
        for (text, expected) in [
            ("a.example.", r#""a.example.""#),
            (r#"a" b\"#, r#""a\" b\\""#),
            ("${file(\"x\")}", r#""$${file(\"x\")}""#),
            ("%{if}", r#""%%{if}""#),
            ("a\nb\u{1b}", r#""a\nb\u001B""#),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }
}
