//! What stands before many nodes: takes connections, and passes each on to the next node that is not taken out.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};

/// A balancer by connections, or, with one place behind it, a link that can be cut.
#[derive(Clone)]
pub struct Balancer {
    pub addr: SocketAddr,
    behind: Arc<Mutex<Vec<(SocketAddr, bool)>>>,
    next: Arc<AtomicUsize>,
    /// While set, bytes are taken and go nowhere.
    silent: Arc<AtomicBool>,
}

impl Balancer {
    pub async fn before(places: &[SocketAddr]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let balancer = Self {
            addr: listener.local_addr().expect("an address"),
            behind: Arc::new(Mutex::new(places.iter().map(|place| (*place, true)).collect())),
            next: Arc::default(),
            silent: Arc::default(),
        };
        let serving = balancer.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().pass(stream));
            }
        });
        balancer
    }

    /// Takes a place out, or back in. Connections that are there stay.
    pub fn set(&self, place: SocketAddr, is_in: bool) {
        for entry in self.behind.lock().unwrap().iter_mut().filter(|entry| entry.0 == place) {
            entry.1 = is_in;
        }
    }

    /// From now on nothing gets through, in either direction, and nobody is told; or it does again.
    pub fn black_hole(&self, is_silent: bool) {
        self.silent.store(is_silent, Ordering::SeqCst);
    }

    async fn pass(self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let places: Vec<SocketAddr> =
            self.behind.lock().unwrap().iter().filter(|entry| entry.1).map(|entry| entry.0).collect();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        for turn in 0..places.len() {
            let place = places[(first + turn) % places.len()];
            if let Ok(there) = TcpStream::connect(place).await {
                let _ = there.set_nodelay(true);
                return self.join(stream, there).await;
            }
        }
    }

    async fn join(&self, here: TcpStream, there: TcpStream) {
        let (here_in, here_out) = here.into_split();
        let (there_in, there_out) = there.into_split();
        tokio::select! {
            () = self.pump(here_in, there_out) => {}
            () = self.pump(there_in, here_out) => {}
        }
    }

    async fn pump(&self, mut from: tokio::net::tcp::OwnedReadHalf, mut to: tokio::net::tcp::OwnedWriteHalf) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count) = from.read(&mut buffer).await {
            while self.silent.load(Ordering::SeqCst) {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            if count == 0 || to.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    }
}
