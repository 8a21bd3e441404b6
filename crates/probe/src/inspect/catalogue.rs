//! What can be found: each code with its usual severity, what it means, what to do, where it stands, and what senders
//! say. docs/inspector.md is written from here.

mod words;

use serde::{Serialize, Serializer};

use super::{Group, SenderWords, Severity};

macro_rules! catalogue {
    ($($variant:ident = $text:literal, $severity:ident, $group:ident, $rfc:literal, $words:ident,
        $meaning:literal,
        $advice:literal;)*) => {
        /// What can be found.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $variant,)*
        }

        impl Code {
            /// All of them, in the order of a look.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable word.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// How much it matters as a rule.
            pub fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)* }
            }

            /// What it is about.
            pub fn group(self) -> Group {
                match self { $(Self::$variant => Group::$group,)* }
            }

            /// Where it stands; empty where no RFC says anything.
            pub fn rfc(self) -> &'static str {
                match self { $(Self::$variant => $rfc,)* }
            }

            /// What it means, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }

            /// What to do; empty where there is nothing to do.
            pub fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice,)* }
            }

            /// What senders say when they meet it.
            pub fn senders(self) -> &'static [SenderWords] {
                match self { $(Self::$variant => words::$words,)* }
            }
        }
    };
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

catalogue! {
    StsRecordFound = "sts-record-found", Ok, Dns, "RFC 8461 §3.1", NOTHING,
        "One TXT record announces a policy.",
        "";
    StsRecordMissing = "sts-record-missing", Error, Dns, "RFC 8461 §3.1", NO_POLICY,
        "No TXT record at _mta-sts.<domain> announces a policy, so that senders do not look for one.",
        "Publish `_mta-sts.<domain> TXT \"v=STSv1; id=<letters and digits>;\"`, or the CNAME that your provider names.";
    StsRecordSeveral = "sts-record-several", Error, Dns, "RFC 8461 §3.1", NO_POLICY,
        "More than one TXT record announces a policy, which counts as none.",
        "Remove all but one; look for an old record beside a CNAME's target, or one left over by a provider.";
    StsRecordMalformed = "sts-record-malformed", Error, Dns, "RFC 8461 §3.1", NO_POLICY,
        "The record does not follow the grammar, which counts as none.",
        "Write it as `v=STSv1; id=20260101000000;`: fields parted by semicolons, nothing else.";
    StsRecordId = "sts-record-id", Error, Dns, "RFC 8461 §3.1", NO_POLICY,
        "The record has no usable `id`, which counts as no record.",
        "Give it an `id` of 1 to 32 letters and digits, and another one at each change of the policy.";
    StsRecordCase = "sts-record-case", Error, Dns, "RFC 8461 §3.1", NO_POLICY,
        "The version of the record is written in another case, and senders compare it with its case.",
        "Write `v=STSv1` exactly so.";
    StsRecordNoSemicolon = "sts-record-no-semicolon", Error, Dns, "RFC 8461 §3.1", NO_POLICY,
        "There is no semicolon behind the version, so that senders discard the record.",
        "Write `v=STSv1; id=…;` with a semicolon behind each field.";
    StsRecordQuotes = "sts-record-quotes", Error, Dns, "RFC 8461 §3.1", NO_POLICY,
        "The text of the record has quotation marks in it, so that it does not begin with the version.",
        "Enter the text without quotation marks: your DNS provider adds its own.";
    StsRecordVersion = "sts-record-version", Error, Dns, "RFC 8461 §3.1", NO_POLICY,
        "The record looks like one of MTA-STS with another version, which senders discard.",
        "Write `v=STSv1`.";
    StsRecordSpaces = "sts-record-spaces", Error, Dns, "RFC 8461 §3.1", NO_POLICY,
        "There is space in or around the version, so that senders that look for `v=STSv1;` discard the record.",
        "Write `v=STSv1;` without space, at the very beginning.";
    StsRecordElsewhere = "sts-record-elsewhere", Error, Dns, "RFC 8461 §3.1", NO_POLICY,
        "The record stands at another name, where no sender looks.",
        "Move it to _mta-sts.<domain>; in many zone editors that is the name `_mta-sts` alone.";
    StsRecordOtherTexts = "sts-record-other-texts", Note, Dns, "RFC 8461 §3.1", NOTHING,
        "Other TXT records stand at the same name. Senders discard them.",
        "Remove what has no business there: a wildcard TXT record often is the cause.";
    StsRecordUnresolvable = "sts-record-unresolvable", Error, Dns, "RFC 8461 §3.1", NO_ANSWER,
        "DNS gave no conclusive answer, so that a sender without a cached policy goes on without one.",
        "Check the zone's nameservers, and its DNSSEC signatures: a resolver answers SERVFAIL where they are broken.";
    ParentPolicy = "parent-policy", Note, Dns, "RFC 8461 §3.4", NO_POLICY,
        "The domain above has a record. Senders must not use it for its subdomains.",
        "Give each domain that receives mail a record and a policy host of its own.";
    Alias = "alias", Ok, Dns, "RFC 8461 §8.2", NOTHING,
        "The name is an alias, as it is where a provider hosts the policy.",
        "";
    AliasLoop = "alias-loop", Error, Dns, "RFC 1034 §3.6.2", NO_ANSWER,
        "CNAMEs lead in a circle.",
        "Correct the CNAME that leads back.";
    AliasTooLong = "alias-too-long", Error, Dns, "RFC 1034 §3.6.2", NO_ANSWER,
        "CNAMEs follow upon CNAMEs, more than resolvers go along with.",
        "Let the name lead to its target directly.";
    AliasDangling = "alias-dangling", Error, Dns, "RFC 8461 §10.2", NO_POLICY,
        "A CNAME leads to a name that has nothing: whoever comes to own it can speak for the domain.",
        "Complete the set-up at the provider that the CNAME leads to, or remove the CNAME.";

    PolicyFound = "policy-found", Ok, Policy, "RFC 8461 §3.2", POLICY,
        "The policy is served and can be read.",
        "";
    PolicyHostMissing = "policy-host-missing", Error, Policy, "RFC 8461 §3.3", FETCH,
        "The policy host mta-sts.<domain> has no address.",
        "Publish an address (or the CNAME that your provider names) for mta-sts.<domain>.";
    PolicyHostUnresolvable = "policy-host-unresolvable", Error, Policy, "RFC 8461 §3.3", FETCH,
        "DNS gave no conclusive answer for the address of the policy host.",
        "Check the nameservers of its zone, and of the zone that a CNAME leads to.";
    PolicyHostForbidden = "policy-host-forbidden", Error, Policy, "RFC 6890", FETCH,
        "The policy host has an address that is not of the public Internet, and is not connected to.",
        "Publish a public address.";
    PolicyHostNoRoute = "policy-host-no-route", Note, Policy, "", NOTHING,
        "The machine that looks has no route to this address: it says nothing about the policy host.",
        "Look from a machine that has IPv6 and IPv4.";
    PolicyHostUnreachable = "policy-host-unreachable", Error, Policy, "RFC 8461 §3.3", FETCH,
        "The policy host does not take connections at port 443.",
        "Have a web server listen there, and let the firewall pass connections from everywhere.";
    PolicyHostSlow = "policy-host-slow", Error, Policy, "RFC 8461 §3.3", FETCH,
        "The policy host did not answer in time.",
        "Serve the policy as a static file; senders wait for a minute at most, many for a few seconds.";
    PolicyHostTls = "policy-host-tls", Error, Policy, "RFC 8461 §3.3", FETCH,
        "The TLS handshake with the policy host failed.",
        "Offer TLS 1.2 or 1.3, and a certificate for the name that the sender asks for (SNI).";
    PolicyHostPartly = "policy-host-partly", Warning, Policy, "RFC 8461 §3.3", FETCH,
        "Some addresses of the policy host serve the policy, and others do not.",
        "Mend or remove the addresses that fail: a sender may pick any.";
    PolicyHttp = "policy-http", Error, Policy, "RFC 8461 §3.3", FETCH,
        "The answer of the policy host cannot be read as HTTP.",
        "Serve https://mta-sts.<domain>/.well-known/mta-sts.txt by HTTP/1.1.";
    PolicyRedirect = "policy-redirect", Error, Policy, "RFC 8461 §3.3", FETCH,
        "The policy host redirects, and senders follow no redirect.",
        "Answer with the policy itself and status 200; exclude this path from redirects to another host or path.";
    PolicyStatus = "policy-status", Error, Policy, "RFC 8461 §3.3", FETCH,
        "The policy host answers with another status than 200.",
        "Put the policy at /.well-known/mta-sts.txt of the host mta-sts.<domain>.";
    PolicyContentType = "policy-content-type", Error, Policy, "RFC 8461 §3.2", NOT_READ,
        "The policy is not served as text/plain.",
        "Set `Content-Type: text/plain` for this file.";
    PolicyTooLarge = "policy-too-large", Error, Policy, "RFC 8461 §3.2", NOT_READ,
        "The policy is longer than the 64 KB that senders read.",
        "Use fewer MX patterns, or wildcards; check that it is the policy that is served.";
    PolicyDiffers = "policy-differs", Warning, Policy, "RFC 8461 §3.3", NOTHING,
        "The addresses of the policy host serve different policies.",
        "Bring all web servers to the same policy: a sender keeps whichever it meets, for max_age.";
    PolicySyntax = "policy-syntax", Error, Policy, "RFC 8461 §3.2", INVALID,
        "The text is not a policy.",
        "Write one `key: value` a line: version, mode, mx (once for each pattern), max_age.";
    PolicyVersion = "policy-version", Error, Policy, "RFC 8461 §3.2", INVALID,
        "The policy does not say `version: STSv1`.",
        "Let the first line be `version: STSv1`.";
    PolicyMode = "policy-mode", Error, Policy, "RFC 8461 §3.2", INVALID,
        "The mode is none of `none`, `testing` and `enforce`.",
        "Write one of the three, in lower case.";
    PolicyKeyMissing = "policy-key-missing", Error, Policy, "RFC 8461 §3.2", INVALID,
        "A key that every policy has is not there.",
        "Add it; look for a misspelling of it in the other lines.";
    PolicyMaxAge = "policy-max-age", Error, Policy, "RFC 8461 §3.2", INVALID,
        "The max_age is not a number of seconds.",
        "Write digits only, such as `max_age: 604800`.";
    PolicyMxMissing = "policy-mx-missing", Error, Policy, "RFC 8461 §3.2", INVALID,
        "The policy names no MX host.",
        "Add a line `mx: <host>` for each MX host of the domain.";
    PolicyMxInvalid = "policy-mx-invalid", Error, Policy, "RFC 8461 §4.1", NOTHING,
        "An `mx` line is not the name of a host, or a wildcard for its first label.",
        "Write the name of the host, or `*.` and the domain directly above it; addresses and `*` alone cannot stand there.";
    PolicyByteOrderMark = "policy-byte-order-mark", Error, Policy, "RFC 8461 §3.2", NOT_ASCII,
        "The policy begins with a byte order mark, and senders refuse it: they read ASCII, or take the mark for a part of the first key.",
        "Save the file as UTF-8 without a byte order mark.";
    PolicyLine = "policy-line", Warning, Policy, "RFC 8461 §3.2", NOTHING,
        "A line is not of the form `key: value`. Some senders ignore it, others the whole policy.",
        "Correct or remove the line.";
    PolicyWhitespace = "policy-whitespace", Warning, Policy, "RFC 8461 §3.2", NOTHING,
        "There is space where the grammar has none.",
        "Remove it.";
    PolicyVersionNotFirst = "policy-version-not-first", Warning, Policy, "RFC 8461 §3.2", NOTHING,
        "The version does not stand in the first line, as some senders expect.",
        "Move `version: STSv1` to the first line.";
    PolicyKeyMisspelt = "policy-key-misspelt", Warning, Policy, "RFC 8461 §3.2", NOTHING,
        "A key looks like a misspelling, and senders ignore its line.",
        "Write `version`, `mode`, `mx` or `max_age`.";
    PolicyKeyUnknown = "policy-key-unknown", Note, Policy, "RFC 8461 §3.2", NOTHING,
        "A key is not one of RFC 8461's. Senders ignore it.",
        "Remove it unless it is meant.";
    PolicyKeyRepeated = "policy-key-repeated", Warning, Policy, "RFC 8461 §3.2", NOTHING,
        "A key stands there twice. The first counts, or, with some senders, the last.",
        "Keep one.";
    PolicyStyle = "policy-style", Note, Policy, "RFC 8461 §3.2", NOTHING,
        "The text differs from the form that RFC 8461 shows, in a way that senders get along with.",
        "End lines in CRLF, and leave out empty lines and repetitions.";
    PolicyTrailingDot = "policy-trailing-dot", Warning, Policy, "RFC 8461 §4.1", NOTHING,
        "An MX pattern ends in a dot, and some senders never match it.",
        "Remove the dot at the end.";
    PolicyWideWildcard = "policy-wide-wildcard", Warning, Policy, "RFC 8461 §4.1", NOTHING,
        "A wildcard allows hosts of strangers, because others register names directly under it.",
        "Name the MX hosts, or a wildcard below a domain of your provider.";
    PolicyMaxAgeTooShort = "policy-max-age-too-short", Warning, Policy, "RFC 8461 §3.2", NOTHING,
        "max_age is below a day: a sender forgets the policy before it writes again.",
        "Use 86400 while testing, and 604800 or more with `enforce`.";
    PolicyMaxAgeShort = "policy-max-age-short", Note, Policy, "RFC 8461 §3.2", NOTHING,
        "max_age is below a week. Weeks are usual for `enforce`.",
        "Raise it to 604800 or more once the policy is enforced and stable.";
    PolicyMaxAgeLong = "policy-max-age-long", Error, Policy, "RFC 8461 §3.2", INVALID,
        "max_age is above a year: some senders take it as a year, others refuse the policy.",
        "Use 31557600 at most.";
    PolicyModeTesting = "policy-mode-testing", Note, Policy, "RFC 8461 §5", NOTHING,
        "The mode is `testing`: senders report failures and deliver all the same.",
        "Move on to `enforce` when reports show no failures.";
    PolicyModeNone = "policy-mode-none", Note, Policy, "RFC 8461 §8.3", NOTHING,
        "The mode is `none`: senders act as if there were no policy.",
        "Nothing, if MTA-STS is being withdrawn; else set `testing`.";
    PolicyMxInNone = "policy-mx-in-none", Note, Policy, "RFC 8461 §3.2", NOTHING,
        "The policy has MX patterns and mode `none`, where they mean nothing.",
        "Remove them, or set another mode.";
    PolicyMxUnused = "policy-mx-unused", Warning, Policy, "RFC 8461 §8.4", NOTHING,
        "A pattern matches none of the MX hosts that DNS names now.",
        "Remove the pattern when no MX host by it will come back; whoever gets hold of such a host could receive mail.";

    HostCertificateGood = "host-certificate-good", Ok, Certificate, "RFC 8461 §3.3", NOTHING,
        "The policy host's certificate is verified.",
        "";
    HostCertificateSelfSigned = "host-certificate-self-signed", Error, Certificate, "RFC 8461 §3.3", HOST_SELF_SIGNED,
        "The policy host's certificate is self-signed.",
        "Use a certificate of a public CA for mta-sts.<domain>.";
    HostCertificateIncomplete = "host-certificate-incomplete", Error, Certificate, "RFC 8461 §3.3", HOST_UNTRUSTED,
        "The policy host sends its own certificate alone, and no public CA signed that one directly.",
        "Have the web server send the intermediate certificates too (often called the full chain).";
    HostCertificateUntrusted = "host-certificate-untrusted", Error, Certificate, "RFC 8461 §3.3", HOST_UNTRUSTED,
        "The policy host's certificate leads to no CA that is trusted.",
        "Use a certificate of a public CA, and have the web server send the intermediate certificates.";
    HostCertificateExpired = "host-certificate-expired", Error, Certificate, "RFC 8461 §3.3", HOST_EXPIRED,
        "The policy host's certificate has expired.",
        "Renew it, and see why it was not renewed in time.";
    HostCertificateNotYetValid = "host-certificate-not-yet-valid", Error, Certificate, "RFC 8461 §3.3", HOST_NOT_YET,
        "The policy host's certificate is not valid yet.",
        "Install one that is valid now, and check the clock of whoever issued it.";
    HostCertificateName = "host-certificate-name", Error, Certificate, "RFC 8461 §3.3", HOST_NAME,
        "The policy host's certificate is for other names.",
        "Get a certificate that names mta-sts.<domain>, or `*.<domain>`; the web server may be showing its default site's.";
    HostCertificateNoSan = "host-certificate-no-san", Error, Certificate, "RFC 8461 §3.3", HOST_NAME,
        "The policy host's certificate names the host as its common name alone, which does not count.",
        "Get a certificate with a subject alternative name.";
    HostCertificateEnds = "host-certificate-ends", Warning, Certificate, "RFC 8461 §3.3", NOTHING,
        "The policy host's certificate expires in less than 14 days.",
        "Renew it now, and check that renewal runs by itself.";

    MxFound = "mx-found", Ok, Mx, "RFC 5321 §5.1", NOTHING,
        "The domain has MX hosts.",
        "";
    MxGood = "mx-good", Ok, Mx, "RFC 8461 §4.2", NOTHING,
        "The MX host offers STARTTLS with a verified certificate, at every address.",
        "";
    MxAbsent = "mx-absent", Error, Mx, "RFC 5321 §5.1", NO_MX_AT_ALL,
        "The domain has neither MX records nor an address: nobody can send it mail.",
        "Publish MX records, or a null MX (`MX 0 .`) if it takes no mail.";
    MxNull = "mx-null", Note, Mx, "RFC 7505 §3", NULL_MX,
        "The domain says by a null MX that it takes no mail.",
        "Nothing; MTA-STS protects incoming mail and is of no use here.";
    MxNullBesideOthers = "mx-null-beside-others", Warning, Mx, "RFC 7505 §3", NULL_MX,
        "A null MX stands beside other MX records, where it may not stand.",
        "Remove the null MX, or all others.";
    MxImplicit = "mx-implicit", Warning, Mx, "RFC 5321 §5.1", NOTHING,
        "There is no MX record, so that senders connect to the domain's own address.",
        "Publish an MX record; a policy must name the domain itself until then.";
    MxUnresolvable = "mx-unresolvable", Error, Mx, "RFC 5321 §5.1", NO_MX_NAME,
        "DNS gave no conclusive answer for the MX records.",
        "Check the zone's nameservers, and its DNSSEC signatures.";
    MxAddressLiteral = "mx-address-literal", Error, Mx, "RFC 1035 §3.3.9", NO_MX_ADDRESS,
        "An MX record names an IP address, and must name a host.",
        "Give the address a host name, and name that.";
    MxNotAHost = "mx-not-a-host", Error, Mx, "RFC 5321 §2.3.5", NO_MX_ADDRESS,
        "An MX record names what cannot be a host name, and no policy can name it.",
        "Use letters, digits and hyphens only.";
    MxAlias = "mx-alias", Warning, Mx, "RFC 5321 §5.1", NOTHING,
        "An MX record names an alias (CNAME), which it must not. Senders differ in the name that they verify.",
        "Let the MX record name the host itself.";
    MxRepeated = "mx-repeated", Note, Mx, "RFC 5321 §5.1", NOTHING,
        "The same host is named by several MX records.",
        "Keep one.";
    MxTooMany = "mx-too-many", Warning, Mx, "", NOTHING,
        "There are more MX hosts or addresses than are looked at.",
        "Use fewer; senders stop at some number too.";
    MxNotCovered = "mx-not-covered", Error, Mx, "RFC 8461 §4.1", MX_NOT_IN_POLICY,
        "No pattern of the policy covers this MX host: with `enforce`, senders do not deliver to it.",
        "Add the host to the policy, and change the `id` of the record.";
    MxBelowWildcard = "mx-below-wildcard", Error, Mx, "RFC 8461 §4.1", MX_NOT_IN_POLICY,
        "A wildcard stands for one label, and this MX host has more below it.",
        "Add a pattern with the wildcard one label deeper, or the host itself.";
    MxHostUnresolvable = "mx-host-unresolvable", Error, Mx, "RFC 5321 §5.1", NO_MX_ADDRESS,
        "DNS gave no conclusive answer for the address of this MX host.",
        "Check the nameservers of its zone.";
    MxNoAddress = "mx-no-address", Error, Mx, "RFC 5321 §5.1", NO_MX_ADDRESS,
        "This MX host has no address.",
        "Publish its address, or remove the MX record.";
    MxForbidden = "mx-forbidden", Error, Mx, "RFC 6890", TIMED_OUT,
        "This MX host has an address that is not of the public Internet, and is not connected to.",
        "Publish public addresses only; internal ones belong into an internal view of DNS.";
    MxNoRoute = "mx-no-route", Note, Mx, "", NOTHING,
        "The machine that looks has no route to this address: it says nothing about the MX host.",
        "Look from a machine that has IPv6 and IPv4.";
    MxUnreachable = "mx-unreachable", Error, Mx, "RFC 5321 §4.5.4.1", REFUSED,
        "This address takes no connection at port 25.",
        "Start the mail server there, open the firewall, or remove the address.";
    MxTimeout = "mx-timeout", Error, Mx, "RFC 5321 §4.5.3.2", TIMED_OUT,
        "This address does not answer in time.",
        "Look for a firewall that drops packets, a delayed banner, or an overloaded server.";
    MxUnwilling = "mx-unwilling", Error, Mx, "RFC 5321 §3.1", UNWILLING,
        "This MX host refuses to talk, for good (5xx).",
        "See in its log why; it may refuse the address that the look comes from, as it would some senders.";
    MxBusy = "mx-busy", Note, Mx, "RFC 5321 §4.2.1", UNWILLING,
        "This MX host asks to come back later (4xx), as with greylisting: its TLS could not be seen.",
        "Look again later; if it stays, allow the address that the look comes from.";
    MxNotSmtp = "mx-not-smtp", Error, Mx, "RFC 5321 §4.2", HANDSHAKE,
        "What this address says is not SMTP.",
        "Check what listens at port 25.";
    MxBroke = "mx-broke", Error, Mx, "RFC 5321 §3.8", UNWILLING,
        "The conversation broke off before TLS.",
        "See in the mail server's log why it closed the connection.";
    MxNoStartTls = "mx-no-starttls", Error, Mx, "RFC 8461 §4.2", NO_START_TLS,
        "This MX host does not offer STARTTLS: with `enforce`, senders do not deliver to it.",
        "Switch TLS on, and look for a firewall that strips STARTTLS on the way.";
    MxStartTlsRefused = "mx-starttls-refused", Error, Mx, "RFC 3207 §4", START_TLS_REFUSED,
        "This MX host offers STARTTLS and then refuses it.",
        "See in its log why; often the key or certificate cannot be read.";
    MxDataBeforeTls = "mx-data-before-tls", Error, Mx, "RFC 3207 §4", HANDSHAKE,
        "This MX host sends data between its answer to STARTTLS and the handshake, as in a STARTTLS injection.",
        "Update the mail server, and look for a proxy in front of it.";
    MxTls = "mx-tls", Error, Mx, "RFC 8461 §4.2", HANDSHAKE,
        "The TLS handshake with this MX host failed.",
        "Offer TLS 1.2 or 1.3 with usual ciphers.";
    MxCertificateSelfSigned = "mx-certificate-self-signed", Error, Mx, "RFC 8461 §4.2", SELF_SIGNED,
        "This MX host's certificate is self-signed.",
        "Use a certificate of a public CA.";
    MxCertificateIncomplete = "mx-certificate-incomplete", Error, Mx, "RFC 8461 §4.2", UNTRUSTED,
        "This MX host sends its own certificate alone, and no public CA signed that one directly.",
        "Have the mail server send the intermediate certificates too (often called the full chain).";
    MxCertificateUntrusted = "mx-certificate-untrusted", Error, Mx, "RFC 8461 §4.2", UNTRUSTED,
        "This MX host's certificate leads to no CA that is trusted.",
        "Use a certificate of a public CA, and have the mail server send the intermediate certificates.";
    MxCertificateExpired = "mx-certificate-expired", Error, Mx, "RFC 8461 §4.2", EXPIRED,
        "This MX host's certificate has expired.",
        "Renew it, and have the mail server load it: many need a reload.";
    MxCertificateNotYetValid = "mx-certificate-not-yet-valid", Error, Mx, "RFC 8461 §4.2", NOT_YET,
        "This MX host's certificate is not valid yet.",
        "Install one that is valid now.";
    MxCertificateName = "mx-certificate-name", Error, Mx, "RFC 8461 §4.2", WRONG_NAME,
        "This MX host's certificate is for other names than the one in the MX record.",
        "Get a certificate that has the MX record's host name as a subject alternative name, or change the MX record.";
    MxCertificateNoSan = "mx-certificate-no-san", Error, Mx, "RFC 8461 §4.2", WRONG_NAME,
        "This MX host's certificate names the host as its common name alone, which does not count.",
        "Get a certificate with a subject alternative name.";
    MxCertificateEnds = "mx-certificate-ends", Warning, Mx, "RFC 8461 §4.2", NOTHING,
        "This MX host's certificate expires in less than 14 days.",
        "Renew it now, and check that renewal runs by itself.";
    DaneFound = "dane-found", Note, Mx, "RFC 7672 §2.2", NOTHING,
        "There are TLSA records that DNSSEC validates: senders that do DANE use them, whatever the policy says.",
        "Renew them together with the certificate.";
    DaneNotValidated = "dane-not-validated", Note, Mx, "RFC 7672 §2.1", NOTHING,
        "There are TLSA records, and the resolver did not validate them by DNSSEC: no sender uses them so.",
        "Sign the zone of the MX host; or ask a resolver that validates, if it is signed.";

    TlsRptFound = "tls-rpt-found", Ok, Reporting, "RFC 8460 §3", NOTHING,
        "Senders are told where to report to.",
        "";
    TlsRptMissing = "tls-rpt-missing", Warning, Reporting, "RFC 8460 §3", NOTHING,
        "No record at _smtp._tls.<domain> asks for reports: nobody tells the domain of failures.",
        "Publish `_smtp._tls.<domain> TXT \"v=TLSRPTv1; rua=mailto:reports@<domain>\"`.";
    TlsRptSeveral = "tls-rpt-several", Error, Reporting, "RFC 8460 §3", NOTHING,
        "More than one record asks for reports, which counts as none.",
        "Keep one, with all addresses in its `rua`.";
    TlsRptMalformed = "tls-rpt-malformed", Error, Reporting, "RFC 8460 §3", NOTHING,
        "The record that asks for reports cannot be read, so that senders send none.",
        "Write it as `v=TLSRPTv1; rua=mailto:reports@example.com`.";
    TlsRptUnresolvable = "tls-rpt-unresolvable", Warning, Reporting, "RFC 8460 §3", NOTHING,
        "DNS gave no conclusive answer for the record that asks for reports.",
        "Check the zone's nameservers.";

    Paced = "paced", Warning, Look, "", NOTHING,
        "Too many looks at this host were under way, so that it was not looked at now.",
        "Look again in a minute.";
    OutOfTime = "out-of-time", Warning, Look, "", NOTHING,
        "Time was up before all was seen.",
        "Look again; what is slow here is slow for senders too.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_words_of_their_own_and_everything_wrong_has_a_cure() {
        let mut words: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        words.sort_unstable();
        assert!(words.windows(2).all(|pair| pair[0] != pair[1]));
        for code in Code::ALL {
            let text = code.as_str();
            assert!(
                text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
                "{text}"
            );
            assert!(code.meaning().ends_with('.'), "{text}");
            assert_eq!(code.advice().is_empty(), code.severity() == Severity::Ok, "{text}");
        }
    }
}
