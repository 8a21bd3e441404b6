//! What senders say, by what they meet. `…` stands for any text.

use crate::inspect::SenderWords;

const RESOLVER: &str = "postfix-mta-sts-resolver";
const TLS_RPT: &str = "TLS-RPT";
const POSTFIX: &str = "Postfix";
const EXIM: &str = "Exim";
const MICROSOFT: &str = "Exchange Online";
const GOOGLE: &str = "Gmail";

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $($sender:ident: $says:literal),*;)*) => {
        $($(#[$doc])* pub(super) const $name: &[SenderWords] = &[$(SenderWords { sender: $sender, says: $says }),*];)*
    };
}

words! {
    NOTHING = ;
    /// To a sender there is no MTA-STS.
    NO_POLICY = RESOLVER: "STSFetchResult.NONE", TLS_RPT: "no-policy-found";
    POLICY = RESOLVER: "STSFetchResult.VALID";
    NO_ANSWER = RESOLVER: "STSFetchResult.FETCH_ERROR";
    FETCH = RESOLVER: "STSFetchResult.FETCH_ERROR", TLS_RPT: "sts-policy-fetch-error",
        RESOLVER: "STS policy fetch for domain … failed with error";
    INVALID = RESOLVER: "STSFetchResult.FETCH_ERROR", TLS_RPT: "sts-policy-invalid";
    HOST_SELF_SIGNED = TLS_RPT: "sts-webpki-invalid", RESOLVER: "STSFetchResult.FETCH_ERROR",
        RESOLVER: "Cannot connect to host mta-sts.… certificate verify failed: self-signed certificate";
    HOST_UNTRUSTED = TLS_RPT: "sts-webpki-invalid", RESOLVER: "STSFetchResult.FETCH_ERROR",
        RESOLVER: "Cannot connect to host mta-sts.… certificate verify failed: unable to get local issuer certificate";
    HOST_EXPIRED = TLS_RPT: "sts-webpki-invalid", RESOLVER: "STSFetchResult.FETCH_ERROR",
        RESOLVER: "Cannot connect to host mta-sts.… certificate verify failed: certificate has expired";
    HOST_NOT_YET = TLS_RPT: "sts-webpki-invalid", RESOLVER: "STSFetchResult.FETCH_ERROR",
        RESOLVER: "Cannot connect to host mta-sts.… certificate verify failed: certificate is not yet valid";
    HOST_NAME = TLS_RPT: "sts-webpki-invalid", RESOLVER: "STSFetchResult.FETCH_ERROR",
        RESOLVER: "certificate verify failed: Hostname mismatch, certificate is not valid for 'mta-sts.…'";
    /// Such as a body that the sender does not even read.
    NOT_READ = RESOLVER: "STSFetchResult.FETCH_ERROR", TLS_RPT: "sts-policy-invalid",
        RESOLVER: "STS policy fetch for domain … failed with error";
    NOT_ASCII = RESOLVER: "STSFetchResult.FETCH_ERROR", TLS_RPT: "sts-policy-invalid",
        RESOLVER: "STS policy fetch for domain … failed with error: 'ascii' codec can't decode byte";
    MX_NOT_IN_POLICY = TLS_RPT: "validation-failure", POSTFIX: "Server certificate not verified",
        POSTFIX: "certificate verification failed for …: num=62:hostname mismatch",
        MICROSOFT: "5.4.8 MX hosts of '…' failed MTA-STS validation";
    NO_START_TLS = TLS_RPT: "starttls-not-supported",
        POSTFIX: "TLS is required, but was not offered by host …",
        EXIM: "a TLS session is required, but the server did not offer TLS support";
    START_TLS_REFUSED = TLS_RPT: "starttls-not-supported",
        POSTFIX: "TLS is required, but host … refused to start TLS: …";
    SELF_SIGNED = TLS_RPT: "certificate-not-trusted",
        POSTFIX: "certificate verification failed for …: self-signed certificate",
        POSTFIX: "Server certificate not verified",
        POSTFIX: "Server certificate not trusted",
        EXIM: "SSL verify error: … error=self-signed certificate",
        MICROSOFT: "5.7.5 Remote certificate failed MTA-STS validation";
    UNTRUSTED = TLS_RPT: "certificate-not-trusted",
        POSTFIX: "certificate verification failed for …: untrusted issuer …",
        POSTFIX: "Server certificate not verified",
        POSTFIX: "Server certificate not trusted",
        EXIM: "SSL verify error: … error=unable to get local issuer certificate",
        MICROSOFT: "5.7.5 Remote certificate failed MTA-STS validation";
    EXPIRED = TLS_RPT: "certificate-expired",
        POSTFIX: "certificate verification failed for …: certificate has expired",
        POSTFIX: "Server certificate not verified",
        POSTFIX: "Server certificate not trusted",
        EXIM: "SSL verify error: … error=certificate has expired",
        MICROSOFT: "5.7.5 Remote certificate failed MTA-STS validation";
    NOT_YET = TLS_RPT: "certificate-expired",
        POSTFIX: "certificate verification failed for …: certificate not yet valid",
        POSTFIX: "Server certificate not verified",
        POSTFIX: "Server certificate not trusted",
        EXIM: "SSL verify error: … error=certificate is not yet valid",
        MICROSOFT: "5.7.5 Remote certificate failed MTA-STS validation";
    WRONG_NAME = TLS_RPT: "certificate-host-mismatch",
        POSTFIX: "certificate verification failed for …: num=62:hostname mismatch",
        POSTFIX: "Server certificate not verified",
        EXIM: "SSL verify error: certificate name mismatch",
        GOOGLE: "TLS Negotiation failed, the certificate doesn't match the host",
        MICROSOFT: "5.7.5 Remote certificate failed MTA-STS validation";
    HANDSHAKE = TLS_RPT: "validation-failure", POSTFIX: "Cannot start TLS: handshake failure";
    REFUSED = POSTFIX: "connect to …: Connection refused", MICROSOFT: "4.4.316 Connection refused";
    TIMED_OUT = POSTFIX: "connect to …: Connection timed out",
        POSTFIX: "conversation with … timed out while receiving the initial server greeting";
    UNWILLING = POSTFIX: "host … refused to talk to me: …";
    NO_MX_NAME = POSTFIX: "Host or domain name not found. Name service error for name=… type=MX",
        EXIM: "all relevant MX records point to non-existent hosts";
    /// Postfix asks for the domain's own address last.
    NO_MX_AT_ALL = POSTFIX: "Host or domain name not found. Name service error for name=… type=MX",
        POSTFIX: "Host or domain name not found. Name service error for name=… type=A",
        EXIM: "all relevant MX records point to non-existent hosts";
    NO_MX_ADDRESS = POSTFIX: "Host or domain name not found. Name service error for name=… type=A",
        EXIM: "all relevant MX records point to non-existent hosts";
    NULL_MX = POSTFIX: "Domain … does not accept mail (nullMX)";
}
