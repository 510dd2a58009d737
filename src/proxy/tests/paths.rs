//! How a path may be written, and what is made of it.

use serde_json::json;

use super::harness::*;
use super::routes::config;

#[test]
fn no_spelling_of_a_path_gets_around_its_route() {
    let (backend, heads) = recording();
    let routes = json!([
        {"name": "admin", "match": {"path": {"prefix": "/admin"}}, "to": [{"pool": "web"}],
            "clients": {"allow": ["192.0.2.0/24"]}},
        {"name": "moved", "match": {"path": {"prefix": "/api/v1"}}, "to": [{"pool": "web"}],
            "rewrite": {"path": {"prefix": "/"}}},
        {"name": "all", "to": [{"pool": "web"}]},
    ]);
    let harness = Harness::new(options(), &config(&[("web", &backend)], routes));
    for target in [
        "/admin",
        "/admin/x",
        "//admin",
        "/%61dmin",
        "/./admin",
        "/x/../admin",
        "/x/%2e%2e/admin?a=/../b",
        "/admin%2fx",
        "/admin%5Cx",
        "/admin\\x",
        "/admin;v=1/x",
        "/;v=1//admin",
        "http://x/y/..//admin",
    ] {
        let (head, _) = harness.get(target);
        assert_eq!(status(&head), 403, "{target}");
    }
    for target in [
        "/..",
        "/../admin",
        "/x/..%2fadmin",
        "/x/..\\admin",
        "/x/..;/admin",
        "/x//../admin",
    ] {
        let (head, _) = harness.get(target);
        assert_eq!(status(&head), 400, "{target}");
        let why = field(&head, "proxy-status").unwrap_or_default();
        assert!(why.contains("ambiguous_path"), "{target}: {why}");
    }
    for (target, forwarded) in [
        ("/admin/../x/./y?q=/../z", "/x/y?q=/../z"),
        ("/a//b/", "/a//b/"),
        ("/a%2fb;v=1%20%C3", "/a%2fb;v=1%20%C3"),
        ("/%7Euser", "/~user"),
        ("/administrator", "/administrator"),
        ("/fetch/http://a.example/", "/fetch/http://a.example/"),
        ("/api/v1/a%2fb", "/a%2fb"),
        ("/api/v1//a", "//a"),
        ("//api/%76%31/a%2fb", "/a/b"),
    ] {
        assert_eq!(status(&harness.get(target).0), 200, "{target}");
        let head = heads.recv().unwrap();
        assert_eq!(head.split(' ').nth(1), Some(forwarded), "{target}");
    }
}
