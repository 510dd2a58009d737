//! How long such a tunnel lasts, what holds it up, and how it ends.

use super::*;

#[test]
fn a_reset_of_either_side_is_one_of_the_other() {
    let (sender, ends) = mpsc::channel();
    let backend = switching(move |peer, n| {
        peer.exactly(1);
        if n == 0 {
            let socket = socket2::SockRef::from(&peer.stream);
            socket.set_linger(Some(Duration::ZERO)).unwrap();
        } else {
            peer.send("y");
            sender.send(peer.ends_by_reset()).unwrap();
        }
    });
    let proxy = Harness::to(&[backend.address]);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let mut tunnel = Tunnel::open(&mut client).await;
        push(&mut tunnel.out, Bytes::from("x"), false).await;
        assert_eq!(tunnel.reason().await, Some(Reason::CANCEL));
        let mut tunnel = Tunnel::open(&mut client).await;
        push(&mut tunnel.out, Bytes::from("x"), false).await;
        assert_eq!(tunnel.exactly(1).await, b"y");
        tunnel.out.send_reset(Reason::CANCEL);
        let within = Duration::from_secs(10);
        let ended = tokio::task::spawn_blocking(move || ends.recv_timeout(within));
        let reset = ended.await.unwrap();
        assert_eq!(reset, Ok(true), "a reset, not an orderly end");
    }));
}

#[test]
fn a_reset_is_noticed_while_the_backend_reads_nothing() {
    let (sender, gone) = mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let backend = switching(move |_, _| {
        let _ = gone.lock().unwrap().recv();
    });
    let proxy = Harness::to(&[backend.address]);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let mut tunnel = Tunnel::open(&mut client).await;
        let endless = async {
            loop {
                push(&mut tunnel.out, Bytes::from_static(&[0; 16 * 1024]), false).await;
            }
        };
        // Until nobody takes any more of it.
        let stuck = tokio::time::timeout(Duration::from_secs(1), endless).await;
        assert!(stuck.is_err());
        tunnel.out.send_reset(Reason::CANCEL);
        let metrics = proxy.metrics.backend("web", "b1");
        while metrics.in_flight() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }));
    drop(sender);
}

#[test]
fn a_client_that_does_not_read_holds_its_backend_up_and_no_other_stream() {
    const WHOLE: usize = 32 * 1024 * 1024;
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let backend = switching(move |peer, n| {
        if n > 0 {
            while peer.pass_back() {}
            return;
        }
        let piece = [7; 64 * 1024];
        while count.load(Ordering::SeqCst) < WHOLE && peer.try_send(piece) {
            count.fetch_add(piece.len(), Ordering::SeqCst);
        }
    });
    let proxy = Harness::to(&[backend.address]);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let mut slow = Tunnel::open(&mut client).await;
        let mut before = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = sent.load(Ordering::SeqCst);
            if now > 0 && now == std::mem::replace(&mut before, now) {
                break;
            }
        }
        assert!(before < WHOLE / 2, "{before} bytes lie somewhere");
        let mut other = Tunnel::open(&mut client).await;
        // The window of the connection is the client's to give: it has more than the slow stream's.
        other.end();
        other.ends().await;
        let mut read = 0;
        while let Some(piece) = slow.back.data().await {
            let piece = piece.unwrap();
            read += piece.len();
            slow.back
                .flow_control()
                .release_capacity(piece.len())
                .unwrap();
        }
        assert_eq!(read, WHOLE);
    }));
}

/// A backend of a pool `web`: id, address, and the rest.
fn pool_of(backends: &[(&str, SocketAddr, Value)]) -> Value {
    let backend = |(id, address, more): &(&str, SocketAddr, Value)| {
        let mut backend = json!({"id": id, "address": address.to_string()});
        for (key, value) in more.as_object().into_iter().flatten() {
            backend[key] = value.clone();
        }
        backend
    };
    let backends: Vec<Value> = backends.iter().map(backend).collect();
    json!({"pools": [{"name": "web", "balance": "least_connections", "backends": backends}],
           "routes": [{"name": "all", "match": {}, "to": [{"pool": "web"}]}]})
}

#[test]
fn a_tunnel_over_http2_survives_every_change_but_the_removal_of_its_backend() {
    let (one, other) = (echo(), echo());
    let at = one.address;
    let proxy = Harness::new(options(), &pool_of(&[("b1", at, json!({}))]));
    let soon = |future| proxy.runtime.block_on(soon(future));
    let (mut client, mut tunnel) = proxy.runtime.block_on(async {
        let mut client = Client::connect(&proxy).await;
        let tunnel = Tunnel::open(&mut client).await;
        (client, tunnel)
    });
    let also = ("b2", other.address, json!({}));
    for config in [
        pool_of(&[("b1", at, json!({"weight": 7}))]),
        pool_of(&[("b1", at, json!({"weight": 0}))]),
        pool_of(&[("b1", at, json!({"state": "drain"})), also.clone()]),
        pool_of(&[("b1", at, json!({"state": "maint"}))]),
        pool_of(&[also.clone(), ("b1", at, json!({}))]),
    ] {
        proxy.publish(&config);
        proxy.runtime.block_on(tunnel.echoes("still there"));
    }
    let mut to_other = proxy.runtime.block_on(Tunnel::open(&mut client));
    proxy
        .runtime
        .block_on(to_other.echoes("counted in least connections"));
    assert_eq!((one.connections(), other.connections()), (1, 1));
    proxy.publish(&pool_of(&[also]));
    soon(Box::pin(async {
        assert_eq!(tunnel.reason().await, Some(Reason::CANCEL));
        to_other.echoes("not mine").await;
    }) as std::pin::Pin<Box<dyn Future<Output = ()>>>);
}

#[test]
fn a_tunnel_over_http2_in_which_nothing_moves_ends_after_its_time() {
    let backend = echo();
    let pool = json!({"timeouts": {"tunnel_idle": "300ms", "stream_idle": "50ms"}});
    let proxy = Harness::with_pool(&[backend.address], pool);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let mut tunnel = Tunnel::open(&mut client).await;
        tunnel.echoes("I am here").await;
        assert_eq!(tunnel.reason().await, Some(Reason::CANCEL));
    }));
    backend.wait_for_ended(1);
}

#[test]
fn a_tunnel_over_http2_outlives_the_times_of_its_route() {
    for (address, pool) in [
        (echo().address, json!({})),
        (echo_over_http2().address, http2()),
    ] {
        let mut config = web(&[address], pool);
        config["routes"][0]["timeouts"] = json!({"try": "200ms", "total": "300ms"});
        let proxy = Harness::new(options(), &config);
        proxy.runtime.block_on(soon(async {
            let mut client = Client::connect(&proxy).await;
            let mut tunnel = Tunnel::open(&mut client).await;
            tunnel.echoes("at once").await;
            tokio::time::sleep(Duration::from_millis(700)).await;
            tunnel.echoes("later").await;
        }));
    }
}

#[test]
fn a_tunnel_takes_a_place_among_the_requests_of_its_backend() {
    let backend = echo();
    let limits = json!({"limits": {"requests_per_backend": 1, "queue": 0}});
    let proxy = Harness::with_pool(&[backend.address], limits);
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let mut tunnel = Tunnel::open(&mut client).await;
        let (response, _out) = client.connect_to(chat(), "websocket").await;
        assert_eq!(response.await.unwrap().status(), 503);
        tunnel.end();
        tunnel.ends().await;
        let metrics = proxy.metrics.backend("web", "b1");
        while metrics.in_flight() > 0 {
            tokio::task::yield_now().await;
        }
        Tunnel::open(&mut client).await.echoes("now").await;
    }));
}

#[test]
fn a_drain_lets_tunnels_over_http2_live_to_its_end_and_resets_them_then() {
    let directory = tempfile::tempdir().unwrap();
    let (logging, path) = logging_to(&directory);
    let backend = echo();
    let proxy = Harness::new(logging, &web(&[backend.address], json!({})));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (mut client, mut tunnel, mut ending) = runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let tunnel = Tunnel::open(&mut client).await;
        let ending = Tunnel::open(&mut client).await;
        (client, tunnel, ending)
    }));
    let draining = std::thread::spawn(move || proxy.drain_within(Duration::from_secs(2)));
    runtime.block_on(soon(async {
        while client.is_welcome().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tunnel.echoes("draining").await;
        ending.echoes("going").await;
        ending.end();
        ending.ends().await;
        assert_eq!(tunnel.reason().await, Some(Reason::CANCEL));
    }));
    assert_eq!(draining.join().unwrap(), 1);
    let lines = lines(&path);
    let told: Vec<_> = lines.iter().map(|line| &line["reason"]).collect();
    assert_eq!(told, ["complete", "drained"]);
}

#[test]
fn tunnels_between_clients_and_backends_of_http2_end_as_the_other_side_did() {
    let backend = echo_over_http2();
    let proxy = Harness::with_pool(&[backend.address], http2());
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let mut tunnel = Tunnel::open(&mut client).await;
        tunnel.echoes("hello").await;
        tunnel.end();
        tunnel.ends().await;
    }));
    let resetting = tunnelling(|request, mut respond| async move {
        let mut out = respond.send_response(success(), false).unwrap();
        request.into_body().data().await.unwrap().unwrap();
        out.send_reset(Reason::INTERNAL_ERROR);
    });
    let proxy = Harness::with_pool(&[resetting.address], http2());
    proxy.runtime.block_on(soon(async {
        let mut client = Client::connect(&proxy).await;
        let mut tunnel = Tunnel::open(&mut client).await;
        push(&mut tunnel.out, Bytes::from("x"), false).await;
        assert_eq!(tunnel.reason().await, Some(Reason::CANCEL));
    }));
}
