//! An answer of the route's own, in the place of a backend's.

use std::collections::BTreeMap;

use serde::Serialize;

/// What every request of a route is answered that nothing else of the route has refused, held to its rate or sent
/// elsewhere before. No backend sees it, wherever the route would send it. The response edits of the route hold for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Respond {
    /// 200 to 599. 200 unless said.
    pub status: u16,
    /// The text; none unless said, and none with 204, 205 and 304.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// What kind of text it is. `text/plain; charset=utf-8` unless said.
    pub content_type: String,
    /// Fields besides, such as Cache-Control.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}
