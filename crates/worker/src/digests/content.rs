//! What a digest says, before it has a form.

use chrono::{Days, NaiveDate};
use mtasts_model::{DigestFrequency, Mode, ReportKind};
use mtasts_store::{
    DigestDomain, DigestFailure, DigestFigures, DigestList, DigestNewFailure, DigestPeriod, DigestSilence, DueMail,
    Store, StoreError,
};

/// Of each list so many are named; the others are counted.
pub(super) const NAMED: usize = 20;

/// A digest.
#[derive(Debug, Clone)]
pub(super) struct Digest {
    pub(super) frequency: DigestFrequency,
    pub(super) from: NaiveDate,
    pub(super) to: NaiveDate,
    /// Each kind of report that is wanted.
    pub(super) parts: Vec<Part>,
    pub(super) failures: Vec<DigestFailure>,
    pub(super) new_failures: DigestList<DigestNewFailure>,
    pub(super) silent: DigestList<DigestSilence>,
}

/// What reports of one kind say.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) kind: ReportKind,
    pub(super) figures: DigestFigures,
    /// Those in `enforce` first: there mail is not delivered.
    pub(super) domains: DigestList<DigestDomain>,
}

impl Part {
    /// What is counted.
    pub(super) fn unit(&self) -> (&'static str, &'static str) {
        match self.kind {
            ReportKind::TlsRpt => ("session", "sessions"),
            ReportKind::Dmarc => ("message", "messages"),
        }
    }
}

impl Digest {
    /// Whether there is nothing that anybody needs to look at.
    pub(super) fn is_quiet(&self) -> bool {
        self.parts.iter().all(|part| part.figures.bad == 0)
            && self.new_failures.items.is_empty()
            && self.silent.items.is_empty()
    }

    /// The days that it speaks of.
    pub(super) fn days(&self) -> String {
        if self.from == self.to { self.to.to_string() } else { format!("{} to {}", self.from, self.to) }
    }

    /// The period before.
    pub(super) fn before(&self) -> &'static str {
        match self.frequency {
            DigestFrequency::Daily => "The day before",
            DigestFrequency::Weekly => "The week before",
        }
    }
}

/// Reads what this mail has to say.
pub(super) async fn read(store: &Store, mail: &DueMail, frequency: DigestFrequency) -> Result<Digest, StoreError> {
    let (length, chart_days) = match frequency {
        DigestFrequency::Daily => (1, 14),
        DigestFrequency::Weekly => (7, 28),
    };
    let from = mail.period - Days::new(length - 1);
    let period = DigestPeriod { tenant: mail.tenant, from, to: mail.period, chart_days };
    let mut parts = Vec::new();
    for kind in ReportKind::ALL.iter().copied().filter(|kind| mail.kinds.contains(kind)) {
        let figures = store.digest_figures(period, kind).await?;
        let mut domains = store.digest_domains(period, kind).await?;
        domains.items.sort_by_key(|domain| domain.mode != Some(Mode::Enforce));
        parts.push(Part { kind, figures, domains });
    }
    let of_tls = mail.kinds.contains(&ReportKind::TlsRpt);
    let mut silent = store.digest_silence(period).await?;
    silent.items.retain(|silence| mail.kinds.contains(&silence.kind));
    Ok(Digest {
        frequency,
        from,
        to: mail.period,
        parts,
        failures: if of_tls { store.digest_failures(period).await? } else { Vec::new() },
        new_failures: if of_tls { store.digest_new_failures(period).await? } else { DigestList::default() },
        silent,
    })
}
