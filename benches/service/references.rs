//! The two bare servers that the service is held against. Each is this program again, as its own process.
//!
//! Both are axum on hyper's HTTP/1 on tokio's multi-threaded runtime, as the service is, and do nothing else.

use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::Path;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::failure::{Failure, Outcome};

/// The log's length. It is written once before the first measurement, and then over and over, so that no append changes
/// the file's size or its extents: the cheapest durable log there is.
const LOG_BYTES: u64 = 128 << 20;
/// Most bodies in one sync; above what 64 connections can have under way.
const GROUP: usize = 1024;

/// Answers every body with itself.
pub fn serve_echo(address: SocketAddr) -> Outcome<()> {
    serve(address, Router::new().route("/", post(async |body: Bytes| body)))
}

/// Answers a body with itself once it is on disk.
pub fn serve_yardstick(address: SocketAddr, path: &Path) -> Outcome<()> {
    let file = preallocated(path)?;
    let (appends, queue) = mpsc::channel(GROUP);
    std::thread::Builder::new().name("log".into()).spawn(move || write_groups(&file, queue))?;
    serve(address, Router::new().route("/", post(append)).with_state(appends))
}

fn serve(address: SocketAddr, router: Router) -> Outcome<()> {
    let router = router.route("/readyz", get(async || "ready"));
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(accept(address, router))
}

async fn accept(address: SocketAddr, router: Router) -> Outcome<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = TowerToHyperService::new(router.clone());
        // A connection's end is the client's business.
        tokio::spawn(http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service));
    }
}

/// A body to write, and whom to tell when it is safe.
struct Append {
    body: Bytes,
    durable: oneshot::Sender<()>,
}

async fn append(State(appends): State<mpsc::Sender<Append>>, body: Bytes) -> Result<Bytes, StatusCode> {
    let (durable, written) = oneshot::channel();
    let queued = appends.send(Append { body: body.clone(), durable }).await;
    queued.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    written.await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(body)
}

/// Writes and syncs what gathered while the last sync ran. A failed write drops the group's acknowledgements and ends the
/// thread, so that nothing is ever acknowledged again.
fn write_groups(file: &File, mut queue: mpsc::Receiver<Append>) {
    let (mut group, mut bytes, mut offset) = (Vec::with_capacity(GROUP), Vec::new(), 0);
    while queue.blocking_recv_many(&mut group, GROUP) > 0 {
        bytes.clear();
        for append in &group {
            bytes.extend_from_slice(&append.body);
        }
        if write_durably(file, &bytes, &mut offset).is_err() {
            return;
        }
        for append in group.drain(..) {
            // The client may have gone.
            let _ = append.durable.send(());
        }
    }
}

fn write_durably(file: &File, bytes: &[u8], offset: &mut u64) -> std::io::Result<()> {
    let length = bytes.len() as u64;
    if *offset + length > LOG_BYTES {
        *offset = 0;
    }
    file.write_all_at(bytes, *offset)?;
    *offset += length;
    file.sync_data()
}

/// Opens the log, written full of zeros once, so that its blocks exist.
fn preallocated(path: &Path) -> Outcome<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    if file.metadata()?.len() == LOG_BYTES {
        return Ok(file);
    }
    let zeros = vec![0; 1 << 20];
    for offset in (0..LOG_BYTES).step_by(zeros.len()) {
        file.write_all_at(&zeros, offset)?;
    }
    file.sync_all().map_err(Failure::from)?;
    Ok(file)
}
