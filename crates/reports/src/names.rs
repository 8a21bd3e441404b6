//! Domain names as strangers write them.

use mtasts_model::HostName;

/// A domain name in lower case without the dot at the end, or nothing. One label alone is a word and no domain.
pub(crate) fn domain(text: &str) -> Option<String> {
    let name = HostName::parse(text.trim()).ok()?;
    name.as_str().contains('.').then(|| name.as_str().to_owned())
}

/// The domain of a mail address, a `mailto:` or a web address, or the text itself if it is a domain.
pub(crate) fn domain_of_contact(text: &str) -> Option<String> {
    let text = text.trim();
    if let Some((_, after)) = text.split_once("://") {
        return domain(after.split(['/', '?', '#', ':']).next()?);
    }
    // The last address of `Name <address>`; what follows it is a bracket.
    let address = text.rsplit(['<', ' ', ',', ';', ':']).find(|word| word.contains('@')).unwrap_or(text);
    domain(address.rsplit('@').next()?.trim_end_matches('>'))
}

/// Without angle brackets around it.
pub(crate) fn unbracketed(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('<').map_or(text, |inner| inner.strip_suffix('>').unwrap_or(inner)).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_is_found_in_each_kind_of_contact() {
        for (text, wanted) in [
            ("sts-reporting@company-x.example", Some("company-x.example")),
            ("mailto:tls@Company-X.example", Some("company-x.example")),
            ("TLS reports <tls@company-x.example>", Some("company-x.example")),
            ("https://company-x.example/reports?id=1", Some("company-x.example")),
            ("company-x.example.", Some("company-x.example")),
            ("Postmaster", None),
            ("", None),
        ] {
            assert_eq!(domain_of_contact(text).as_deref(), wanted, "{text}");
        }
    }
}
