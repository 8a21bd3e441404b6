//! Sentences for words that the store keeps.

use mtasts_model::{EdgeVerdict, ReportGrade};

/// Why a report has its grade. Later versions may know further reasons: the grade itself says enough then.
pub(crate) fn grade(grade: ReportGrade, reason: &str) -> &'static str {
    match reason {
        "dkim-pass" => "A valid DKIM signature of the reporting organisation.",
        "no-signature" => "The mail has no DKIM signature.",
        "signature-malformed" => "The mail's DKIM signature cannot be read.",
        "signature-weak" => "The signature is of a kind, or of a key length, that proves nothing any more.",
        "from-not-signed" => "The signature does not cover the address in From.",
        "key-revoked" => "The signer has taken the key back.",
        "key-in-testing" => "The signer is trying out DKIM (`t=y`), which is as good as no signature.",
        "signature-invalid" => "The mail was changed after it was signed, or the signature was never valid.",
        "not-aligned" => "The signature is valid, but of another domain than the organisation that the report names.",
        "body-length-limit" => {
            "The signature covers only a part of the mail (`l=`), so anybody can have added the rest."
        }
        "key-missing" => "The signer's DNS has no key for the signature.",
        "key-not-for-tlsrpt" => "The signer's key is not for TLS reports (`s=`, RFC 8460 §3).",
        "key-unreachable" => "The signer's DNS did not answer for a day.",
        "expired" => "The signature had expired when the mail came.",
        _ => match grade {
            ReportGrade::Verified => "It has proved to come from the organisation that it names.",
            ReportGrade::Unsigned => "It has no signature: anybody can have sent it.",
            ReportGrade::Failed => "Its signature proves nothing: anybody can have sent it.",
            ReportGrade::Anonymous => "It came by HTTPS, where nobody proves who they are.",
        },
    }
}

/// Why a failure at the policy host was the service's, or not.
pub(crate) fn verdict(verdict: EdgeVerdict, reason: &str) -> &'static str {
    match reason {
        "nothing-served-then" => "We served no policy of this domain at that time.",
        "served-part-of-the-time" => "We served a policy of this domain for a part of that time only.",
        "certificate-expired-then" => "The policy host's certificate was not valid all of that time.",
        "not-delegated-then" => {
            "The CNAMEs did not lead to us at that time, or for a part of it: senders met another host."
        }
        "served-all-the-time" => {
            "We had policy and certificate all of that time: the sender did not get through to us, or met another host."
        }
        "no-facts" => "We do not know any more what was served then.",
        _ => match verdict {
            EdgeVerdict::Ours => "What we had at that time explains it.",
            EdgeVerdict::NotOurs => "Nothing that we had at that time explains it.",
            EdgeVerdict::Unclear => "It cannot be told.",
        },
    }
}

/// What to do about what could not be read.
pub(crate) fn advice(reason: &str) -> &'static str {
    match reason {
        "empty" | "nothing-found" | "not-a-report" => {
            "Nothing is to be done: no sender's report was in it. If you expected one, look at its octets."
        }
        "reading-failed" | "too-slow" => {
            "The operator of this service can look at it and have it read again; nothing of it is lost."
        }
        "too-large"
        | "inflates-too-far"
        | "inflates-too-steeply"
        | "too-many-parts"
        | "too-deep"
        | "too-many-entries"
        | "too-many-rows"
        | "too-many-values" => {
            "It is beyond what is read here, or made to do harm. If you know the sender, ask the operator of this service."
        }
        "encrypted" => "Ask the sender to send its reports without a password.",
        _ => {
            "The sender made it wrongly, or it was damaged on the way: its next report may be whole. Its octets are kept."
        }
    }
}
