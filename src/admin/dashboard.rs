//! The status page at `/`: plain HTML, CSS and modules inside the binary, no asset from outside.
//!
//! It is a client of the same API as everyone else; this file only serves its parts.

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS,
};

/// Scripts and styles from this node only, in no frame: what the page shows comes from configs that others wrote.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Path, media type and content of each part.
const PARTS: [(&str, &str, &str); 6] = [
    (
        "/",
        "text/html; charset=utf-8",
        include_str!("dashboard/index.html"),
    ),
    (
        "/dashboard/style.css",
        "text/css; charset=utf-8",
        include_str!("dashboard/style.css"),
    ),
    (
        "/dashboard/app.js",
        "text/javascript; charset=utf-8",
        include_str!("dashboard/app.js"),
    ),
    (
        "/dashboard/api.js",
        "text/javascript; charset=utf-8",
        include_str!("dashboard/api.js"),
    ),
    (
        "/dashboard/series.js",
        "text/javascript; charset=utf-8",
        include_str!("dashboard/series.js"),
    ),
    (
        "/dashboard/view.js",
        "text/javascript; charset=utf-8",
        include_str!("dashboard/view.js"),
    ),
];

pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    PARTS
        .into_iter()
        .fold(Router::new(), |router, (path, media, content)| {
            router.route(path, get(move || async move { part(media, content) }))
        })
}

fn part(media: &'static str, content: &'static str) -> impl IntoResponse {
    let headers: [(HeaderName, &'static str); 4] = [
        (CONTENT_TYPE, media),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, content)
}
