//! `/openapi.json`: the API described for tools (OpenAPI 3.1), kept beside the handlers and tested against the router.

use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;

pub(super) const DOCUMENT: &str = include_str!("openapi.json");

pub(super) async fn get() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT)
}
