//! `/problems/` and `/problems/{slug}`: what the type URIs lead to.

use std::fmt::Write as _;

use actix_web::{HttpResponse, get, web};

use super::{Problem, ProblemKind};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem}\
                     code{background:#eee;padding:.1em .3em;border-radius:.2em}";

/// The list of all types.
#[get("/problems/")]
pub(crate) async fn index() -> HttpResponse {
    let mut list = String::from("<h1>Problem types of the mtasts API</h1><ul>");
    for kind in ProblemKind::ALL {
        // Writing to a String cannot fail.
        let _ = write!(
            list,
            "<li>{} <a href=\"{slug}\"><code>{slug}</code></a>: {}</li>",
            kind.status().as_u16(),
            kind.title(),
            slug = kind.slug(),
        );
    }
    list.push_str("</ul>");
    page("Problem types", &list)
}

/// The page of one type.
#[get("/problems/{slug}")]
pub(crate) async fn one(slug: web::Path<String>) -> Result<HttpResponse, Problem> {
    let kind = ProblemKind::ALL
        .into_iter()
        .find(|kind| kind.slug() == slug.as_str())
        .ok_or_else(|| Problem::new(ProblemKind::NoSuchRoute, "There is no such problem type; /problems/ lists all"))?;
    Ok(page(
        kind.title(),
        &format!(
            "<h1>{}</h1><p>Status {}, code <code>{}</code></p><p>{}</p><p><a href=\"./\">All problem types</a></p>",
            kind.title(),
            kind.status(),
            kind.slug(),
            code_spans(kind.explanation()),
        ),
    ))
}

fn page(title: &str, content: &str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header(("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"))
        .body(format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style>{content}</html>"
        ))
}

/// Our own texts only: backticks become code spans, and what HTML would read as a tag is escaped.
fn code_spans(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    escaped.split('`').enumerate().fold(String::new(), |mut html, (place, part)| {
        if place % 2 == 1 {
            let _ = write!(html, "<code>{part}</code>");
        } else {
            html.push_str(part);
        }
        html
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_html_with_code_spans_and_no_tags_of_their_own() {
        assert_eq!(code_spans("send `a <b>` & go"), "send <code>a &lt;b&gt;</code> &amp; go");
        assert!(ProblemKind::ALL.iter().all(|kind| kind.explanation().matches('`').count() % 2 == 0));
    }
}
