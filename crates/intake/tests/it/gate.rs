//! A way to the database that can be shut, and on which answers can be lost.

use std::sync::Arc;

use mtasts_testkit::TestDatabase;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// How the way is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    /// New connections end at once, and those that there were have ended.
    Shut,
    /// What is asked arrives, and nothing that is answered does.
    Mute,
}

pub(crate) struct Gate {
    port: u16,
    way: Arc<watch::Sender<Way>>,
}

impl Gate {
    pub(crate) async fn before(database: &TestDatabase) -> Self {
        let target = authority(&database.url());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let way = Arc::new(watch::Sender::new(Way::Open));
        let state = Arc::clone(&way);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, target.clone(), state.subscribe()));
            }
        });
        Self { port, way }
    }

    pub(crate) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// The database's address, through here.
    pub(crate) fn url(&self, database: &TestDatabase) -> String {
        let url = database.url();
        url.replace(&authority(&url), &format!("127.0.0.1:{}", self.port))
    }
}

fn authority(url: &str) -> String {
    let rest = url.split_once("://").unwrap().1;
    let authority = rest.split('/').next().unwrap();
    authority.rsplit_once('@').map_or(authority, |(_, host)| host).to_owned()
}

async fn pass(client: TcpStream, target: String, way: watch::Receiver<Way>) {
    if *way.borrow() == Way::Shut {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let mut shut = way.clone();
    let asked = tokio::io::copy(&mut from_client, &mut to_server);
    let answered = async {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            if *way.borrow() != Way::Mute && to_client.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        _ = asked => {}
        () = answered => {}
        _ = shut.wait_for(|way| *way == Way::Shut) => {}
    }
}
