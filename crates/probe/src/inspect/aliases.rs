//! CNAMEs on the way to a name.

use mtasts_dns::{ResolveError, Resolver};

use super::{Code, Finding, text::shown};

/// The chain from `name`, with what there is to say about it. A failure of DNS is left to the lookup of the records
/// themselves, which meets it too.
pub(crate) async fn look(resolver: &Resolver, name: &str) -> (Vec<String>, Vec<Finding>) {
    match resolver.cname_chain(name).await {
        Ok(targets) if targets.is_empty() => (targets, Vec::new()),
        Ok(targets) => {
            let targets: Vec<String> = targets.iter().map(|target| shown(target, 260)).collect();
            let finding = Finding::new(Code::Alias, name, format!("{name} is an alias of {}", targets.join(" → ")));
            (targets, vec![finding])
        }
        Err(error @ ResolveError::CnameLoop { .. }) => {
            (Vec::new(), vec![Finding::new(Code::AliasLoop, name, error.to_string())])
        }
        Err(error @ ResolveError::CnameChainTooLong { .. }) => {
            (Vec::new(), vec![Finding::new(Code::AliasTooLong, name, error.to_string())])
        }
        Err(_) => (Vec::new(), Vec::new()),
    }
}

/// Whether the chain itself is the fault, so that the lookup's failure says nothing more.
pub(crate) fn is_of_chain(error: &ResolveError) -> bool {
    matches!(error, ResolveError::CnameLoop { .. } | ResolveError::CnameChainTooLong { .. })
}

/// Whether a finding is about such a chain: resolvers that meet one answer SERVFAIL, which then says nothing more.
pub(crate) fn is_fault(finding: &Finding) -> bool {
    matches!(finding.code, Code::AliasLoop | Code::AliasTooLong)
}

/// Whether DNS said something about the domain, be it that it is broken: a resolver that answers SERVFAIL is there,
/// where one that is silent or refuses us says nothing.
pub(crate) fn is_answer(error: &ResolveError) -> bool {
    is_of_chain(error) || matches!(error, ResolveError::Failed { code, .. } if code == "Server Failure")
}
