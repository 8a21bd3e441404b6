//! Version 1 of the API: one file per operation, each with request, response, errors, OpenAPI and handler.

pub(crate) mod api_keys;
pub(crate) mod audit_events;
pub(crate) mod bulk;
pub(crate) mod checks;
pub(crate) mod customers;
pub(crate) mod delegation;
pub(crate) mod digest_recipients;
pub(crate) mod dns_credentials;
pub(crate) mod domains;
pub(crate) mod dry_run;
pub(crate) mod events;
pub(crate) mod fields;
pub(crate) mod migrations;
pub(crate) mod operations;
pub(crate) mod policy;
pub(crate) mod policy_settings;
pub(crate) mod proposal;
pub(crate) mod quotas;
pub(crate) mod readiness;
pub(crate) mod report_arrivals;
pub(crate) mod report_settings;
pub(crate) mod reports;
pub(crate) mod rollout;
pub(crate) mod tenants;
pub(crate) mod usage;
pub(crate) mod webhooks;

use actix_web::middleware::from_fn;
use utoipa_actix_web::{scope::scope, service_config::ServiceConfig};

use crate::auth::authenticate;

/// All operations. `.service()` alone: only that reaches the OpenAPI document.
pub(crate) fn configure(config: &mut ServiceConfig) {
    let v1 = scope("/v1")
        .service(tenants::create::create_tenant)
        .service(tenants::list::list_tenants)
        .service(tenants::own::read_own_tenant)
        .service(tenants::read::read_tenant)
        .service(tenants::create_api_key::create_tenant_api_key)
        .service(tenants::force_removal::force_domain_removal)
        .service(customers::create::create_customer)
        .service(customers::list::list_customers)
        .service(customers::read::read_customer)
        .service(customers::update::update_customer)
        .service(customers::create_api_key::create_customer_api_key)
        .service(api_keys::create::create_api_key)
        .service(api_keys::list::list_api_keys)
        .service(api_keys::revoke::revoke_api_key)
        .service(api_keys::rotate::rotate_api_key)
        .service(domains::create::create_domain)
        .service(domains::list::list_domains)
        .service(domains::read::read_domain)
        .service(domains::update::update_domain)
        .service(domains::delete::delete_domain)
        .service(domains::verify::verify_domain)
        .service(domains::checks::list_domain_checks)
        .service(delegation::read::read_delegation)
        .service(delegation::plan::plan_delegation)
        .service(delegation::apply::apply_delegation)
        .service(dns_credentials::create::create_dns_credential)
        .service(dns_credentials::list::list_dns_credentials)
        .service(dns_credentials::read::read_dns_credential)
        .service(dns_credentials::delete::delete_dns_credential)
        .service(checks::create::create_check)
        .service(checks::list::list_checks)
        .service(checks::read::read_check)
        .service(checks::generate::generate_policy)
        .service(policy_settings::read::read_policy_settings)
        .service(policy_settings::replace::replace_policy_settings)
        .service(readiness::read::read_readiness)
        .service(migrations::create::create_migration)
        .service(migrations::list::list_migrations)
        .service(migrations::confirm::confirm_migration)
        .service(migrations::cancel::cancel_migration)
        .service(rollout::put::put_rollout)
        .service(rollout::read::read_rollout)
        .service(rollout::delete::delete_rollout)
        .service(rollout::pause::pause_rollout)
        .service(rollout::resume::resume_rollout)
        .service(proposal::read::read_proposal)
        .service(proposal::apply::apply_proposal)
        .service(proposal::dismiss::dismiss_proposal)
        .service(policy::read::read_policy)
        .service(policy::replace::replace_policy)
        .service(policy::patch::patch_policy)
        .service(policy::mode::set_mode)
        .service(policy::rollback::roll_back_policy)
        .service(policy::simulate::simulate_policy)
        .service(policy::versions::list_versions)
        .service(policy::version::read_version)
        .service(audit_events::list::list_audit_events)
        .service(events::list::list_events)
        .service(webhooks::create::create_webhook)
        .service(webhooks::list::list_webhooks)
        .service(webhooks::read::read_webhook)
        .service(webhooks::update::update_webhook)
        .service(webhooks::delete::delete_webhook)
        .service(webhooks::rotate_secret::rotate_webhook_secret)
        .service(webhooks::test::test_webhook)
        .service(webhooks::deliveries::list_webhook_deliveries)
        .service(webhooks::replay::replay_webhook_delivery)
        .service(bulk::batch::batch_domains)
        .service(bulk::import::import_domains)
        .service(bulk::export::export_domains)
        .service(operations::list::list_operations)
        .service(operations::read::read_operation)
        .service(operations::results::list_operation_results)
        .service(operations::cancel::cancel_operation)
        .service(quotas::read::read_tenant_quotas)
        .service(quotas::replace::replace_tenant_quotas)
        .service(digest_recipients::create::create_digest_recipient)
        .service(digest_recipients::list::list_digest_recipients)
        .service(digest_recipients::read::read_digest_recipient)
        .service(digest_recipients::delete::delete_digest_recipient)
        .service(report_settings::read::read_report_settings)
        .service(report_settings::replace::replace_report_settings)
        .service(usage::own::read_usage)
        .service(usage::tenant::read_tenant_usage)
        // Before those whose last segment is an id.
        .service(reports::summary::read_reports_summary)
        .service(reports::summary::read_domain_reports_summary)
        .service(reports::breakdown::read_reports_breakdown)
        .service(reports::breakdown::read_domain_reports_breakdown)
        .service(reports::failures::read_reports_failures)
        .service(reports::failures::read_domain_reports_failures)
        .service(reports::results::list_results)
        .service(reports::results::list_domain_results)
        .service(reports::export::export_reports)
        .service(reports::export::export_domain_reports)
        .service(reports::list::list_reports)
        .service(reports::list::list_domain_reports)
        .service(reports::read::read_report)
        .service(reports::raw::read_report_raw)
        .service(reports::report_results::list_report_results)
        .service(report_arrivals::list::list_report_arrivals)
        .service(report_arrivals::read::read_report_arrival)
        .service(report_arrivals::raw::read_report_arrival_raw);
    config.service(v1.wrap(from_fn(authenticate)));
}
