//! T30: requests that two parsers could read in two ways, sent to the service directly and through the proxies that people put
//! in front of it. In each hides a second request, for the callback of a task that waits; wherever it is taken for one, the one
//! who sent it has to be the one who hears of it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::PATIENCE;
use crate::harness::http::Client;
use crate::harness::site::free_address;
use crate::harness::world::World;

/// Spellings of `Transfer-Encoding: chunked` that one parser takes and another passes over.
const CODINGS: [&str; 18] = [
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Transfer-Encoding:\tchunked\r\n",
    "Transfer-Encoding: xchunked\r\n",
    "Transfer-Encoding: chunked, identity\r\n",
    "Transfer-Encoding: identity, chunked\r\n",
    "Transfer-Encoding: chunked, chunked\r\n",
    "Transfer-Encoding: \x0bchunked\r\n",
    "Transfer-Encoding: chunked\x0c\r\n",
    "Transfer-Encoding: \"chunked\"\r\n",
    "Transfer-Encoding: CHUNKED\r\n",
    "Transfer-Encoding:\r\n chunked\r\n",
    "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
    "X: y\nTransfer-Encoding: chunked\r\n",
    "X: y\rTransfer-Encoding: chunked\r\n",
    " Transfer-Encoding: chunked\r\n",
    "Transfer_Encoding: chunked\r\n",
];

/// Spellings of a length, `N` being that of the whole body.
const LENGTHS: [&str; 12] = [
    "Content-Length: 0\r\nContent-Length: N\r\n",
    "Content-Length: N\r\nContent-Length: 0\r\n",
    "Content-Length: 0, N\r\n",
    "Content-Length: +N\r\n",
    "Content-Length: 0xN\r\n",
    "Content-Length: N.0\r\n",
    "Content-Length : N\r\n",
    "Content-Length:\r\n N\r\n",
    "Content-Length: -N\r\n",
    "Content-Length: 1844674407370955161N\r\n",
    "Content_Length: N\r\n",
    "X: y\nContent-Length: N\r\n",
];

/// Ends of a chunked body, after which the hidden request follows.
const CHUNKS: [&str; 10] = [
    "0x0\r\n\r\n",
    "-1\r\n\r\n",
    "0\n\n",
    "0\r\nX: y\n\n",
    "10000000000000000\r\n\r\n",
    "0;x\n\r\n",
    "1\r\nab\r\n0\r\n\r\n",
    " 0\r\n\r\n",
    "0\r\r\n\r\n",
    "g\r\n\r\n",
];

/// Every case: its bytes, for a first path and with the hidden request.
fn cases(first: &str, hidden: &str) -> Vec<String> {
    let head = format!("POST {first} HTTP/1.1\r\nHost: queue.test\r\n");
    let mut cases = Vec::new();
    for coding in CODINGS {
        // Whoever reads chunks finds the hidden request behind them; whoever reads a length finds it within.
        let body = format!("0\r\n\r\n{hidden}");
        cases.push(format!("{head}Content-Length: {}\r\n{coding}\r\n{body}", body.len()));
        // And the other way round; a size with a zero in front is no JSON.
        let size = format!("0{:x}\r\n", hidden.len());
        cases.push(format!("{head}Content-Length: {}\r\n{coding}\r\n{size}{hidden}\r\n0\r\n\r\n", size.len()));
    }
    for length in LENGTHS {
        cases.push(format!("{head}{}\r\n{hidden}", length.replace('N', &hidden.len().to_string())));
    }
    for chunks in CHUNKS {
        cases.push(format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}{hidden}"));
    }
    cases.push(format!("POST {first} HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"));
    cases.push(format!("GET {first} HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 0\r\n\r\n{hidden}"));
    cases
}

/// Whether a case is no riddle to the service itself: names that only look like those of framing mean nothing to it.
fn is_plain(case: &str) -> bool {
    case.contains("_Encoding") || case.contains("_Length")
}

/// One who sends such a request.
struct Sender {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Sender {
    /// Sends the request, and waits so long for the first of what is answered to it.
    async fn send(addr: SocketAddr, bytes: &[u8], first: Duration) -> Self {
        let mut stream = TcpStream::connect(addr).await.expect("a connection");
        let _ = stream.write_all(bytes).await;
        let mut sender = Self { stream, heard: Vec::new() };
        let mut patience = first;
        while sender.hears(patience).await {
            patience = Duration::from_millis(400);
        }
        sender
    }

    async fn hears(&mut self, patience: Duration) -> bool {
        matches!(timeout(patience, self.stream.read_buf(&mut self.heard)).await, Ok(Ok(1..)))
    }

    /// The statuses of all that was answered so far.
    fn statuses(&self) -> Vec<u16> {
        let heard = String::from_utf8_lossy(&self.heard);
        heard.match_indices("HTTP/1.1 ").filter_map(|(at, _)| heard.get(at + 9..at + 12)?.parse().ok()).collect()
    }

    /// Whether a request of this sender was taken, however late that is said.
    async fn is_told_of(&mut self) -> bool {
        while !self.statuses().contains(&200) {
            if !self.hears(PATIENCE).await {
                return false;
            }
        }
        true
    }
}

/// A proxy before the service; ended when dropped.
struct Proxy(Child);

impl Proxy {
    async fn start(program: &str, arguments: &[&str], addr: SocketAddr) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        let proxy = Self(command.spawn().unwrap_or_else(|error| panic!("{program}: {error}")));
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(addr).await.is_err() {
            assert!(Instant::now() < deadline, "{program} does not listen");
            sleep(Duration::from_millis(20)).await;
        }
        proxy
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One kept connection to the service for all clients: what one leaves on it, the next would get.
async fn nginx(dir: &Path, service: SocketAddr) -> (SocketAddr, Proxy) {
    let (addr, here) = (free_address(), dir.display());
    let temp =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| format!("{kind}_temp_path {here}/{kind};"));
    let text = format!(
        "daemon off; master_process off; pid {here}/nginx.pid; error_log {here}/nginx.log;\n\
         events {{ worker_connections 256; }}\n\
         http {{ access_log off; {}\n\
         upstream service {{ server {service}; keepalive 1; }}\n\
         server {{ listen {addr}; location / {{ proxy_pass http://service; proxy_http_version 1.1; \
         proxy_set_header Connection \"\"; proxy_set_header Host $http_host; proxy_request_buffering off; }} }} }}\n",
        temp.join(" ")
    );
    let file = dir.join("nginx.conf");
    std::fs::write(&file, text).unwrap();
    let arguments = ["-p", &dir.display().to_string(), "-c", &file.display().to_string()];
    let proxy = Proxy::start("nginx", &arguments, addr).await;
    (addr, proxy)
}

async fn haproxy(dir: &Path, service: SocketAddr) -> (SocketAddr, Proxy) {
    let addr = free_address();
    let text = format!(
        "global\n  maxconn 256\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 20s\n  timeout server 20s\n  \
         http-reuse always\nfrontend front\n  bind {addr}\n  default_backend service\nbackend service\n  \
         server one {service} pool-max-conn 1\n"
    );
    let file = dir.join("haproxy.cfg");
    std::fs::write(&file, text).unwrap();
    let proxy = Proxy::start("haproxy", &["-db", "-f", &file.display().to_string()], addr).await;
    (addr, proxy)
}

/// A waiting task: its id, and the path of its callback.
async fn waiting(world: &World) -> (String, String) {
    let body = json!({"targetUrl": world.target.url("/call"), "waitForSignal": true, "maxWaitTime": 3600});
    let created = world.api().post("/v1/tasks", body.to_string()).await.json();
    let id = created["task"]["id"].as_str().expect("an id").to_owned();
    while world.task(&id).await["status"] != "waiting" {
        sleep(Duration::from_millis(10)).await;
    }
    (id, format!("/v1/callbacks/{}", created["task"]["callbackId"].as_str().expect("a callback id")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_hides_in_another_directly_or_behind_a_proxy() {
    let mut world = World::new("t30").await;
    let server = world.start().await;
    let direct = world.site.addr;
    let (nginx, _nginx) = nginx(&world.site.dir, direct).await;
    let (haproxy, _haproxy) = haproxy(&world.site.dir, direct).await;
    let (first_id, first) = waiting(&world).await;
    let (mut victim_id, mut victim) = waiting(&world).await;
    for (name, addr) in [("directly", direct), ("nginx", nginx), ("haproxy", haproxy)] {
        let honest = Client::new(addr, Some(&world.site.key)).without_keep_alive();
        let (mut count, mut answered, mut as_two) = (0, 0, 0);
        for number in 0..cases("", "").len() {
            let hidden = format!("POST {victim} HTTP/1.1\r\nHost: queue.test\r\nContent-Length: 2\r\n\r\n{{}}");
            let case = &cases(&first, &hidden)[number];
            // The service itself answers each; a proxy may wait for more.
            let first = if addr == direct { PATIENCE } else { Duration::from_secs(1) };
            let mut sender = Sender::send(addr, case.as_bytes(), first).await;
            let heard = sender.statuses();
            count += 1;
            answered += usize::from(!heard.is_empty());
            // Whatever lies on a kept connection now, the next ones would be answered with.
            for _ in 0..3 {
                let own = honest.get(&format!("/v1/tasks/{first_id}")).await;
                assert_eq!(
                    (own.status(), &own.json()["task"]["id"]),
                    (200, &json!(first_id)),
                    "{name}, after {case:?}"
                );
            }
            if world.task(&victim_id).await["status"] != "waiting" {
                as_two += 1;
                assert!(
                    addr != direct || is_plain(case),
                    "the hidden request was taken for one: {heard:?} to {case:?}"
                );
                // Who came first saw two requests, and so did we: then the answer to both goes to the sender.
                assert!(sender.is_told_of().await, "{name}: {heard:?}, smuggled by {case:?}");
                (victim_id, victim) = waiting(&world).await;
            }
            let refused = !heard.is_empty() && heard.iter().all(|status| *status == 400);
            assert!(addr != direct || is_plain(case) || refused, "{heard:?} to {case:?}");
        }
        println!("T30, {name}: {count} cases, {answered} answered, {as_two} taken for two requests by both");
        assert!(answered * 2 > count, "{name}: hardly anything was answered: the window was missed");
    }
    assert_eq!(world.task(&first_id).await["status"], "waiting");
    server.stop().await;
}
