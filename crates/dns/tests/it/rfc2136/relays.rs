//! What happens on the way: relays that lose, change and delay messages.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// Looks at each message for the server before it is passed on.
pub(super) type Ahead = Box<dyn Fn(&[u8]) -> BoxFuture<'static, ()> + Send + Sync>;

/// What the server answers goes through `edit`, message by message. `None` swallows it.
pub(super) async fn proxy(
    server: SocketAddr,
    edit: impl FnMut(Vec<u8>) -> Option<Vec<u8>> + Send + 'static,
) -> SocketAddr {
    proxy_with(server, Box::new(|_| Box::pin(async {})), edit).await
}

/// Passes TCP connections on.
pub(super) async fn proxy_with(
    server: SocketAddr,
    ahead: Ahead,
    edit: impl FnMut(Vec<u8>) -> Option<Vec<u8>> + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ahead, edit) = (Arc::new(ahead), Arc::new(Mutex::new(edit)));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (ahead, edit) = (Arc::clone(&ahead), Arc::clone(&edit));
            let (mut asks, mut hears) = client.into_split();
            let (mut answers, mut server) = TcpStream::connect(server).await.unwrap().into_split();
            tokio::spawn(async move {
                while let Some(message) = receive(&mut asks).await {
                    ahead(&message).await;
                    if !send(&mut server, &message).await {
                        break;
                    }
                }
            });
            tokio::spawn(async move {
                while let Some(message) = receive(&mut answers).await {
                    let edited = edit.lock().unwrap()(message);
                    let Some(message) = edited else { continue };
                    if !send(&mut hears, &message).await {
                        break;
                    }
                }
            });
        }
    });
    address
}

pub(super) async fn receive(stream: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let mut message = vec![0; usize::from(stream.read_u16().await.ok()?)];
    stream.read_exact(&mut message).await.ok()?;
    Some(message)
}

pub(super) async fn send(stream: &mut OwnedWriteHalf, message: &[u8]) -> bool {
    let mut framed = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    stream.write_all(&framed).await.is_ok()
}

pub(super) fn is_update(message: &[u8]) -> bool {
    message[2] & 0x78 == UPDATE
}

const UPDATE: u8 = 5 << 3;

/// Passes exchanges on, and closes the connection whenever no question is open.
pub(super) async fn impatient(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (mut asks, mut hears) = client.into_split();
            let (mut answers, mut upstream) = TcpStream::connect(server).await.unwrap().into_split();
            tokio::spawn(async move {
                let mut open = 0_u32;
                loop {
                    tokio::select! {
                        biased;
                        Some(message) = receive(&mut asks) => {
                            open += 1;
                            send(&mut upstream, &message).await;
                        }
                        Some(message) = receive(&mut answers), if open > 0 => {
                            open -= 1;
                            send(&mut hears, &message).await;
                            if open == 0 {
                                break;
                            }
                        }
                        else => break,
                    }
                }
            });
        }
    });
    address
}
