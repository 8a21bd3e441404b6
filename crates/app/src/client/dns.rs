//! `mtasts dns show|plan|apply`, and `mtasts dns credentials`

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::{
    dns_credentials::{self, CredentialsCommand},
    domains::records,
    error::ClientError,
    http::{Answer, Call},
    prompt,
    session::Session,
    text::{Lines, Text},
    views::{AppliedDelegation, Delegation, DelegationPlan},
};

#[derive(Debug, Subcommand)]
pub(crate) enum DnsCommand {
    /// Show the CNAMEs to set, and what was last seen of each
    Show {
        /// The domain's name or id
        domain: String,
        /// As what
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Look into your zone, and say what would be done; nothing is written
    Plan(PlanArgs),
    /// Create the CNAMEs in your zone; what stands there is never overwritten or removed
    Apply {
        #[command(flatten)]
        plan: PlanArgs,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Credentials for your own DNS, which the service keeps sealed
    Credentials {
        #[command(subcommand)]
        command: CredentialsCommand,
    },
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// The domain's name or id
    domain: String,
    /// The credential's id or name; where absent, the only one that may open the domain's zone
    #[arg(long, value_name = "CREDENTIAL")]
    credential: Option<String>,
    /// The CNAMEs that only some need, too
    #[arg(long)]
    all: bool,
}

/// As what the delegation is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Zone,
    Terraform,
    TerraformCloudflare,
}

pub(super) async fn run(session: &Session, command: DnsCommand) -> Result<(), ClientError> {
    match command {
        DnsCommand::Show { domain, format } => show(session, &domain, format).await,
        DnsCommand::Plan(args) => {
            let plan = Planned::make(session, &args).await?;
            plan.show(session)?;
            plan.must_be_applicable()
        }
        DnsCommand::Apply { plan, yes } => apply(session, &plan, yes).await,
        DnsCommand::Credentials { command } => dns_credentials::run(session, command).await,
    }
}

async fn show(session: &Session, domain: &str, format: Format) -> Result<(), ClientError> {
    let id = session.domain_id(domain).await?;
    let (wanted, provider) = match format {
        Format::Table => ("json", None),
        Format::Zone => ("zone-file", None),
        Format::Terraform => ("terraform", Some("dns")),
        Format::TerraformCloudflare => ("terraform", Some("cloudflare")),
    };
    let path = ["v1", "domains", &id, "delegation"];
    let call = Call::get(&path).query("format", Some(wanted)).query("provider", provider);
    let answer = session.api.send(call).await?;
    match format {
        Format::Table if session.out.json => session.out.line(&answer.text),
        Format::Table => records(session, &answer.parse::<Delegation>()?),
        _ => session.out.text(Lines::new(&answer.text)),
    }
}

/// A plan, as it came and as it is read.
struct Planned {
    domain_id: String,
    credential_id: String,
    answer: Answer,
    plan: DelegationPlan,
}

impl Planned {
    async fn make(session: &Session, args: &PlanArgs) -> Result<Self, ClientError> {
        let (_, domain) = session.domain(&session.domain_id(&args.domain).await?).await?;
        let domain_id = domain.id.as_str().to_owned();
        let credential_id = dns_credentials::choose(session, &domain.name, args.credential.as_deref()).await?;
        let body = json!({"dns_credential_id": credential_id, "include_optional": args.all});
        let answer = session.api.send(Call::post(&["v1", "domains", &domain_id, "delegation:plan"], body)).await?;
        let plan = answer.parse()?;
        Ok(Self { domain_id, credential_id, answer, plan })
    }

    fn show(&self, session: &Session) -> Result<(), ClientError> {
        let out = &session.out;
        if out.json {
            return out.line(&self.answer.text);
        }
        out.line(format_args!("In the zone {}:", self.plan.zone))?;
        let rows: Vec<_> = self
            .plan
            .records
            .iter()
            .map(|record| [&record.action, &record.name, &record.target, &record.message].map(Text::to_string))
            .collect();
        out.table(2, ["ACTION", "NAME", "TARGET", ""], &rows)?;
        out.line(&self.plan.message)
    }

    fn must_be_applicable(&self) -> Result<(), ClientError> {
        if self.plan.applicable {
            return Ok(());
        }
        Err(ClientError::No("the plan cannot be applied: other records stand in the way".to_owned()))
    }
}

/// Plans, asks, and applies exactly that plan: the service refuses it once the zone was changed in between.
async fn apply(session: &Session, args: &PlanArgs, yes: bool) -> Result<(), ClientError> {
    let planned = Planned::make(session, args).await?;
    let out = &session.out;
    if !out.json {
        planned.show(session)?;
    }
    planned.must_be_applicable()?;
    if !yes && planned.plan.to_create > 0 {
        prompt::confirm(&format!("Create {} in {}?", planned.plan.to_create, planned.plan.zone))?;
    }
    let body = json!({"dns_credential_id": planned.credential_id, "plan": planned.plan.plan.as_str()});
    let path = ["v1", "domains", &planned.domain_id, "delegation:apply"];
    let answer = session.api.send(Call::post(&path, body)).await?;
    let applied: AppliedDelegation = answer.parse()?;
    if out.json {
        out.line(&answer.text)?;
    } else {
        let rows: Vec<_> = applied
            .records
            .iter()
            .map(|record| {
                let message = record.message.clone().unwrap_or_default();
                [&record.outcome, &record.name, &record.target, &message].map(Text::to_string)
            })
            .collect();
        out.table(2, ["OUTCOME", "NAME", "TARGET", ""], &rows)?;
    }
    if applied.complete { Ok(()) } else { Err(ClientError::No("not all of the CNAMEs stand in the zone".to_owned())) }
}
