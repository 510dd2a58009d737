//! What a failure is charged where backends are picked by how fast they are.

use std::time::Duration;

use serde_json::json;

use super::harness::*;

#[test]
fn who_fails_fast_is_charged_five_seconds_or_as_long_as_it_asks_to_be_left_alone() {
    let good = Scripted::named("good");
    for (answer, seconds) in [
        ("500 No\r\n", 5),
        ("503 No\r\nRetry-After: 30\r\n", 30),
        ("429 No\r\nRetry-After: 30\r\n", 30),
        ("503 No\r\nRetry-After: 86400\r\n", 300),
        (
            "503 No\r\nRetry-After: Fri, 31 Dec 2100 23:59:59 GMT\r\n",
            300,
        ),
        (
            "503 No\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n",
            5,
        ),
        ("503 No\r\nRetry-After: soon\r\n", 5),
    ] {
        let bad = Scripted::always(format!("HTTP/1.1 {answer}Content-Length: 3\r\n\r\nbad"));
        let more = json!({"balance": "ewma", "outlier": {"max_percent": 0}});
        let harness = Harness::with_pool(&[good.address, bad.address], more);
        let failed = harness.of_a_hundred("bad");
        assert_eq!(failed, 1, "{answer}: one to find out, and no second");
        let charged = harness.backend(1).average_first_byte().unwrap();
        let most = Duration::from_secs(seconds);
        // It fades, by a third in four seconds.
        assert!(
            charged <= most && charged > most * 2 / 3,
            "{answer}: {charged:?}"
        );
    }
}
