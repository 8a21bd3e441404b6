//! Words of senders that may have several causes, or that no look at a domain can meet.

/// Such words.
#[derive(Debug, PartialEq, Eq)]
pub struct Topic {
    /// The words; the first is what it is called.
    pub words: &'static [&'static str],
    /// What they mean.
    pub cause: &'static str,
    /// What to do.
    pub what_to_do: &'static str,
    /// Where it stands.
    pub rfc: &'static str,
}

macro_rules! topics {
    ($([$($words:literal),*] $rfc:literal, $cause:literal, $what_to_do:literal;)*) => {
        pub(super) const TOPICS: &[Topic] = &[$(
            Topic { words: &[$($words),*], cause: $cause, what_to_do: $what_to_do, rfc: $rfc },
        )*];
    };
}

topics! {
    ["STSFetchResult.NONE", "fetchresult: none"] "RFC 8461 §3.1",
        "postfix-mta-sts-resolver found no usable record at _mta-sts.<domain>, and delivers as if there were no MTA-STS.",
        "Run `mtasts check <domain>`: the record is missing, misspelt, malformed, or there is more than one.";
    ["STSFetchResult.FETCH_ERROR", "FETCH_ERROR"] "RFC 8461 §3.3",
        "postfix-mta-sts-resolver found a record and no usable policy: the policy host does not answer, its certificate is not verified, it redirects, serves another media type, or the text is no policy.",
        "Run `mtasts check <domain>` and mend what it says about the policy and its certificate; look at the resolver's own log line for the reason that it met.";
    ["STSFetchResult.VALID"] "RFC 8461 §3.3",
        "postfix-mta-sts-resolver fetched a policy and can read it. That says nothing about the MX hosts yet.",
        "Nothing; `mtasts check <domain>` says whether the MX hosts pass too.";
    ["STSFetchResult.NOT_CHANGED"] "RFC 8461 §3.1",
        "The `id` of the record is the one that the sender knows: it keeps the policy that it has.",
        "Nothing, if the policy was not changed; else give the record another `id`, without which nobody fetches the new policy.";
    ["Server certificate not verified"] "RFC 8461 §4.2",
        "Postfix (deferred, 4.7.5) could not verify that the MX host is one that the policy allows: its certificate has other names, is not trusted or has expired, or the host is not covered by the policy.",
        "Run `mtasts check <domain>`: look for `mx-not-covered` and for what begins with `mx-certificate-`; with smtp_tls_loglevel = 1 Postfix's log has the reason shortly before.";
    ["Server certificate not trusted"] "RFC 8461 §4.2",
        "Postfix (deferred, 4.7.5) does not trust the MX host's certificate: self-signed, expired, a private CA, or sent without its intermediates.",
        "Run `mtasts check <domain>`, and give the MX host a certificate of a public CA with its full chain; on the sender, look whether its CA file is set (smtp_tls_CAfile).";
    ["TLS is required, but was not offered by host …"] "RFC 8461 §4.2",
        "Postfix (deferred, 4.7.4) met an MX host that does not offer STARTTLS, under a policy that is enforced.",
        "Switch TLS on at the MX host, and look for a firewall that strips STARTTLS on the way.";
    ["TLS is required, but our TLS engine is unavailable"] "",
        "The sending Postfix cannot use TLS itself: nothing is wrong with the domain.",
        "On the sender, look in its log for why TLS could not be set up.";
    ["Cannot start TLS: handshake failure"] "RFC 8461 §4.2",
        "The TLS handshake between Postfix and the MX host failed: no version or cipher in common, or a connection that broke off.",
        "Offer TLS 1.2 or 1.3 with usual ciphers at the MX host.";
    ["5.4.8 MX hosts of '…' failed MTA-STS validation"] "RFC 8461 §4.1",
        "Exchange Online found none of the domain's MX hosts in its policy, or none that could be verified.",
        "Run `mtasts check <domain>`: add the MX hosts to the policy, and change the record's `id`.";
    ["5.7.5 Remote certificate failed MTA-STS validation"] "RFC 8461 §4.2",
        "Exchange Online does not take the MX host's certificate under the domain's policy.",
        "Run `mtasts check <domain>`: the certificate must be of a public CA, unexpired, and name the MX host.";
    ["starttls-not-supported"] "RFC 8460 §4.3.1",
        "The MX host did not offer STARTTLS to this sender.",
        "Switch TLS on at this MX host, and look for a firewall that strips STARTTLS on the way.";
    ["certificate-host-mismatch"] "RFC 8460 §4.3.1",
        "The MX host's certificate is for other names than its own.",
        "Give this MX host a certificate whose subject alternative names have the host name of its MX record.";
    ["certificate-expired"] "RFC 8460 §4.3.1",
        "The MX host's certificate has expired, or is not valid yet.",
        "Renew this MX host's certificate, and see why it was not renewed in time.";
    ["certificate-not-trusted"] "RFC 8460 §4.3.1",
        "The sender could not build a chain from the MX host's certificate to a CA that it trusts.",
        "Use a certificate of a public CA, and have this MX host send the intermediate certificates too.";
    ["validation-failure"] "RFC 8460 §4.3.1",
        "TLS with the MX host failed for a reason that no other type fits; some senders use it for a host that the policy does not cover.",
        "Look at the reason code of the report, and run `mtasts check <domain>`.";
    ["tlsa-invalid"] "RFC 8460 §4.3.2.1",
        "None of the MX host's TLSA records is usable, or fits its certificate. This is DANE, and not MTA-STS.",
        "Renew the TLSA records together with the certificate: the new record first, then the certificate.";
    ["dnssec-invalid"] "RFC 8460 §4.3.2.1",
        "The sender's resolver could not validate the answer by DNSSEC.",
        "Check the zone's signatures and the DS record at its parent.";
    ["dane-required"] "RFC 8460 §4.3.2.1",
        "The sender insists on DANE, and the MX host has no TLSA record that DNSSEC validates.",
        "Publish TLSA records in a signed zone, or ask the sender not to insist.";
    ["sts-policy-fetch-error"] "RFC 8460 §4.3.2.2",
        "The sender found a record and could not fetch the policy over HTTPS.",
        "Run `mtasts check <domain>`: check the address of mta-sts.<domain>, and whether it answers with status 200.";
    ["sts-policy-invalid"] "RFC 8460 §4.3.2.2",
        "The sender fetched the policy and could not use it.",
        "Run `mtasts check <domain>`: check the policy's syntax and its media type.";
    ["sts-webpki-invalid"] "RFC 8460 §4.3.2.2",
        "The certificate of the policy host could not be verified.",
        "Check that mta-sts.<domain> shows an unexpired certificate of a public CA for exactly this name.";
    ["no-policy-found"] "RFC 8460 §4.4",
        "The sender found neither a policy of MTA-STS nor of DANE for the domain: the report counts sessions, and judges nothing.",
        "If there is meant to be a policy, run `mtasts check <domain>`.";
}
