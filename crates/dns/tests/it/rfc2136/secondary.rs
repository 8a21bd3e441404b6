//! A secondary server that is behind.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use mtasts_dns::{Confirmation, Known, Resolver, ResolverConfig, confirm};
use mtasts_model::feed::{RecordData, RecordType::Txt};
use mtasts_testkit::{free_port, wait_until};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::{Server, TIMEOUT, ZONE, apply_one, bind, put};

/// Passes questions on to a primary server, over UDP and TCP on one port; zone transfers (TCP) only while it is open.
/// Others are counted.
async fn gate(server: SocketAddr, is_open: Arc<AtomicBool>, turned_away: Arc<AtomicU64>) -> u16 {
    let port = free_port();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            if is_open.load(Ordering::SeqCst) {
                let mut server = TcpStream::connect(server).await.unwrap();
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
            } else {
                turned_away.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            let upstream = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            upstream.send_to(&buffer[..length], server).await.unwrap();
            if let Ok(Ok(length)) = tokio::time::timeout(TIMEOUT, upstream.recv(&mut buffer)).await {
                socket.send_to(&buffer[..length], client).await.unwrap();
            }
        }
    });
    port
}

#[tokio::test]
async fn a_lagging_secondary_is_waited_for() {
    let served = bind().await;
    let Server::Bind(primary) = &served.server else { unreachable!() };
    let (is_open, turned_away) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    let port = gate(served.address(), Arc::clone(&is_open), Arc::clone(&turned_away)).await;
    let secondary = primary.start_secondary(ZONE, port).await;
    is_open.store(false, Ordering::SeqCst);
    let provider = served.with(|config| config.authoritative.push(secondary.address()));
    let name = format!("lag._mta-sts.{ZONE}");
    apply_one(&provider, put(&name, "mine", Known::Never)).await.unwrap();
    let resolver = Resolver::new(ResolverConfig { upstreams: vec![served.address()], ..ResolverConfig::default() });
    let resolver = resolver.unwrap();
    let wanted = RecordData { ttl: 60, values: vec!["mine".to_owned()] };
    for attempts in 0..3 {
        wait_until(Duration::from_secs(30), "the secondary has tried", async || {
            turned_away.load(Ordering::SeqCst) >= attempts
        })
        .await;
        let answer = confirm(&resolver, &provider, &name, Txt, Some(&wanted)).await.unwrap();
        assert_eq!(answer, Confirmation::Lagging { server: secondary.address() });
    }
    is_open.store(true, Ordering::SeqCst);
    wait_until(Duration::from_mins(1), "the secondary has caught up", async || {
        let answer = confirm(&resolver, &provider, &name, Txt, Some(&wanted)).await;
        matches!(answer, Ok(Confirmation::Agreed))
    })
    .await;
}
