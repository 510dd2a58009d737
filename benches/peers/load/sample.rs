//! Looks at some answers over HTTP/2 before they are counted: a broken answer is no fast one.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::proxies::{self, Certificate, Protocol, Setup};
use crate::{backend, grpc};

/// Answers looked at.
const SAMPLES: usize = 16;

/// Asserts that the proxy answers rightly: status, body, and the trailers of gRPC.
pub(super) fn check(setup: &Setup, folder: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let stream = TcpStream::connect(proxies::LISTEN)
            .await
            .expect("the proxy accepts");
        let checked = if setup.tls {
            let name = ServerName::try_from("localhost").expect("a name");
            let stream = connector(folder).connect(name, stream).await;
            exchange(setup.protocol, stream.expect("the proxy's certificate")).await
        } else {
            exchange(setup.protocol, stream).await
        };
        checked.expect("the proxy speaks HTTP/2");
    });
}

fn connector(folder: &Path) -> TlsConnector {
    let file = Certificate::in_folder(folder).certificate;
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(file).expect("the file that was written"))
        .expect("the certificate that was made");
    let mut config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsConnector::from(Arc::new(config))
}

async fn exchange(
    protocol: Protocol,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<(), h2::Error> {
    let (client, connection) = h2::client::handshake(stream).await?;
    tokio::spawn(connection);
    for _ in 0..SAMPLES {
        ask(protocol, client.clone()).await?;
    }
    Ok(())
}

async fn ask(protocol: Protocol, client: SendRequest<Bytes>) -> Result<(), h2::Error> {
    let (request, question, answer) = match protocol {
        Protocol::Http1 | Protocol::Http2 => {
            let request = Request::get(format!("http://{}/", proxies::LISTEN));
            (request, Bytes::new(), backend::HELLO)
        }
        Protocol::Grpc => {
            let request = Request::post(format!("http://{}{}", proxies::LISTEN, grpc::METHOD))
                .header("content-type", "application/grpc")
                .header("te", "trailers");
            (request, Bytes::from_static(grpc::QUESTION), grpc::ANSWER)
        }
    };
    let request = request.body(()).expect("a valid head");
    let mut client = client.ready().await?;
    let (response, mut body) = client.send_request(request, question.is_empty())?;
    if !question.is_empty() {
        body.send_data(question, true)?;
    }
    let response = response.await?;
    assert_eq!(response.status(), 200, "{response:?}");
    let (head, mut body) = response.into_parts();
    let bytes = grpc::whole(&mut body).await?;
    assert_eq!(bytes, answer, "{head:?}");
    if protocol == Protocol::Grpc {
        let trailers = body.trailers().await?.unwrap_or_default();
        let status = trailers.get("grpc-status");
        assert_eq!(
            status.map(http::HeaderValue::as_bytes),
            Some(&b"0"[..]),
            "{trailers:?}"
        );
    }
    Ok(())
}
