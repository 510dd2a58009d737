//! What clients of HTTP/2 see of backends that do wrong: the same as those of HTTP/1.1, but that the stream alone is
//! reset where the connection would be closed.

use h2::client::ResponseFuture;
use http::Request;

use super::client::{Client, soon};
use super::trouble::HTTP2;
use crate::proxy::tests::harness::*;
use crate::proxy::tests::trouble::{HTTP1, Table};

const OF_HTTP1: Table = Table { asked, ..HTTP1 };

const OF_HTTP2: Table = Table { asked, ..HTTP2 };

#[test]
fn a_client_of_http2_sees_what_the_tables_say_of_a_backend_alone() {
    OF_HTTP1.check_alone();
    OF_HTTP2.check_alone();
}

#[test]
fn another_backend_is_asked_for_a_client_of_http2_as_the_tables_say() {
    OF_HTTP1.check_again();
    OF_HTTP2.check_again();
}

#[test]
fn who_goes_on_is_ejected_for_clients_of_http2_as_the_tables_say() {
    OF_HTTP1.check_ejection();
    OF_HTTP2.check_ejection();
}

/// The status and the body, if the answer is whole. The connection goes on in any case.
fn asked(harness: &Harness, method: &str) -> Option<(u16, String)> {
    harness.runtime.block_on(soon(async {
        let mut client = Client::connect(harness).await;
        let request = Request::builder().method(method).uri("http://x/");
        let (response, _) = client.send(request.body(()).unwrap(), true).await;
        let answer = whole(response).await;
        assert!(client.is_welcome().await);
        match answer {
            Ok(answer) => Some(answer),
            Err(error) => {
                assert!(error.is_reset() && error.is_remote(), "{error}");
                None
            }
        }
    }))
}

async fn whole(response: ResponseFuture) -> Result<(u16, String), h2::Error> {
    let (head, mut body) = response.await?.into_parts();
    let mut text = Vec::new();
    while let Some(piece) = body.data().await {
        text.extend_from_slice(&piece?);
    }
    Ok((head.status.as_u16(), String::from_utf8(text).unwrap()))
}
