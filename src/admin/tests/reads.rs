//! Reads: shapes, pages, consistency, explanations, probes, metrics, the page.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::{Node, pool, route};

#[tokio::test]
async fn a_resource_is_spec_status_and_revision() {
    let node = Node::new().await;
    let revision = node.put("/v1/pools/web?wait=applied", pool(&[7001])).await;
    let read = node.get("/v1/pools/web").await;
    assert_eq!(read.body["revision"], revision);
    assert_eq!(read.body["spec"]["name"], "web");
    let status = &read.body["status"]["backends"][0];
    assert_eq!(
        (&status["id"], &status["admitting"], &status["in_flight"]),
        (&json!("b1"), &json!(true), &json!(0))
    );
    let config = node.get("/v1/config").await;
    assert_eq!(config.body["pools"][0], read.body["spec"]);
    let unchanged = node
        .call(
            &format!("GET /v1/pools/web\nif-none-match: \"{revision}\""),
            None,
        )
        .await;
    assert_eq!(unchanged.status, 304);
}

#[tokio::test]
async fn what_is_read_can_be_put_back() {
    let node = Node::new().await;
    node.put("/v1/pools/web", pool(&[1, 2])).await;
    let secret = "5e".repeat(32);
    let users = json!([{"name": "ann", "password_sha256": secret}]);
    let staff = json!({"basic_auth": {"users": users}, "timeouts": {"total": "1m"}});
    node.put("/v1/policies/staff", staff).await;
    let mut shop = route("web");
    shop["policies"] = json!(["staff"]);
    node.put("/v1/routes/shop", shop).await;
    for path in [
        "/v1/pools/web",
        "/v1/routes/shop",
        "/v1/policies/staff",
        "/v1/pools/web/backends/b2",
    ] {
        let spec = node.get(path).await.body["spec"].clone();
        let answer = node.call(&format!("PUT {path}"), Some(spec)).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body["changed"]),
            (200, &json!(false)),
            "{path}"
        );
    }
    let config = node.get("/v1/config").await.body;
    assert!(!config.to_string().contains(&secret), "{config}");
    assert_eq!(
        node.call("PUT /v1/config", Some(config)).await.body["changed"],
        false
    );
}

#[tokio::test]
async fn a_policy_tells_who_shares_it_and_stays_while_somebody_does() {
    let node = Node::new().await;
    node.put("/v1/pools/web", pool(&[1])).await;
    node.put("/v1/policies/slow", json!({"timeouts": {"total": "1m"}}))
        .await;
    let mut shop = route("web");
    shop["policies"] = json!(["slow"]);
    node.put("/v1/routes/shop?wait=applied", shop).await;
    let listed = node.get("/v1/policies").await.body;
    assert_eq!(listed["items"][0]["status"]["routes"], 1, "{listed}");
    let refused = node.call("DELETE /v1/policies/slow", None).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert!(refused.body.to_string().contains("/routes/shop"));
    let misplaced = json!({"redirect": {"host": "a.example"}});
    let refused = node.call("PUT /v1/policies/slow", Some(misplaced)).await;
    assert_eq!(refused.body["faults"][0]["pointer"], "/redirect");
    let question = json!({"url": "http://shop.example/"});
    let told = node.call("POST /v1/explain", Some(question)).await.body;
    let text = told["text"].as_str().unwrap();
    assert!(
        text.contains("policy slow") && text.contains("1m"),
        "{text}"
    );
    node.call("DELETE /v1/routes/shop", None).await;
    assert_eq!(
        node.call("DELETE /v1/policies/slow", None).await.status,
        200
    );
    assert_eq!(node.get("/v1/policies/slow").await.status, 404);
}

#[tokio::test]
async fn hashes_are_shown_nowhere_and_can_be_put_back_all_the_same() {
    let node = Node::new().await;
    node.put("/v1/pools/web", pool(&[1])).await;
    let secret = "5e".repeat(32);
    let mut shop = route("web");
    shop["basic_auth"] = json!({"users": [{"name": "ann", "password_sha256": secret}]});
    let revision = node.put("/v1/routes/shop", shop.clone()).await;
    for path in [
        "/v1/routes/shop",
        "/v1/routes",
        "/v1/config",
        &format!("/v1/revisions/{revision}"),
        &format!("/v1/revisions/{revision}/diff"),
    ] {
        let shown = node.get(path).await.body.to_string();
        assert!(
            shown.contains("(redacted)") && !shown.contains(&secret),
            "{path} {shown}"
        );
    }
    let mut other = shop.clone();
    other["basic_auth"]["users"][0]["password_sha256"] = json!("6f".repeat(32));
    let dry = node
        .call("PUT /v1/routes/shop?dry_run=true", Some(other))
        .await;
    assert!(
        !dry.body.to_string().contains(&"6f".repeat(32)),
        "{}",
        dry.body
    );
    let candidate = json!({"pools": [], "routes": []});
    let differs = node.call("POST /v1/diff", Some(candidate)).await;
    assert!(
        !differs.body.to_string().contains(&secret),
        "{}",
        differs.body
    );

    let whole = node.get("/v1/config").await.body;
    let differs = node.call("POST /v1/diff", Some(whole.clone())).await;
    assert_eq!(differs.status, 200, "{}", differs.body);
    let list = json!({"routes": whole["routes"]});
    for (request, body) in [("PUT /v1/config", whole), ("PATCH /v1/config", list)] {
        let again = node.call(request, Some(body)).await;
        assert_eq!(again.body["changed"], false, "{request} {}", again.body);
    }
    let mut read = node.get("/v1/routes/shop").await.body["spec"].clone();
    let again = node.call("PUT /v1/routes/shop", Some(read.clone())).await;
    assert_eq!(again.body["changed"], false);
    // Nobody has the name that the word would have to stand for.
    read["basic_auth"]["users"][0]["name"] = json!("bob");
    let refused = node.call("PUT /v1/routes/shop", Some(read)).await;
    assert_eq!(refused.status, 422, "{}", refused.body);
}

#[tokio::test]
async fn pages_follow_each_other_by_name() {
    let node = Node::new().await;
    for name in ["c", "a", "e", "b", "d"] {
        node.put(&format!("/v1/pools/{name}"), pool(&[])).await;
    }
    let (mut names, mut path) = (Vec::new(), "/v1/pools?limit=2".to_owned());
    loop {
        let page = node.get(&path).await.body;
        let items = page["items"].as_array().unwrap();
        names.extend(
            items
                .iter()
                .map(|item| item["spec"]["name"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/v1/pools?limit=2&after={next}");
    }
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn without_a_quorum_only_local_reads_answer() {
    let node = Node::without_quorum().await;
    let read = node.get("/v1/pools").await;
    assert_eq!(
        (read.status.as_u16(), read.header("retry-after")),
        (503, "1")
    );
    assert!(
        read.body["advice"]
            .as_str()
            .unwrap()
            .contains("?consistency=local")
    );
    assert_eq!(node.get("/v1/pools?consistency=local").await.status, 200);
    assert_eq!(node.get("/v1/nodes").await.status, 200);
}

#[tokio::test]
async fn a_written_route_is_explained_at_once() {
    let node = Node::new().await;
    node.put("/v1/pools/web", pool(&[1])).await;
    let revision = node.put("/v1/routes/shop", route("web")).await;
    let answer = node
        .call(
            "POST /v1/explain",
            Some(json!({"url": "http://shop.example/cart"})),
        )
        .await;
    assert_eq!(
        (answer.status.as_u16(), &answer.body["revision"]),
        (200, &json!(revision))
    );
    assert_eq!(answer.body["route"]["route"], "shop");
    assert_eq!(answer.body["pools"][0]["backends"][0]["id"], "b1");
    let wrong = node
        .call("POST /v1/explain", Some(json!({"uri": "/"})))
        .await;
    assert_eq!(
        (wrong.status.as_u16(), wrong.pointers()),
        (422, vec!["/uri"])
    );
}

#[tokio::test]
async fn candidates_are_judged_and_compared_without_a_change() {
    let node = Node::new().await;
    let revision = node.put("/v1/pools/web", pool(&[1])).await;
    let good = json!({"pools": [{"name": "new"}], "routes": []});
    assert_eq!(
        node.call("POST /v1/validate", Some(good.clone()))
            .await
            .body["valid"],
        true
    );
    let bad = json!({"pools": [{"name": "a", "x": 1}], "routes": [{"name": "r", "to": [{"pool": "gone"}]}]});
    let refused = node.call("POST /v1/validate", Some(bad)).await;
    assert_eq!(
        (refused.status.as_u16(), refused.pointers()),
        (422, vec!["/pools/0/x", "/routes/0/to/0/pool"])
    );
    let diff = node.call("POST /v1/diff", Some(good)).await;
    let paths: Vec<_> = diff.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["path"].clone())
        .collect();
    assert_eq!(paths, ["/pools/new", "/pools/web"]);
    let patch =
        json!([{"op": "patch", "path": "/pools/web", "value": {"balance": "least_connections"}}]);
    let diff = node.call("POST /v1/diff", Some(patch)).await;
    assert_eq!(diff.body["items"][0]["path"], "/pools/web/balance");
    assert_eq!(
        node.get("/v1/config").await.header("synod-revision"),
        revision.to_string()
    );
}

#[tokio::test]
async fn nodes_and_metrics_tell_where_this_one_stands() {
    let node = Node::new().await;
    let revision = node.put("/v1/pools/web?wait=applied", pool(&[1])).await;
    let nodes = node.get("/v1/nodes").await.body;
    let item = &nodes["items"][0];
    assert_eq!(
        (&item["name"], &item["role"], &item["applied"]),
        (&json!("n1"), &json!("leader"), &json!(revision))
    );
    assert!(item["digest"].is_string() && item["rejected"].is_null() && item["lag"] == 0);
    let metrics = node.get("/metrics").await.body;
    let text = metrics.as_str().unwrap();
    for line in [
        format!("synod_revision {revision}"),
        format!("synod_served_revision {revision}"),
        "synod_leader 1".to_owned(),
        "synod_config_rejected 0".to_owned(),
        "synod_commit_duration_seconds_count".to_owned(),
        "synod_log_syncs_total".to_owned(),
    ] {
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
    let mut samples = text.lines().filter(|line| !line.starts_with('#'));
    assert!(samples.all(|line| line.starts_with("synod_")), "{text}");
}

#[tokio::test]
async fn ready_is_a_snapshot_and_no_drain() {
    let node = Node::without_data_plane().await;
    assert_eq!(node.get("/livez").await.status, 200);
    assert_eq!(node.get("/readyz").await.status, 503);
    node.state.serving.store(true, Ordering::Release);
    assert_eq!(node.get("/readyz").await.status, 200);
    node.shutdown.set();
    assert_eq!(node.get("/readyz").await.status, 503);
    assert_eq!(node.get("/livez").await.status, 200);
}

#[tokio::test]
async fn the_page_and_all_it_loads_are_in_the_binary() {
    let node = Node::new().await;
    let mut seen = 0;
    let mut wanted = vec!["/".to_owned()];
    while let Some(path) = wanted.pop() {
        let part = node.get(&path).await;
        assert_eq!(part.status, 200, "{path}");
        assert!(
            part.header("content-security-policy")
                .contains("default-src 'none'")
        );
        let text = part.body.as_str().unwrap();
        assert!(
            !text.contains("//") || !text.contains("http://") && !text.contains("https://"),
            "{path}"
        );
        seen += 1;
        let quoted = text
            .split('"')
            .filter(|text| text.starts_with("./") || text.starts_with("/dashboard/"));
        wanted.extend(quoted.map(|text| text.replacen("./", "/dashboard/", 1)));
        assert!(seen < 20);
    }
    assert!(seen >= 5);
}
