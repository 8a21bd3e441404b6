//! How much proof for `enforce` a tenant wants.

pub(crate) mod read;
pub(crate) mod replace;

use actix_web::{HttpResponse, http::header};
use chrono::{DateTime, Utc};
use mtasts_model::readiness::Demands;
use mtasts_store::{PolicySettings, TenantTx};
use serde::Serialize;
use utoipa::ToSchema;

use super::readiness::read::DemandsBody;
use crate::{config::ApiConfig, extract::EntityTag, problem::Problem};

/// How much proof for `enforce` you want.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PolicySettings)]
pub(crate) struct PolicySettingsBody {
    /// What holds for your domains.
    recommended: DemandsBody,
    /// What you have chosen; null: as the service has it.
    chosen: ChosenDemandsBody,
    /// When you last set it; null: never.
    #[schema(required)]
    changed_at: Option<DateTime<Utc>>,
}

/// What you have chosen; null: as the service has it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChosenDemands)]
pub(crate) struct ChosenDemandsBody {
    /// For how many days each MX host passes at every look.
    #[schema(required)]
    mx_days: Option<u32>,
    /// For how many days the policy is published in mode `testing`.
    #[schema(required)]
    testing_days: Option<u32>,
    /// How many sessions verified reports tell of.
    #[schema(required)]
    sessions: Option<u64>,
    /// How many organisations sent them.
    #[schema(required)]
    reporters: Option<u32>,
    /// How many of 1,000 sessions may have failed.
    #[schema(required)]
    failures_per_thousand: Option<u32>,
}

impl PolicySettingsBody {
    fn of(settings: PolicySettings, config: &ApiConfig) -> Self {
        Self {
            recommended: settings.over(config.enforce).into(),
            chosen: ChosenDemandsBody {
                mx_days: settings.mx_days,
                testing_days: settings.testing_days,
                sessions: settings.sessions,
                reporters: settings.reporters,
                failures_per_thousand: settings.failures_per_thousand,
            },
            changed_at: settings.changed_at,
        }
    }

    /// With their tag.
    fn answer(settings: PolicySettings, config: &ApiConfig) -> Result<HttpResponse, Problem> {
        let body = Self::of(settings, config);
        let tag = EntityTag::of(&body)?;
        Ok(HttpResponse::Ok().insert_header((header::ETAG, tag.quoted())).json(body))
    }
}

/// How much proof the tenant wants.
pub(crate) async fn demands(tx: &TenantTx, config: &ApiConfig) -> Result<Demands, Problem> {
    Ok(tx.policy_settings().await?.over(config.enforce))
}
