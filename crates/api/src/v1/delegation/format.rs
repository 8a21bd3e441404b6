//! In which format the delegation is asked for.

use actix_web::{
    HttpRequest,
    http::header::{self, HeaderMap},
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::terraform::TerraformProvider;
use crate::problem::Problem;

/// Which format.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReadDelegation {
    /// The format; where absent, `Accept: text/dns` asks for a zone file, and anything else for JSON.
    #[param(value_type = Option<FormatSchema>, inline)]
    format: Option<String>,
    /// For `terraform`: the Terraform provider, `dns` where absent.
    #[param(value_type = Option<TerraformProviderSchema>, inline)]
    provider: Option<String>,
}

/// In which format the delegation is shown.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
#[expect(dead_code, reason = "the schema of `Format`, which is read from a text for the sake of its message")]
enum FormatSchema {
    Json,
    ZoneFile,
    Terraform,
    DomainConnect,
}

/// Which Terraform provider the resources are for.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "the schema of `TerraformProvider`")]
enum TerraformProviderSchema {
    Dns,
    Cloudflare,
}

/// In which format the delegation is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    ZoneFile,
    Terraform(TerraformProvider),
    DomainConnect,
}

impl ReadDelegation {
    pub(super) fn format(&self, request: &HttpRequest) -> Result<Format, Problem> {
        let format = match self.format.as_deref() {
            None if prefers_zone_file(request.headers()) => Format::ZoneFile,
            None | Some("json") => Format::Json,
            Some("zone-file") => Format::ZoneFile,
            Some("terraform") => Format::Terraform(self.terraform_provider()?),
            Some("domain-connect") => Format::DomainConnect,
            Some(_) => {
                let message = "must be `json`, `zone-file`, `terraform` or `domain-connect`";
                return Err(Problem::parameter("format", "unknown-value", message));
            }
        };
        match (&self.provider, format) {
            (None, _) | (Some(_), Format::Terraform(_)) => Ok(format),
            (Some(_), _) => Err(Problem::parameter("provider", "invalid-value", "goes with `format=terraform` alone")),
        }
    }

    fn terraform_provider(&self) -> Result<TerraformProvider, Problem> {
        match self.provider.as_deref() {
            None | Some("dns") => Ok(TerraformProvider::Dns),
            Some("cloudflare") => Ok(TerraformProvider::Cloudflare),
            Some(_) => Err(Problem::parameter("provider", "unknown-value", "must be `dns` or `cloudflare`")),
        }
    }
}

/// Whether `text/dns` (RFC 4027) is wanted rather than JSON (RFC 9110 §12.5.1).
fn prefers_zone_file(headers: &HeaderMap) -> bool {
    let (mut zone_file, mut json) = (0, 0);
    let items =
        headers.get_all(header::ACCEPT).filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    for item in items {
        let mut parts = item.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality =
            parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q="))).map_or(1000, thousandths);
        match media_type.as_str() {
            "text/dns" => zone_file = zone_file.max(quality),
            "application/json" | "application/*" | "*/*" => json = json.max(quality),
            _ => {}
        }
    }
    // On a tie the wildcard was a fallback, as programs send it.
    zone_file > 0 && zone_file >= json
}

/// A weight of RFC 9110 §12.4.2; what is none counts as 0.
fn thousandths(weight: &str) -> u16 {
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match whole {
        "1" => 1000,
        "0" if fraction.len() <= 3 && digits(fraction) => format!("{fraction:0<3}").parse().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn accept_asks_for_a_zone_file_only_where_it_names_one() {
        for (accept, zone_file) in [
            ("text/dns", true),
            ("TEXT/DNS;q=0.5, application/json;q=0.4", true),
            ("text/dns, */*", true),
            ("text/dns;q=0.5, */*", false),
            ("text/dns;q=0, application/json;q=0", false),
            ("text/dns;q=x", false),
            ("application/json", false),
            ("*/*", false),
            ("text/html, */*;q=0.8", false),
            ("", false),
        ] {
            let request = TestRequest::get().insert_header(("Accept", accept)).to_http_request();
            assert_eq!(prefers_zone_file(request.headers()), zone_file, "{accept}");
        }
    }

    #[test]
    fn a_format_is_named_or_refused() {
        let request = TestRequest::get().to_http_request();
        let read = |format: &str, provider: Option<&str>| {
            let params = ReadDelegation { format: Some(format.to_owned()), provider: provider.map(str::to_owned) };
            params.format(&request)
        };
        assert_eq!(read("terraform", Some("cloudflare")).unwrap(), Format::Terraform(TerraformProvider::Cloudflare));
        assert_eq!(read("zone-file", None).unwrap(), Format::ZoneFile);
        for (format, provider) in [("yaml", None), ("terraform", Some("aws")), ("json", Some("dns"))] {
            assert!(read(format, provider).is_err(), "{format} {provider:?}");
        }
    }
}
