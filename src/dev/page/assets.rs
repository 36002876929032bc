//! The page's files, embedded in the binary.

use actix_web::{
    HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY},
    web,
};

/// The page needs nothing from elsewhere and nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, content type and content.
const FILES: [(&str, &str, &str); 9] = [
    ("/", HTML, include_str!("assets/index.html")),
    ("/demo/page.css", CSS, include_str!("assets/page.css")),
    ("/demo/page.js", SCRIPT, include_str!("assets/page.js")),
    ("/demo/connection.js", SCRIPT, include_str!("assets/connection.js")),
    ("/demo/orders.js", SCRIPT, include_str!("assets/orders.js")),
    ("/demo/publish.js", SCRIPT, include_str!("assets/publish.js")),
    ("/demo/wire.js", SCRIPT, include_str!("assets/wire.js")),
    ("/demo/words.js", SCRIPT, include_str!("assets/words.js")),
    ("/demo/ordercast.js", SCRIPT, include_str!("../../../clients/browser/ordercast.js")),
];

/// One route per file.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    for (path, content_type, content) in FILES {
        let answer = move || async move {
            HttpResponse::Ok()
                .content_type(content_type)
                .insert_header((CONTENT_SECURITY_POLICY, POLICY))
                // Another build may answer at the same address a moment later.
                .insert_header((CACHE_CONTROL, "no-cache"))
                .body(content)
        };
        config.route(path, web::get().to(answer)).route(path, web::head().to(answer));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use actix_web::{App, http::StatusCode, test};

    use super::*;

    #[actix_web::test]
    async fn every_file_the_page_names_is_served_under_the_policy() {
        let app = test::init_service(App::new().configure(routes)).await;
        for (path, content_type, content) in FILES {
            let answer = test::call_service(&app, test::TestRequest::get().uri(path).to_request()).await;
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
            assert_eq!(answer.headers().get("content-type").unwrap(), content_type, "{path}");
            assert_eq!(answer.headers().get("content-security-policy").unwrap(), POLICY, "{path}");
            assert_eq!(test::read_body(answer).await, content, "{path}");
        }
        let served: HashSet<&str> = FILES.iter().map(|(path, ..)| *path).collect();
        for (path, _, content) in FILES {
            for named in content.split(['"', '\'']) {
                let is_file = named.ends_with(".js") || named.ends_with(".css");
                if let Some(name) = named.strip_prefix("./").or(named.strip_prefix("/demo/")).filter(|_| is_file) {
                    assert!(served.contains(format!("/demo/{name}").as_str()), "{path} names {named}");
                }
            }
        }
    }

    #[::core::prelude::v1::test]
    fn the_page_names_nothing_of_another_host() {
        for (path, _, content) in FILES {
            for scheme in ["src=\"http", "href=\"http", "url(http", "from \"http", "import(\"http"] {
                assert!(!content.contains(scheme), "{path} has {scheme}");
            }
        }
    }
}
