//! No query of alerts and digests grows with the number of domains or recipients: see `plans`.

use chrono::{Days, TimeDelta};
use mtasts_model::{
    AlertKind, DigestFrequency, DigestRecipientId, DomainId, ReportKind, SystemEntropy, TenantId, clock::ManualClock,
};
use mtasts_store::{
    Actor, AddedRecipient, AlertMemory, DigestLink, DigestPeriod, MailOutcome, NewDigestRecipient, ReportSettings, Role,
};

use crate::{
    fixture::{Fixture, LEASE},
    plans::scans,
};

/// Often enough for Postgres to try the generic plan of a prepared statement, which it does from the sixth time on.
const TIMES: u32 = 8;

/// 20,000 domains of 200 tenants, with all that reports leave behind, and 4,000 recipients.
const LOAD: &str = r"
    CREATE FUNCTION uid(kind text, i bigint) RETURNS uuid LANGUAGE sql IMMUTABLE
        AS $$ SELECT (lpad(to_hex(i), 12, '0') || left(md5(kind || i), 20))::uuid $$;
    CREATE FUNCTION ten(i bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT uid('ten', i % 200) $$;
    CREATE TABLE n AS SELECT i::bigint FROM generate_series(1, 20000) i;
    INSERT INTO tenants SELECT uid('ten', i), 'tenant', NULL, now() FROM generate_series(0, 199) i;
    INSERT INTO labels SELECT lpad(translate(to_hex(i), '0189', 'ghij'), 25, 'z') || 'a', now() FROM n;
    SET session_replication_role = replica;
    INSERT INTO domains (id, tenant_id, name, label, state, mx_source, preferred_mode, preferred_max_age, report_uris,
            created_at, nudged_at)
        SELECT uid('dom', i), ten(i), 'd' || i || '.example', lpad(translate(to_hex(i), '0189', 'ghij'), 25, 'z') || 'a',
            'active', 'listed', 'testing', 60, '[]', now(), now() FROM n;
    SET session_replication_role = DEFAULT;
    INSERT INTO report_alert_queue (domain_id, tenant_id, due_at)
        SELECT uid('dom', i), ten(i), CASE WHEN i % 100 = 0 THEN timestamptz '2025-01-01' ELSE '2030-01-01' END FROM n;
    INSERT INTO report_alerts SELECT uid('dom', i), a, 'tls-rpt' || chr(10) || 'y', ten(i), i % 50 = 0, '2025-12-01', '2025-12-01'
        FROM n, unnest(ARRAY['failure_new', 'reporter_silent']) a;
    INSERT INTO report_settings SELECT uid('ten', i), '{failure_new}', 5, 100, 3, false, now() FROM generate_series(0, 199) i;
    INSERT INTO failure_kinds SELECT ten(i), uid('dom', i), 'r', 'mx' || k, '2025-12-01', '2025-12-31',
        timestamptz '2025-12-01' + i * interval '1 minute', now(), 1, true FROM n, generate_series(1, 2) k;
    INSERT INTO reporters SELECT ten(i), uid('dom', i), 'tls-rpt', 'org' || k, k % 2 = 0, '2025-11-01', '2025-12-30', 65535,
        now(), NULL FROM n, generate_series(1, 4) k;
    INSERT INTO report_days SELECT ten(i), uid('dom', i), 'tls-rpt', 'total', date '2025-12-31' - d, '', 'verified', 1, 1, 1
        FROM n, generate_series(0, 3) d;
    INSERT INTO report_days SELECT uid('ten', i), '00000000-0000-0000-0000-000000000000', k, s, date '2025-12-31' - d,
        CASE s WHEN 'total' THEN '' ELSE 'dom_' || replace(uid('dom', i)::text, '-', '') END, 'verified', 1, 1, 1
        FROM generate_series(0, 199) i, generate_series(0, 60) d, unnest(ARRAY['tls-rpt', 'dmarc']) k,
            unnest(ARRAY['total', 'domain', 'result']) s;
    INSERT INTO digest_recipients (id, tenant_id, email, email_key, frequency, kinds, state, created_at, confirmed_at, next_at)
        SELECT uid('rcp', i), ten(i), 'a' || i || '@b.example', 'a' || i || '@b.example', 'daily', '{tls-rpt}', 'confirmed',
            now(), now(), CASE WHEN i % 100 = 1 THEN timestamptz '2025-12-30' ELSE '2030-01-01' END FROM n WHERE i <= 4000;
    INSERT INTO digest_mails SELECT uid('rcp', i), 'daily', date '2025-11-01' + d, ten(i), 'sent', NULL, NULL, 1, now(), NULL
        FROM n, generate_series(1, 5) d WHERE i <= 4000;
    INSERT INTO digest_tokens SELECT sha256(('t' || i || d)::bytea), ten(i), uid('rcp', i), 'unsubscribe',
        CASE WHEN i % 500 = 0 THEN timestamptz '2025-01-01' ELSE '2030-01-01' END
        FROM n, generate_series(1, 5) d WHERE i <= 4000;
    INSERT INTO mail_days SELECT uid('ten', i), date '2025-12-31' - d, 5 FROM generate_series(0, 199) i, generate_series(0, 40) d;
    INSERT INTO mail_address_days SELECT sha256(('a' || i)::bytea), date '2025-12-31' - d, 1 FROM n, generate_series(0, 1) d;
    ANALYZE";

async fn uid(fixture: &Fixture, kind: &str, number: u32) -> uuid::Uuid {
    fixture.database.psql(&format!("SELECT uid('{kind}', {number})")).await.trim().parse().unwrap()
}

#[tokio::test]
async fn no_query_of_alerts_and_digests_reads_a_table_that_grows_from_end_to_end() {
    let fixture = Fixture::new().await;
    fixture.database.psql(LOAD).await;
    let before = scans(&fixture).await;
    let (api, worker) = (fixture.store_of(Role::Api, 1).await, fixture.store_of(Role::Worker, 1).await);
    let now = mtasts_model::Clock::now(&ManualClock::default());
    let today = now.date_naive();
    for time in 1..=TIMES {
        let tenant = TenantId::from_uuid(uid(&fixture, "ten", time).await);
        let domain = worker.due_alerts(10, now).await.unwrap().domains[0];
        let mut tx = worker.alert_tx(domain, now).await.unwrap().unwrap();
        let facts = tx.facts().await.unwrap();
        assert_eq!((facts.days.len(), facts.failures.len(), facts.reporters.len()), (4, 2, 2));
        let memory = AlertMemory {
            alert: AlertKind::FailureNew,
            subject: facts.failures[0].subject(),
            raised: false,
            day: today,
        };
        tx.remember(&memory).await.unwrap();
        tx.forget(AlertKind::ReporterSilent, "tls-rpt\ny").await.unwrap();
        tx.settle(None, false).await.unwrap();
        let other = DomainId::from_uuid(uid(&fixture, "dom", time).await);
        worker.look_at_reports(other, tenant, today, now).await.unwrap();
        worker.put_off_alerts(other, now).await.unwrap();
        worker.prune_alerts(now + TimeDelta::days(780)).await.unwrap();

        let mut tx = api.tenant_tx(tenant).await.unwrap();
        tx.set_report_settings(&ReportSettings::default(), &Actor::operator(), now).await.unwrap();
        let id = DigestRecipientId::from_uuid(uid(&fixture, "rcp", time).await);
        tx.unsubscribe_digest_recipient(id, &Actor::worker(), now).await.unwrap();
        let email = format!("a{time}@b.example").parse().unwrap();
        let new = NewDigestRecipient {
            id: DigestRecipientId::draw(now, &SystemEntropy),
            email,
            frequency: DigestFrequency::Daily,
            kinds: ReportKind::ALL.to_vec(),
        };
        let added = tx.add_digest_recipient(new, &Actor::operator(), now).await.unwrap();
        assert!(matches!(added, AddedRecipient::Asked(recipient) if recipient.id == id));
        assert!(tx.confirm_digest_recipient(id, &Actor::worker(), now).await.unwrap());
        tx.delete_digest_recipient(id, &Actor::operator(), now).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        api.digest_token(&[7; 32], now).await.unwrap();

        assert_eq!(worker.schedule_digests(2, now).await.unwrap(), 2);
        let mail = worker.claim_mails(1, now + LEASE, now).await.unwrap().remove(0);
        worker.count_mail(tenant, 100, now).await.unwrap();
        worker.count_question(&[7; 32], 100, now).await.unwrap();
        let link = [u8::try_from(time).unwrap(); 32];
        worker.keep_digest_link(&mail, (DigestLink::Unsubscribe, &link), now + LEASE).await.unwrap();
        worker.mail_tried(&mail, &MailOutcome::Sent, now).await.unwrap();
        let period = DigestPeriod { tenant, from: today - Days::new(7), to: today - Days::new(1), chart_days: 28 };
        for kind in ReportKind::ALL {
            assert_eq!(worker.digest_figures(period, *kind).await.unwrap().days.len(), 28);
            worker.digest_domains(period, *kind).await.unwrap();
        }
        worker.digest_failures(period).await.unwrap();
        worker.digest_new_failures(period).await.unwrap();
        worker.digest_silence(period).await.unwrap();
        worker.prune_digests(now).await.unwrap();
    }
    drop((api, worker));
    let after = scans(&fixture).await;
    // Few rows here: tenants and what each has one of.
    let grown: Vec<_> = after
        .iter()
        .filter(|(table, scans)| {
            !matches!(table.as_str(), "tenants" | "report_settings" | "audit_heads")
                && before.get(*table) != Some(scans)
        })
        .collect();
    assert!(grown.is_empty(), "read from end to end: {grown:?}");
}
