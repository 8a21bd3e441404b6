//! Which paths and methods exist, from the OpenAPI document: for 405 answers and for the labels of metrics.

use actix_web::http::Method;
use utoipa::openapi::{OpenApi, PathItem};

/// The paths that are no part of the API's document.
const PAGES: [&str; 9] = [
    "/",
    "/docs",
    "/docs/",
    "/docs/{file}",
    "/domain-connect/template.json",
    "/domain-connect/key.txt",
    "/openapi.json",
    "/problems/",
    "/problems/{slug}",
];

/// Pages with a button.
const FORMS: [&str; 2] = ["/digest/confirm/{token}", "/digest/unsubscribe/{token}"];

/// All routes.
pub(crate) struct Routes(Vec<Route>);

struct Route {
    pattern: String,
    methods: Vec<Method>,
}

impl Routes {
    /// The routes of the document, and the pages.
    pub(crate) fn of(openapi: &OpenApi) -> Self {
        let documented = openapi
            .paths
            .paths
            .iter()
            .map(|(pattern, item)| Route { pattern: pattern.clone(), methods: methods(item) });
        let pages =
            PAGES.map(|pattern| Route { pattern: pattern.to_owned(), methods: vec![Method::GET, Method::HEAD] });
        let forms = FORMS.map(|pattern| Route {
            pattern: pattern.to_owned(),
            methods: vec![Method::GET, Method::HEAD, Method::POST],
        });
        Self(documented.chain(pages).chain(forms).collect())
    }

    /// The pattern that the path matches.
    pub(crate) fn pattern(&self, path: &str) -> Option<&str> {
        self.find(path).map(|route| route.pattern.as_str())
    }

    /// The value of `Allow` for a path; None where there is no such route.
    pub(crate) fn allow(&self, path: &str) -> Option<String> {
        self.find(path).map(|route| route.methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", "))
    }

    fn find(&self, path: &str) -> Option<&Route> {
        // Literal segments win over parameters, as `/domains/{id}` and a later `/domains/search` may both match.
        self.0
            .iter()
            .filter(|route| matches(&route.pattern, path))
            .min_by_key(|route| route.pattern.matches('{').count())
    }
}

/// Whether the path is one of the pattern: a parameter stands for one segment that is not empty.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(wanted), Some(given)) if wanted == given || (wanted.starts_with('{') && !given.is_empty()) => {}
            _ => return false,
        }
    }
}

fn methods(item: &PathItem) -> Vec<Method> {
    let documented = [
        (Method::GET, &item.get),
        (Method::HEAD, &item.get),
        (Method::PUT, &item.put),
        (Method::POST, &item.post),
        (Method::DELETE, &item.delete),
        (Method::PATCH, &item.patch),
    ];
    documented.into_iter().filter(|(_, operation)| operation.is_some()).map(|(method, _)| method).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_matches_one_segment_that_is_not_empty() {
        assert!(matches("/v1/domains/{domain_id}", "/v1/domains/dom_1"));
        assert!(!matches("/v1/domains/{domain_id}", "/v1/domains/"));
        assert!(!matches("/v1/domains/{domain_id}", "/v1/domains"));
        assert!(!matches("/v1/domains/{domain_id}", "/v1/domains/dom_1/policy"));
    }

    #[test]
    fn every_documented_path_names_its_methods() {
        let routes = Routes::of(&crate::openapi());
        assert_eq!(routes.allow("/v1/domains").as_deref(), Some("GET, HEAD, POST"));
        assert_eq!(routes.allow("/v1/domains/dom_1/mode").as_deref(), Some("PUT"));
        assert_eq!(
            routes.pattern("/v1/domains/dom_1/policy/versions/pol_1"),
            Some("/v1/domains/{domain_id}/policy/versions/{version_id}")
        );
        assert_eq!(routes.allow("/v1/nothing"), None);
    }
}
