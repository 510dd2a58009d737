//! Traces of requests that come and go on over HTTP/2.

use std::sync::mpsc;

use serde_json::json;

use super::backend::{Backend, say};
use super::client::*;
use crate::proxy::tests::harness::web;
use crate::proxy::tests::traces::{Traced, attribute, told_by, traceparent};

#[test]
fn a_trace_goes_through_over_http2() {
    let (sender, heads) = mpsc::channel();
    let backend = Backend::new(move |request, mut respond| {
        let sender = sender.clone();
        async move {
            sender.send(request.into_parts().0).unwrap();
            say(&mut respond, "hello");
        }
    });
    let config = web(&[backend.address], json!({"protocol": "http2"}));
    let traced = Traced::new(&config);
    let field = traceparent("01");
    let (_, parent) = field.trim_end().split_once(": ").unwrap();
    traced.harness.runtime.block_on(async {
        let mut client = Client::connect(&traced.harness).await;
        for path in ["/a", "/b"] {
            let mut request = get(path);
            let headers = request.headers_mut();
            headers.insert("traceparent", parent.parse().unwrap());
            headers.insert("tracestate", "a=b".parse().unwrap());
            let (response, _) = client.send(request, true).await;
            let (head, mut body) = response.await.unwrap().into_parts();
            assert_eq!(
                (head.status.as_u16(), &text(&mut body).await[..]),
                (200, "hello")
            );
        }
    });
    let spans = traced.spans();
    let [first, first_try, second, second_try] = &spans[..] else {
        panic!("two requests with a try each: {spans:?}");
    };
    for (server, call) in [(first, first_try), (second, second_try)] {
        assert!(parent.contains(&told_by(server)[3..35]), "{parent}");
        assert_eq!(call.parent_span_id, server.span_id);
        let head = heads.recv().unwrap();
        let told = |name| head.headers.get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(told("traceparent"), [&told_by(call)]);
        assert_eq!(told("tracestate"), ["a=b"]);
        for span in [server, call] {
            assert_eq!(
                attribute(span, "network.protocol.version").as_deref(),
                Some("2")
            );
        }
    }
}
